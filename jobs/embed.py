"""python -m jobs.embed --run <run> --shards <shards> --out <table> [--split train] [--form int8]

Embed every sequence of a split, all of its frames, into a Parquet table that can be read without this program.
"""

from datasets.store.reader import Store
from jobs import cli
from orchestration.embedding.embed import EmbedRun, embed_store


def main(argv: list[str] | None = None) -> None:
    """Parse, embed, and say what is where."""
    settings = cli.parse(EmbedRun, argv, "embed")

    def job() -> None:
        table = embed_store(settings, Store.open(settings.shards))
        print(f"{table.names.num_rows:,} sequences ({', '.join(table.methods)}; {table.form}): {table.place}")

    cli.run(job)


if __name__ == "__main__":
    main()
