"""The folder of a run, local or in object storage: which run it belongs to, and that run's settings.

    <run>/run.json          the settings of the run
          checkpoints/      orchestration/run/checkpoint.py
          mlflow_run_id     the id of the run in MLflow
          evaluation/       results

A folder belongs to one run: the same settings resume it, others are refused. It holds
`cluster.precision auto` until the ranks have resolved it, and a resumed run keeps what they resolved. The driver
resolves `cluster.device auto` before it writes the folder; a run that is resumed with auto keeps it as well.
"""

import dataclasses
import json
import re
from typing import Any, TypeVar

from datasets.schema.errors import Damaged, UsageError
from datasets.storage import Place, open_place, read_json
from orchestration.run.device import Device, RequestedDevice
from orchestration.run.precision import Precision, RequestedPrecision
from orchestration.run.serialise import flatten, to_json
from orchestration.run.settings import PretrainRun, Run

AnyRun = TypeVar("AnyRun", bound=Run)
Settings = TypeVar("Settings")

RUN_FILE = "run.json"
TRACKED = "mlflow_run_id"
# Settings that a resumed run may change, since they do not change what is learned: where the run is stored, where it
# runs and what is kept of it.
_MAY_CHANGE = ("out", "shards", "keep.", "score.", "schedule.log_every", "cluster.")
PRECISION = "cluster.precision"
_MUST_STAY = (PRECISION,)


def folder_of(run: Run) -> Place:
    """The folder of a run."""
    return open_place(run.out)


def with_absolute_paths(run: AnyRun) -> AnyRun:
    """The run with absolute paths, which mean the same on every worker and from any folder when it is resumed."""
    given = {name: getattr(run, name, None) for name in ("shards", "out", "start", "run")}
    places = {name: str(open_place(address)) for name, address in given.items() if address}
    settings: Any = run  # a dataclass, as every kind of run
    return dataclasses.replace(settings, **places)


def read_run(folder: Place) -> PretrainRun:
    """The settings in a pretraining run's folder or a checkpoint of it; UsageError where there are none."""
    return read_settings(folder, PretrainRun)


def read_settings(folder: Place, kind: type[AnyRun]) -> AnyRun:
    """The settings of a kind of run; UsageError where the folder is of none, or of another kind."""
    if not (folder / RUN_FILE).exists():
        raise UsageError(f"{folder} is not the folder of a run (no {RUN_FILE}): give what `jobs.pretrain --out` wrote")
    if kind is PretrainRun and is_finetuned(folder):
        task = _read(dict[str, Any], folder)["task"]
        raise UsageError(f"{folder} is fine-tuned for {task}: give the run of `jobs.pretrain` that it started from")
    return _read(kind, folder)


def is_finetuned(folder: Place) -> bool:
    """Whether a folder with settings is of a fine-tuned run."""
    return (folder / RUN_FILE).exists() and "task" in _read(dict[str, Any], folder)


def check_folder(run: Run) -> None:
    """UsageError where the run's folder holds another run, or anything else."""
    folder = folder_of(run)
    if (folder / RUN_FILE).exists():
        here, there = flatten(to_json(run)), flatten(_read(dict[str, Any], folder))
        if is_finetuned(folder) == ("task" in here):
            there = flatten(to_json(read_settings(folder, type(run))))  # with defaults of newer settings
        changed = [name for name in sorted(there | here) if there.get(name) != here.get(name) and not _may_change(name)]
        if "auto" in (there.get(PRECISION), here[PRECISION]):
            changed = [name for name in changed if name != PRECISION]
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
    """Write the run's settings into its folder, after `check_folder`."""
    if not (folder_of(run) / RUN_FILE).exists():
        (folder_of(run) / RUN_FILE).write(json.dumps(to_json(run), indent=1).encode())


def with_precision(run: AnyRun, precision: Precision) -> AnyRun:
    """The run with a precision in place of the requested one."""
    settings: Any = run  # a dataclass, as every kind of run
    return dataclasses.replace(settings, cluster=dataclasses.replace(run.cluster, precision=precision))


def recorded_precision(folder: Place) -> RequestedPrecision:
    """The precision that the settings in a run's folder have: auto where its ranks have not resolved it yet."""
    return _read(dict[str, Any], folder)["cluster"]["precision"]


def record_precision(folder: Place, precision: Precision) -> None:
    """Write the precision that a run's ranks resolved into the settings in its folder, unless it is there already."""
    _record(folder, "precision", precision)


def with_device(run: AnyRun, device: Device) -> AnyRun:
    """The run with a device in place of the requested one."""
    settings: Any = run  # a dataclass, as every kind of run
    return dataclasses.replace(settings, cluster=dataclasses.replace(run.cluster, device=device))


def recorded_device(folder: Place) -> RequestedDevice | None:
    """The device that the settings in a run's folder have; None where there are none yet."""
    exists = (folder / RUN_FILE).exists()
    return _read(dict[str, Any], folder)["cluster"]["device"] if exists else None


def record_device(run: Run) -> None:
    """Write the device that a run trains on from now on into the settings in its folder, unless it is there already."""
    _record(folder_of(run), "device", run.cluster.device)


def tracked_run(folder: Place) -> str | None:
    """The id in MLflow of the run in a folder, or None where it is not recorded. Damaged where it is not an id."""
    if not (folder / TRACKED).exists():
        return None
    written = (folder / TRACKED).read()
    if not re.fullmatch(rb"[\w.-]+", written):
        raise Damaged(
            f"{folder / TRACKED} is damaged (it is no id of MLflow): delete it, and the run goes on as a new one in "
            "MLflow; metrics logged so far stay in the old one"
        )
    return written.decode()


def _read(kind: type[Settings], folder: Place) -> Settings:
    """What run.json of a folder says. Damaged, UsageError and OSError as `read_json`."""
    copies = f"{folder}/checkpoints/step-*/{RUN_FILE}"
    mend = f"no weights are lost: copy the newest of {copies} over it, or give another --out where there is none"
    return read_json(kind, folder / RUN_FILE, mend)


def _record(folder: Place, name: str, value: str) -> None:
    """Change one of the cluster settings in a run's folder."""
    settings = _read(dict[str, Any], folder)
    if settings["cluster"][name] != value:
        settings["cluster"][name] = value
        (folder / RUN_FILE).write(json.dumps(settings, indent=1).encode())


def _may_change(name: str) -> bool:
    return name.startswith(_MAY_CHANGE) and name not in _MUST_STAY
