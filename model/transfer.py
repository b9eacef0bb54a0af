"""How settings that were found at the smallest size carry over to every size of the ladder.

The rule is CompleteP with alpha = 1 (Dey et al., arXiv 2505.01618), for AdamW: with m = width / 128 and n = depth / 2,

    weights                         initial variance   rate    weight decay   epsilon
    input: bits, places, registers  constant           1       1              1 / m
    hidden: matrices of the blocks  1 / fan-in         1 / m   m              1 / (m n)
    gains in the blocks             1                  1       none           1 / (m n)
    gain before the heads           1                  1       none           1 / m
    output: the projector           1 / (fan-in m)     1 / m   m              1
    head: the predictor             1 / fan-in         1       1              1

The predictor maps channels to channels, which do not grow. Residual branches are scaled by 1 / depth and heads keep
their width of 64 (model/encoder.py). The published P3D encoder has no ladder: nothing is scaled there.
"""

from dataclasses import dataclass

from torch import nn

from model import sizes

BASE_WIDTH, BASE_DEPTH = 128, 2  # of the size whose settings hold as they are
EPSILON = 1e-8  # AdamW's
BETAS = (0.9, 0.95)  # of AdamW, the same for every size


@dataclass(frozen=True)
class Share:
    """What a weight gets of the rate, of the weight decay and of AdamW's epsilon that are set for the run."""

    rate: float = 1.0
    decay: float = 1.0
    epsilon: float = 1.0


def shares(size: str) -> dict[str, Share]:
    """What the weights of a size of the ladder get, by their role."""
    m = sizes.HEAD_WIDTH * sizes.DEPTHS[size] / BASE_WIDTH
    n = sizes.DEPTHS[size] / BASE_DEPTH
    return {
        "input": Share(epsilon=1 / m),
        "hidden": Share(rate=1 / m, decay=m, epsilon=1 / (m * n)),
        "gain": Share(decay=0, epsilon=1 / (m * n)),
        "last gain": Share(decay=0, epsilon=1 / m),
        "output": Share(rate=1 / m, decay=m),
        "head": Share(),
    }


def output_deviation(width: int) -> float:
    """Standard deviation of the projector's weights at the start."""
    return (BASE_WIDTH / width) ** 0.5 * width**-0.5


def parameter_groups(network: nn.Module, size: str, weight_decay: float) -> list[dict[str, object]]:
    """The weights of a GaitNetwork of a size as groups for AdamW, with `lr_scale` of the rate beside torch's keys."""
    given = shares(size) if size in sizes.DEPTHS else {"matrix": Share(), "gain": Share(decay=0)}
    role_of = _role_in_ladder if size in sizes.DEPTHS else _role
    members: dict[str, list[nn.Parameter]] = {role: [] for role in given}
    for name, parameter in network.named_parameters():
        members[role_of(name, parameter)].append(parameter)
    return [
        {
            "params": members[role],
            "lr_scale": share.rate,
            "weight_decay": share.decay * weight_decay,
            "eps": share.epsilon * EPSILON,
        }
        for role, share in given.items()
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
