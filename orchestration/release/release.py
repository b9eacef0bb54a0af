"""Driver of a release: the newest checkpoint of a run to a folder with an encoder and its model card.

What is released is the teacher, the network that evaluation scores.
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
from datasets.store.reader import Store
from model.export import write_program
from model.release import write_release
from orchestration.embedding.networks import teacher_of
from orchestration.release import model_card
from orchestration.run import checkpoint
from orchestration.run import folder as run_folder
from orchestration.run import settings as runs
from orchestration.run.serialise import to_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReleaseRun:
    """Which run to release, and where to."""

    run: str
    """The folder that `jobs.pretrain` wrote; results of `jobs.evaluate` in it go into the model card."""
    out: str
    """The folder for the encoder: new, or one of an earlier release."""


def release(settings: ReleaseRun) -> Path:
    """Write the release and return its folder."""
    folder, out = storage.open_place(settings.run), storage.local_path(settings.out, "a release")
    run = run_folder.read_run(folder)
    newest = checkpoint.select(folder, None)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "settings.json").is_file())):
        raise UsageError(f"{out} exists and is not the folder of a release: give another --out")
    teacher = teacher_of(newest)
    write_release(out, teacher, run.network, run.clips.frames)
    write_program(out, teacher, run.clips.frames)
    start = run.start and Path(run.start).name
    elsewhere = dataclasses.replace(
        run, out=folder.name, shards=storage.open_place(run.shards).name, start=start
    )  # no paths
    (out / run_folder.RUN_FILE).write_text(json.dumps(to_json(elsewhere), indent=1))
    parameters = sum(parameter.numel() for parameter in teacher.encoder.parameters())
    facts = {"step": checkpoint.step_of(newest), "parameters": parameters, "results": _results(folder)}
    (out / "README.md").write_text(model_card.write_card(elsewhere, facts, _collections(run)), encoding="utf-8")
    return out


def _results(folder: storage.Place) -> dict[str, list[dict[str, object]]]:
    """The rows of each split that was evaluated."""
    found = {}
    for split in ("holdout", "test"):
        table = folder / f"evaluation/{split}/results.csv"
        if table.exists():
            found[split] = pd.read_csv(io.BytesIO(table.read())).to_dict("records")
    return found


def _collections(run: runs.PretrainRun) -> dict[str, dict[str, object]]:
    """What the store says of its collections; nothing where it is not there any more."""
    try:
        return Store.open(run.shards).collections
    except UsageError as error:
        logger.warning(f"the model card will not say what the run was trained on: {error}")
        return {}
