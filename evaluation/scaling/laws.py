"""The forms of the scaling laws: constants in, predictions out.

The constants of a law are numbers, or arrays [R] with one entry per bootstrap draw; every prediction then has a leading
axis of draws.
"""

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def repeat_data(unique: ArrayLike, seen: ArrayLike, decay: ArrayLike) -> Array:
    """Effective data D' = U + U R* (1 - exp(-R / R*)) of repeated data (Muennighoff et al., NeurIPS 2023).

    Args:
        unique: U, the number of unique sequences; no more than were seen count.
        seen: the number of sequences seen in training, repetitions included; R = seen / U - 1.
        decay: R*, the repetitions after which one more is worth 1/e of new data (about 15 in the paper, for text);
            0 makes repetition worthless, infinity as good as new data.
    """
    total, star = (np.asarray(values, dtype=float) for values in (seen, decay))
    distinct = np.minimum(np.asarray(unique, dtype=float), total)
    repeats = total / distinct - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = np.where(np.isinf(star), repeats, -star * np.expm1(-repeats / star))
    data: Array = distinct * (1 + np.where(star == 0, 0, worth))
    return data


@dataclass(frozen=True, kw_only=True)
class FlopRule:
    """The cost of training: FLOP = scale * parameters^power * sequences seen.

    For language models, scale is 6 per token and power 1. The power is below 1 where attention and embedding grow more
    slowly than the parameters.
    """

    scale: float
    power: float = 1.0

    def __call__(self, parameters: ArrayLike, seen: ArrayLike) -> Array:
        """Training FLOP."""
        return self.scale * np.asarray(parameters, dtype=float) ** self.power * np.asarray(seen, dtype=float)

    def seen(self, parameters: ArrayLike, flop: ArrayLike) -> Array:
        """The number of sequences seen for a budget in FLOP."""
        return np.asarray(flop, dtype=float) / (self.scale * np.asarray(parameters, dtype=float) ** self.power)


@dataclass(frozen=True, kw_only=True)
class LossLaw:
    """L(N, D) = floor + a / N^alpha + b / D'^beta (Hoffmann et al., 2022, approach 3).

    N counts parameters; D' is the effective data of `repeat_data` with R* = decay (infinite: all data count as new).
    """

    floor: Array | float
    a: Array | float
    alpha: Array | float
    b: Array | float
    beta: Array | float
    decay: Array | float = np.inf

    def predict(self, parameters: ArrayLike, seen: ArrayLike, unique: ArrayLike | None = None) -> Array:
        """Loss [..., n] for n sizes and numbers of sequences; without `unique`, every sequence is seen once."""
        floor, a, alpha, b, beta, decay = (np.asarray(value, dtype=float)[..., None] for value in astuple(self))
        data = repeat_data(seen if unique is None else unique, seen, decay)
        return floor + a * np.asarray(parameters, dtype=float) ** -alpha + b * data**-beta

    def optimal(self, flop: ArrayLike, rule: FlopRule) -> tuple[Array, Array]:
        """Parameters and unique sequences, [..., n] each, that reach the smallest loss for n budgets in FLOP.

        There, alpha a N^-alpha = power beta b D^-beta, with D from the budget. Very small exponents can put that point
        outside the budget; at least one parameter and one sequence are returned.
        """
        _, a, alpha, b, beta, _ = (np.asarray(value, dtype=float)[..., None] for value in astuple(self))
        once = np.log(np.asarray(flop, dtype=float) / rule.scale)  # log(N^power * D)
        balance = (np.log(alpha * a) - np.log(rule.power * beta * b) + beta * once) / (alpha + rule.power * beta)
        parameters = np.exp(np.clip(balance, 0, np.maximum(once / rule.power, 0)))
        return parameters, rule.seen(parameters, flop)

    def size_exponent(self, power: float = 1.0) -> Array:
        """p in N_optimal proportional to FLOP^p, where `power` is that of the FlopRule."""
        alpha, beta = np.asarray(self.alpha, dtype=float), np.asarray(self.beta, dtype=float)
        exponent: Array = beta / (alpha + power * beta)
        return exponent

    def __str__(self) -> str:
        """The formula with its constants; of draws, their medians."""
        floor, a, alpha, b, beta, decay = (float(np.median(value)) for value in astuple(self))
        data = "D" if np.isinf(decay) else f"D'(R* {decay:.3g})"
        return f"L = {floor:.4g} + {a:.4g} / N^{alpha:.3f} + {b:.4g} / {data}^{beta:.3f}"


@dataclass(frozen=True, kw_only=True)
class SaturatingLaw:
    """e(x) = scale * (x + shift)^-exponent + floor: an error rate that saturates at both ends (Zhai et al., CVPR 2022).

    x is FLOP, parameters or sequences. `shift` sets the width of the plateau at small x, before anything is learned;
    `floor` is the error at infinite x.
    """

    scale: Array | float
    shift: Array | float
    exponent: Array | float
    floor: Array | float

    def predict(self, x: ArrayLike) -> Array:
        """Error [..., n], in the units that were fitted."""
        scale, shift, exponent, floor = (np.asarray(value, dtype=float)[..., None] for value in astuple(self))
        return scale * (np.asarray(x, dtype=float) + shift) ** -exponent + floor

    def __str__(self) -> str:
        """The formula with its constants; of draws, their medians."""
        scale, shift, exponent, floor = (float(np.median(value)) for value in astuple(self))
        x = f"(x + {shift:.3g})" if shift else "x"
        return f"e = {scale:.4g} {x}^-{exponent:.3f} + {floor:.4g}"
