"""Checkpoints: complete or invisible, free of pickles, and the same for every number of workers.

    <run>/checkpoints/step-00000200/weights.safetensors     student and teacher, with their heads
                                    optimizer.safetensors   the two moments of AdamW for every trained weight
                                    run.json                the settings
                                    state.json              the step

A checkpoint is written into a hidden sibling and renamed when it is whole. This file alone knows the folder.
"""

import json
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from datasets.schema import UsageError
from orchestration.runs import RUN_FILE, PretrainRun, to_json

State = dict[str, Tensor]


def latest(folder: Path) -> Path | None:
    """The newest complete checkpoint of a run's folder."""
    found = complete(folder)
    return found[-1] if found else None


def complete(folder: Path) -> list[Path]:
    """The complete checkpoints of a run's folder, in order of step."""
    return sorted(state.parent for state in (folder / "checkpoints").glob("step-*/state.json"))


def chosen(folder: Path, step: int | None) -> Path:
    """The checkpoint of a step, the newest where None; UsageError where there is none."""
    found = complete(folder)
    if not found:
        raise UsageError(f"{folder} has no checkpoint yet: run `python -m jobs.pretrain` to its end first")
    if step is None:
        return found[-1]
    steps = {step_of(one): one for one in found}
    if step not in steps:
        raise UsageError(f"{folder} has no checkpoint of step {step}: it has {', '.join(map(str, steps))}")
    return steps[step]


def step_of(checkpoint: Path) -> int:
    """How many steps a checkpoint has behind it."""
    return json.loads((checkpoint / "state.json").read_text())["step"]


def save(folder: Path, run: PretrainRun, step: int, weights: State, optimizer: State) -> Path:
    """Write the checkpoint after `step` steps, from one process."""
    target = folder / "checkpoints" / f"step-{step:08d}"
    beside = target.with_name(f".{target.name}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in weights.items()}, beside / "weights.safetensors"
    )
    save_file(optimizer, beside / "optimizer.safetensors")
    (beside / RUN_FILE).write_text(json.dumps(to_json(run), indent=1))
    (beside / "state.json").write_text(json.dumps({"step": step}))
    shutil.rmtree(target, ignore_errors=True)
    beside.rename(target)
    return target


def load_weights(checkpoint: Path, module: nn.Module) -> None:
    """Fill a module with a checkpoint's weights; UsageError where they are of another network."""
    try:
        module.load_state_dict(load_file(checkpoint / "weights.safetensors"))
    except (RuntimeError, OSError, SafetensorError) as error:
        words = " ".join(str(error).split())[:300]
        raise UsageError(f"the weights in {checkpoint} do not fit the network of its settings: {words}") from error


def load_optimizer(checkpoint: Path) -> State:
    """The optimizer's moments, by name of the weight."""
    return load_file(checkpoint / "optimizer.safetensors")
