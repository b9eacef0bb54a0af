"""python -m jobs.demo [--out demo]

The whole path on synthetic walkers: two collections on disk, ingest, pretraining, evaluation, all tracked in MLflow.
It strings the other jobs together and prints each command before it runs it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from datasets.walker_trees import write_casia_b, write_gaitlu
from jobs import cli, evaluate, ingest, pretrain

TRAIN = [f"{number:03d}" for number in range(1, 41)]  # of CASIA-B's TRAIN subjects
TRAIN_CONDITIONS = ["nm-01", "bg-01", "cl-01"]
TEST = [f"{number:03d}" for number in range(75, 87)]  # of its TEST subjects
TEST_CONDITIONS = [f"nm-{n:02d}" for n in range(1, 7)] + [f"{c}-{n:02d}" for c in ("bg", "cl") for n in (1, 2)]
VIEWS = ["018", "054", "090", "126"]
FRAMES = 20  # a sequence
UNLABELLED = 1536  # sequences like GaitLU-1M's, each of somebody else


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Synthetic walkers from disk to results, in a few minutes on two cores."""

    out: str = "demo"
    """The folder for everything that the demo makes."""


def main(argv: list[str] | None = None) -> None:
    """Make the walkers, then run each job as from the command line."""
    out = Path(cli.parse(Arguments, argv, "demo").out)
    labelled, unlabelled, store, run = out / "CASIA-B", out / "GaitLU-1M", str(out / "shards"), str(out / "run")
    tracked = ["--tracking", f"sqlite:///{(out / 'mlflow.db').resolve()}"]
    started = time.monotonic()
    print(f"synthetic walkers: {labelled} (320x240 PNG masks), {unlabelled} (pickles)", flush=True)
    for subjects, conditions in ((TRAIN, TRAIN_CONDITIONS), (TEST, TEST_CONDITIONS)):
        write_casia_b(labelled, subjects=subjects, views=VIEWS, conditions=conditions, num_frames=FRAMES, seed=0)
    write_gaitlu(unlabelled, count=UNLABELLED, num_frames=FRAMES, seed=0)
    roots = ["--root", f"CASIA-B={labelled}", "--root", f"GaitLU-1M={unlabelled}"]
    _job("ingest", ingest.main, [*roots, "--out", store, "--block-sequences", "128"])
    _job("pretrain", pretrain.main, ["tiny", "--shards", store, "--out", run, *tracked])
    _job("evaluate", evaluate.main, ["--run", run, "--shards", store, *tracked])
    print(f"done in {(time.monotonic() - started) / 60:.1f} minutes; everything is in {out}")


def _job(name: str, job: Callable[[list[str]], None], argv: list[str]) -> None:
    print(f"\n$ python -m jobs.{name} {' '.join(argv)}", flush=True)
    started = time.monotonic()
    job(argv)
    print(f"({name}: {time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
