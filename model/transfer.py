"""Hyperparameter transfer: settings tuned at the smallest size hold at every size of the ladder.

The rule is CompleteP with alpha = 1 (Dey et al., arXiv 2505.01618), for AdamW: with m = width / 128 and n = depth / 2,

    weights                         initial variance   lr      weight decay   epsilon
    input: bits, grid, registers    constant           1       1              1 / m
    hidden: matrices of the blocks  1 / fan-in         1 / m   m              1 / (m n)
    gains in the blocks             1                  1       none           1 / (m n)
    gain before the heads           1                  1       none           1 / m
    output: the projector           1 / (fan-in m)     1 / m   m              1
    head: the predictor             1 / fan-in         1       1              1

The predictor maps channels to channels, which do not grow. Residual branches are scaled by 1 / depth and heads keep
their width of 64 (model/encoder.py). The published P3D encoder has no ladder: nothing is scaled there.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from model import sizes

BASE_WIDTH, BASE_DEPTH = 128, 2  # of xxs, at which settings are tuned
EPSILON = 1e-8  # of AdamW, at that size
BETAS = (0.9, 0.95)  # of AdamW, the same for every size

# A group of weights for AdamW: torch's keys (params, weight_decay, eps), and `lr_scale`, a factor of the learning rate.
ParameterGroup = dict[str, Any]


@dataclass(frozen=True)
class Scales:
    """Factors of the run's learning rate, weight decay and epsilon for a group of weights."""

    lr: float = 1.0
    weight_decay: float = 1.0
    epsilon: float = 1.0


def scales_of(size: str) -> dict[str, Scales]:
    """The factors of a size of the ladder, by the role of the weights."""
    m = sizes.HEAD_WIDTH * sizes.DEPTHS[size] / BASE_WIDTH
    n = sizes.DEPTHS[size] / BASE_DEPTH
    return {
        "input": Scales(epsilon=1 / m),
        # AdamW multiplies weight decay by the learning rate: together they stay as they are.
        "hidden": Scales(lr=1 / m, weight_decay=m, epsilon=1 / (m * n)),
        "gain": Scales(weight_decay=0, epsilon=1 / (m * n)),
        "last gain": Scales(weight_decay=0, epsilon=1 / m),
        "output": Scales(lr=1 / m, weight_decay=m),
        "head": Scales(),
    }


def projector_std(width: int) -> float:
    """Standard deviation of the projector's initial weights."""
    return (BASE_WIDTH / width) ** 0.5 * width**-0.5


def parameter_groups(network: nn.Module, size: str, weight_decay: float) -> list[ParameterGroup]:
    """The weights of a GaitNetwork of a size as groups for AdamW."""
    scales = scales_of(size) if size in sizes.DEPTHS else {"matrix": Scales(), "gain": Scales(weight_decay=0)}
    role_of = _role_in_ladder if size in sizes.DEPTHS else _role
    members: dict[str, list[nn.Parameter]] = {role: [] for role in scales}
    for name, parameter in network.named_parameters():
        members[role_of(name, parameter)].append(parameter)
    return [
        {
            "params": members[role],
            "lr_scale": scale.lr,
            "weight_decay": scale.weight_decay * weight_decay,
            "eps": scale.epsilon * EPSILON,
        }
        for role, scale in scales.items()
    ]


def _role(_name: str, parameter: nn.Parameter) -> str:
    return "matrix" if parameter.ndim > 1 else "gain"


def _role_in_ladder(name: str, parameter: nn.Parameter) -> str:
    match name.split("."):
        case ["encoder", "blocks", *_]:
            return "hidden" if parameter.ndim > 1 else "gain"
        case ["encoder", "norm", _]:
            return "last gain"
        case ["encoder", "embed" | "row" | "column" | "registers", *_]:
            return "input"
        case ["projector", _]:
            return "output"
        case ["predictor", _]:
            return "head"
    raise AssertionError(f"{name} has no role in the ladder")
