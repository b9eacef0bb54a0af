"""Checkpoints: complete or invisible, without pickles, and the same for every number of workers.

    <run>/checkpoints/step-00000200/weights.safetensors     student and teacher, with their heads
                                    optimizer.safetensors   the two moments of AdamW for every trained weight
                                    run.json                the settings
                                    state.json              the step, the version of the data order, and size and
                                                            checksum of the files; written last
                                    score.json              scores on held-out subjects, once they are known

A folder without state.json is no checkpoint, so that one which a kill left unfinished is never loaded. Works on local
disks and in object storage, which has no atomic rename of folders. No other file may read or write these files.
"""

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from datasets.loading.random_numbers import ORDER_VERSION
from datasets.schema.errors import Damaged, UsageError
from datasets.storage import LocalPlace, Place, read_json
from orchestration.run.folder import RUN_FILE
from orchestration.run.serialise import to_json
from orchestration.run.settings import Run

State = dict[str, Tensor]
WEIGHTS, MOMENTS = "weights.safetensors", "optimizer.safetensors"
_ANY_SIZE = 1 << 42  # bytes: Place.read has a limit against hostile files, and checkpoints are our own

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """state.json. files: size in bytes and checksum of each file, by its name."""

    step: int
    files: dict[str, tuple[int, str]]
    order: int = 1  # version 1 of the data order was not written down


def complete(folder: Place) -> list[Place]:
    """The complete checkpoints of a run's folder, in order of step."""
    return [one for one in _begun(folder) if (one / "state.json").exists()]


def at_step(folder: Place, step: int) -> Place:
    """The place of a step's checkpoint, whether or not there is one."""
    return folder / f"checkpoints/step-{step:08d}"


def newest_step(folder: Place) -> int:
    """The step of the newest complete checkpoint, to show progress: its files are not read. 0 where there is none."""
    found = complete(folder)
    return step_of(found[-1]) if found else 0


def newest_intact(folder: Place, on_damage: Callable[[str], object] = logger.warning) -> Place | None:
    """The newest checkpoint whose files are what was written, from which a run resumes. Reads the files.

    on_damage: called with a line for each newer checkpoint that is damaged.
    """
    for one in reversed(complete(folder)):
        damage = damage_of(one)
        if damage is None:
            return one
        on_damage(f"{one} is damaged and skipped: {damage}")
    return None


def resumable_step(folder: Place) -> int:
    """The step after which a run would resume: that of its newest intact checkpoint, 0 where there is none."""
    newest = newest_intact(folder, on_damage=lambda _line: None)
    return 0 if newest is None else step_of(newest)


def damage_of(checkpoint: Place) -> str | None:
    """Why a checkpoint cannot be loaded, from the checksums of its files; None where it is intact."""
    try:
        contents = _contents(checkpoint)
    except (UsageError, OSError):
        return "state.json cannot be read"
    if contents.step != step_of(checkpoint):
        return f"state.json is that of step {contents.step}"
    if missing := sorted({WEIGHTS, MOMENTS} - set(contents.files)):
        return f"state.json does not name {missing[0]}"
    for name, written in contents.files.items():
        try:
            _read_checked(checkpoint, name, written)
        except OSError as error:
            return f"{name}: {error.strerror or error}"
        except Damaged as error:
            return str(error)
    return None


def select(folder: Place, step: int | None) -> Place:
    """The checkpoint of a step, the newest one for None. UsageError where there is none.

    Damaged where it is not what was written: results are never of another checkpoint than the one that was asked for.
    Reads the files.
    """
    found = {step_of(one): one for one in complete(folder)}
    if not found:
        raise UsageError(f"{folder} has no checkpoint yet: run `python -m jobs.pretrain` to its end first")
    if step is not None and step not in found:
        raise UsageError(f"{folder} has no checkpoint of step {step}: it has {', '.join(map(str, found))}")
    last = _begun(folder)[-1]
    if step is None and step_of(last) not in found and (last / RUN_FILE).exists():  # written just before state.json
        raise Damaged(
            f"{last} has no state.json, which was lost or is just being written: try again, or give --step {max(found)}"
        )
    chosen = found[max(found) if step is None else step]
    damage = damage_of(chosen)
    if damage is not None:
        others = [one for one in reversed(list(found.values())) if one != chosen]
        whole = next((step_of(one) for one in others if damage_of(one) is None), None)
        fix = f"give --step {whole}, the newest whole one, or" if whole is not None else "no other one is whole:"
        raise Damaged(
            f"{chosen} is damaged ({damage}): {fix} run the same `python -m jobs.pretrain` or `jobs.finetune` "
            "again, which trains the steps that are lost"
        )
    return chosen


def step_of(checkpoint: Place) -> int:
    """The number of steps that a checkpoint was written after."""
    return int(checkpoint.name.removeprefix("step-"))


def order_of(checkpoint: Place) -> int:
    """The version of the data order that a checkpoint was trained in (datasets/loading/random_numbers.py)."""
    return _contents(checkpoint).order


def weights_checksum(checkpoint: Place) -> str:
    """The checksum of a checkpoint's weights, by which others tell that they are the same."""
    return _contents(checkpoint).files[WEIGHTS][1]


def check_order(checkpoint: Place) -> None:
    """UsageError where training cannot resume from a checkpoint, since the steps to come would see other data."""
    if (order := order_of(checkpoint)) != ORDER_VERSION:
        raise UsageError(
            f"{checkpoint} was trained in version {order} of the data order, and this program has version "
            f"{ORDER_VERSION}: finish the run with the program that began it, or start anew in another --out"
        )


def save(folder: Place, run: Run, step: int, weights: State, moments: State, order: int = ORDER_VERSION) -> Place:
    """Write the checkpoint after `step` steps, from one process. OSError where the storage is full or fails."""
    target = at_step(folder, step)
    target.remove_folder()
    staged_in = None
    if isinstance(folder, LocalPlace):  # on the same disk, so that files are moved and not copied
        staged_in = Path(folder.path) / "checkpoints"
        staged_in.mkdir(parents=True, exist_ok=True)
    files = {}
    try:
        with tempfile.TemporaryDirectory(prefix=".staged-", dir=staged_in) as staged:
            for name, tensors in ((WEIGHTS, weights), (MOMENTS, moments)):
                file = Path(staged) / name
                _save_tensors(tensors, file)
                files[name] = [file.stat().st_size, _checksum_of_file(file)]
                (target / name).move_from(file)
        settings = json.dumps(to_json(run), indent=1).encode()
        files[RUN_FILE] = [len(settings), _checksum(settings)]
        (target / RUN_FILE).write(settings)
        (target / "state.json").write(json.dumps({"step": step, "order": order, "files": files}).encode())
    except BaseException:
        target.remove_folder()
        raise
    return target


def copy(source: Place, folder: Place, run: Run) -> Place:
    """Copy a checkpoint of another run into this run's folder, with this run's settings."""
    weights, moments = _load_tensors(source, WEIGHTS), load_moments(source)
    return save(folder, run, step_of(source), weights, moments, order_of(source))


def discard_unfinished(folder: Place) -> None:
    """Delete what a kill in the middle of a save has left. No process may be saving."""
    try:
        names = [entry.name for entry in (folder / "checkpoints").entries() if entry.kind == "folder"]
    except OSError:
        return
    for name in names:
        one = folder / f"checkpoints/{name}"
        if not (one / "state.json").exists():
            one.remove_folder()


def load_weights(checkpoint: Place, module: nn.Module, prefix: str = "") -> None:
    """Load the weights whose names start with a prefix into a module; UsageError where they do not fit it.

    Damaged where they are not what was written.
    """
    tensors = _load_tensors(checkpoint, WEIGHTS)
    try:
        chosen = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        module.load_state_dict(chosen)
    except RuntimeError as error:
        words = " ".join(str(error).split())[:300]
        raise UsageError(f"the weights in {checkpoint} do not fit the network of its settings: {words}") from error


def load_moments(checkpoint: Place) -> State:
    """AdamW's two moments, by name of the weight."""
    return _load_tensors(checkpoint, MOMENTS)


def write_score(checkpoint: Place, score: Mapping[str, float]) -> None:
    """Keep the scores of a checkpoint on held-out subjects."""
    (checkpoint / "score.json").write(json.dumps(dict(score)).encode())


def score_of(checkpoint: Place) -> dict[str, float] | None:
    """The scores of a checkpoint on held-out subjects, or None where it has none yet, or none that can be read."""
    try:
        return read_json(dict[str, float], checkpoint / "score.json", "it is made again at the next checkpoint")
    except (ValueError, OSError):
        return None


def _begun(folder: Place) -> list[Place]:
    """The checkpoints of a run's folder in order of step, complete or not."""
    try:
        names = [entry.name for entry in (folder / "checkpoints").entries() if re.fullmatch(r"step-\d+", entry.name)]
    except OSError:  # none is written yet
        return []
    return [folder / f"checkpoints/{name}" for name in sorted(names)]


def _contents(checkpoint: Place) -> _Contents:
    """What state.json says. Damaged, UsageError and OSError as `read_json`."""
    return read_json(_Contents, checkpoint / "state.json", "the checkpoint is lost: give --step of another one")


def _read_checked(checkpoint: Place, name: str, written: tuple[int, str]) -> bytes:
    """The bytes of a file. written: its size and checksum. Damaged, in a few words, where they are others."""
    content = (checkpoint / name).read(_ANY_SIZE)
    if (len(content), _checksum(content)) != written:
        raise Damaged(f"{name} does not match its checksum ({len(content):,} of {written[0]:,} bytes)")
    return content


def _load_tensors(checkpoint: Place, name: str) -> State:
    """The tensors of a file. Damaged where they are not what was written, or gone."""
    try:
        return load(_read_checked(checkpoint, name, _contents(checkpoint).files[name]))
    except (FileNotFoundError, KeyError, SafetensorError, Damaged) as error:
        raise Damaged(f"{checkpoint} is damaged ({error}): give --step of another one") from error


def _save_tensors(tensors: State, file: Path) -> None:
    """OSError where the disk is full, which safetensors reports as an error of its own."""
    try:
        save_file(tensors, file)
    except SafetensorError as error:
        raise OSError(None, str(error), str(file)) from error


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _checksum_of_file(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
