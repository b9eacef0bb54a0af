"""Driver of a release: a checkpoint of a run to a folder with an encoder and its model card.

The teacher is released: the network that is evaluated.
"""

import dataclasses
import io
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from datasets import storage
from datasets.schema.errors import UsageError
from datasets.store.reader import CollectionEntry, Store
from model.export import write_program
from model.release import write_release
from orchestration.embedding.networks import teacher_of
from orchestration.release.model_card import Facts, write_card
from orchestration.run import checkpoint
from orchestration.run.folder import RUN_FILE, read_run
from orchestration.run.serialise import to_json
from orchestration.run.settings import PretrainRun

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReleaseRun:
    """Which run to release, and where to."""

    run: str
    """The folder that `jobs.pretrain` wrote; results of `jobs.evaluate` in it go into the model card."""
    out: str
    """The folder for the encoder: new, or one of an earlier release."""
    step: int | None = None
    """The step of the checkpoint; the newest if none is given."""


def release(settings: ReleaseRun) -> Path:
    """Write the release and return its folder."""
    folder, out = storage.open_place(settings.run), storage.local_path(settings.out, "a release")
    run = read_run(folder)
    chosen = checkpoint.select(folder, settings.step)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "settings.json").is_file())):
        raise UsageError(f"{out} exists and is not the folder of a release: give another --out")
    teacher = teacher_of(chosen)
    write_release(out, teacher, run.network, run.clips.frames)
    write_program(out, teacher, run.clips.frames)
    start = run.start and Path(run.start).name
    # Names without paths: a release says nothing about the machine that made it.
    published = dataclasses.replace(run, out=folder.name, shards=storage.open_place(run.shards).name, start=start)
    (out / RUN_FILE).write_text(json.dumps(to_json(published), indent=1))
    parameters = sum(parameter.numel() for parameter in teacher.encoder.parameters())
    facts = Facts(step=checkpoint.step_of(chosen), parameters=parameters, results=_results(folder, settings.step))
    (out / "README.md").write_text(write_card(published, facts, _collections(run)), encoding="utf-8")
    return out


def _results(folder: storage.Place, step: int | None) -> dict[str, pd.DataFrame]:
    """The results of each split that was evaluated; of the newest checkpoint where no step was asked for."""
    found = {}
    for split in ("holdout", "test"):
        evaluated = split if step is None else f"steps/{split}-{step:08d}"
        table = folder / f"evaluation/{evaluated}/results.csv"
        if table.exists():
            found[split] = pd.read_csv(io.BytesIO(table.read()))
    return found


def _collections(run: PretrainRun) -> dict[str, CollectionEntry]:
    """The entries of the store's manifest; empty where the store does not exist any more."""
    try:
        return Store.open(run.shards).collections
    except UsageError as error:
        logger.warning(f"the model card will not say what the run was trained on: {error}")
        return {}
