"""The folder of a run: whose it is, and the settings that lie in it. Local or in object storage.

    <run>/run.json          the settings of the run
          checkpoints/      orchestration/run/checkpoint.py
          mlflow_run_id     where MLflow has it
          evaluation/       results

A folder belongs to one run: the same settings go on with it, others are refused.
"""

import dataclasses
import json
from typing import TypeVar

from datasets.schema.errors import UsageError
from datasets.storage import Place, open_place
from orchestration.run.serialise import build, flatten, to_json
from orchestration.run.settings import PretrainRun, Run

AnyRun = TypeVar("AnyRun", bound=Run)

RUN_FILE = "run.json"
TRACKED = "mlflow_run_id"
# Where a run lies, where it runs and what is kept of it: none of it changes what is learned, so a resumed run may.
MAY_CHANGE = ("out", "shards", "keep.", "score.", "schedule.log_every", "cluster.")
MUST_STAY = ("cluster.precision",)


def folder_of(run: Run) -> Place:
    """Where the run lies."""
    return open_place(run.out)


def with_whole_paths(run: AnyRun) -> AnyRun:
    """The run with addresses that mean the same on every worker, and from any folder when it is resumed."""
    given = {name: getattr(run, name, None) for name in ("shards", "out", "start", "run")}
    places = {name: str(open_place(address)) for name, address in given.items() if address}
    return dataclasses.replace(run, **places)


def read_run(folder: Place) -> PretrainRun:
    """The settings in a pretraining run's folder or a checkpoint of it; UsageError where there are none."""
    return read_settings(folder, PretrainRun)


def read_settings(folder: Place, kind: type[AnyRun]) -> AnyRun:
    """The settings of a kind of run; UsageError where the folder is of none, or of another kind."""
    if not (folder / RUN_FILE).exists():
        raise UsageError(f"{folder} is not the folder of a run (no {RUN_FILE}): give what `jobs.pretrain --out` wrote")
    settings = json.loads((folder / RUN_FILE).read())
    if kind is PretrainRun and is_tuned(folder):
        task = settings["task"]
        raise UsageError(f"{folder} is fine-tuned for {task}: give the run of `jobs.pretrain` that it started from")
    return build(kind, settings, str(folder / RUN_FILE))


def is_tuned(folder: Place) -> bool:
    """Whether a folder with settings is of a fine-tuned run."""
    return (folder / RUN_FILE).exists() and "task" in json.loads((folder / RUN_FILE).read())


def check_folder(run: Run) -> None:
    """UsageError where another run's folder, or anything else, lies in the place of this run's."""
    folder = folder_of(run)
    if (folder / RUN_FILE).exists():
        here, there = flatten(to_json(run)), flatten(json.loads((folder / RUN_FILE).read()))
        if is_tuned(folder) == ("task" in here):
            there = flatten(to_json(read_settings(folder, type(run))))  # with settings that came since
        changed = [name for name in sorted(there | here) if there.get(name) != here.get(name) and not _may_change(name)]
        if changed:
            name = changed[0]
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise UsageError(
                f"{folder} holds a run with {name} {there.get(name)}, not {here.get(name)}{more}: "
                "give another --out, or the settings it was started with"
            )
    elif folder.exists() and not folder.is_empty_folder():
        raise UsageError(f"{folder} exists and is not the folder of a run: give another --out")


def claim_folder(run: Run) -> None:
    """Make a checked folder the run's own."""
    if not (folder_of(run) / RUN_FILE).exists():
        (folder_of(run) / RUN_FILE).write(json.dumps(to_json(run), indent=1).encode())


def tracked_run(folder: Place) -> str | None:
    """The MLflow run of a run's folder."""
    return (folder / TRACKED).read().decode() if (folder / TRACKED).exists() else None


def _may_change(name: str) -> bool:
    return name.startswith(MAY_CHANGE) and name not in MUST_STAY
