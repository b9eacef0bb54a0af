"""Loads checkpoints of the published encoder, as OpenGait saves them, into a network of ours.

An OpenGait checkpoint is a pickled dictionary; that of pretraining holds under `model` a teacher and a student of the
same form, of which the teacher is evaluated. It is read by torch's restricted unpickler: tensors and plain values, no
code. Layers have other names there; every weight must be in both networks, or the checkpoint is refused.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from datasets.schema.errors import UsageError
from model import sizes

_GIVE = "give a checkpoint of OpenGait's FoundationGait pretraining"
_IN_IMAGE_BLOCK = {"first.conv": "conv1", "first.norm": "bn1", "second.conv": "conv2", "second.norm": "bn2"}
_IN_P3D_BLOCK = {
    "first.conv": "conv1.forward_block.0",
    "first.norm": "conv1.forward_block.1",
    "temporal.conv": "shortcut3d",
    "temporal.norm": "sbn",
    "second.conv": "conv2.forward_block.0",
    "second.norm": "conv2.forward_block.1",
    "down.conv": "downsample.0",
    "down.norm": "downsample.1",
}


def published_name(name: str) -> str:
    """OpenGait's name of a weight of a P3D encoder or of its heads."""
    module, _, tensor = name.rpartition(".")
    match module.split("."):
        case ["encoder", "stem", layer]:
            return f"layer0.forward_block.{('conv', 'norm').index(layer)}.{tensor}"
        case ["encoder", "stages", "0", block, *layer]:
            return f"layer1.forward_block.{block}.{_IN_IMAGE_BLOCK['.'.join(layer)]}.{tensor}"
        case ["encoder", "stages", stage, block, *layer]:
            return f"layer{int(stage) + 1}.{block}.{_IN_P3D_BLOCK['.'.join(layer)]}.{tensor}"
        case [head, layer, "norm"]:
            return f"{head}.{layer}.bn1d.{tensor}"
        case [head, layer]:
            return f"{head}.{layer}.fc_bin"
    raise AssertionError(f"{name} is not a weight of a P3D encoder")


def load_published(path: Path, network: nn.Module, role: Literal["teacher", "student"] = "teacher") -> None:
    """Load the teacher or the student of an OpenGait checkpoint into a network (`encoder`, `projector`, `predictor`).

    UsageError where the file is no such checkpoint, or is of another network.
    """
    prefix = f"{role}_backbone."
    saved = {name.removeprefix("module."): value for name, value in _read(path).items()}
    weights = {name.removeprefix(prefix): value for name, value in saved.items() if name.startswith(prefix)}
    if not weights:
        found = ", ".join(list(saved)[:2]) or "none"
        raise UsageError(f"{path} has no weights named {prefix}..., but {found}: {_GIVE}")
    others = [name for name in saved if not name.startswith(("teacher_backbone.", "student_backbone."))]
    fill(network, weights, str(path), others)


def fill(network: nn.Module, state: Mapping[str, Tensor], source: str, unexpected: list[str] | None = None) -> None:
    """Load weights by their names in OpenGait; UsageError unless they are exactly those of the network.

    source: named in the message. unexpected: further names in the source, which are an error.
    """
    ours = network.state_dict()
    names = {published_name(name): name for name in ours}
    given = {names[name]: _as_here(name, value) for name, value in state.items() if name in names}
    wrong = {
        "lacks": sorted(names.keys() - state.keys()),
        "also has": sorted(state.keys() - names.keys()) + (unexpected or []),
        "has in another shape": sorted(n for n, o in names.items() if o in given and given[o].shape != ours[o].shape),
    }
    if any(wrong.values()):
        words = [f"it {what} {_first(found)}" for what, found in wrong.items() if found]
        raise UsageError(f"the weights in {source} are of another network ({'; '.join(words)}): {_fix(state)}")
    network.load_state_dict(given)


def _fix(state: Mapping[str, Tensor]) -> str:
    """The settings of the network that the weights are of, as far as their names and shapes show."""
    blocks = tuple(len({n.split(".")[1] for n in state if n.startswith(f"layer{stage}.")}) for stage in (2, 3, 4))
    size = next((name for name, shape in sizes.P3D.items() if shape.layers[1:] == blocks), None)
    head = state.get("predictor.0.fc_bin")
    if size is None or head is None or head.ndim != 3:
        return "no size of this program is like them"
    return f"their blocks and heads are those of --network.size {size} --network.channels {head.shape[2]}"


def _as_here(name: str, value: Tensor) -> Tensor:
    """A weight in our shape: a kernel of 1 x 1 x 1 is one of 1 x 1 here, all others are alike."""
    return value.squeeze(2) if name.endswith("downsample.0.weight") and value.ndim == 5 else value


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _read(path: Path) -> dict[str, Tensor]:
    """The weights in a file of torch.save, read without running code."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UsageError(f"cannot read {path} ({error.strerror}): {_GIVE}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UsageError(
            f"{path} is not a file of torch.save that holds tensors and plain values alone, and nothing else is read: "
            'save {"model": its state_dict()} anew if you trust it'
        ) from error
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not all(isinstance(value, Tensor) for value in model.values()):
        raise UsageError(f"{path} is not an OpenGait checkpoint, it has no weights under `model`: {_GIVE}")
    return model
