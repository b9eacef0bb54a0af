"""python -m jobs.embed --run <run> --shards <shards> --out <table> [--split train] [--form int8]

Embed all sequences of a split, with all their frames, into a Parquet table that any Parquet reader can open.
"""

from datasets.store.reader import Store
from jobs import cli
from orchestration.embedding.embed import EmbedRun, embed_store


def main(argv: list[str] | None = None) -> None:
    """Parse, embed, and print the path of the table."""
    settings = cli.parse(EmbedRun, argv, "embed")

    def job() -> None:
        table = embed_store(settings, Store.open(settings.shards))
        print(f"{table.names.num_rows:,} sequences ({', '.join(table.methods)}; {table.form}): {table.place}")

    cli.run(job)


if __name__ == "__main__":
    cli.start(main)
