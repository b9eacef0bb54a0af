"""The forms of the scaling laws: constants in, predictions out.

The constants of a law are numbers, or arrays [R] of as many versions of it (bootstrap draws): every function then has a
leading axis of draws. This file fits nothing and does not know where constants come from.
"""

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def repeat_data(unique: ArrayLike, seen: ArrayLike, decay: ArrayLike) -> Array:
    """What repeated data is worth in new data: D' = U + U R* (1 - exp(-R / R*)) (Muennighoff et al., NeurIPS 2023).

    Args:
        unique: U, different sequences.
        seen: sequences that training visited, each as often as it did; R = seen / U - 1 are repetitions. Where it
            visited fewer than there are, those visited are the data.
        decay: R*, the repetitions after which one more is worth 1/e of new data (about 15 in the paper, for text);
            0 makes repetition worthless, infinity as good as new data.
    """
    unique, seen, decay = (np.asarray(values, dtype=float) for values in (unique, seen, decay))
    unique = np.minimum(unique, seen)
    repeats = seen / unique - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = np.where(np.isinf(decay), repeats, -decay * np.expm1(-repeats / decay))
    return unique * (1 + np.where(decay == 0, 0, worth))


@dataclass(frozen=True, kw_only=True)
class FlopRule:
    """What training costs: FLOP = scale * parameters^power * sequences seen.

    For language models scale is 6 a token and power 1; an encoder whose attention and embedding grow more slowly than
    its parameters has a power below 1.
    """

    scale: float
    power: float = 1.0

    def __call__(self, parameters: ArrayLike, seen: ArrayLike) -> Array:
        """Training FLOP."""
        return self.scale * np.asarray(parameters, dtype=float) ** self.power * np.asarray(seen, dtype=float)

    def seen(self, parameters: ArrayLike, flop: ArrayLike) -> Array:
        """Sequences that so much training visits."""
        return np.asarray(flop, dtype=float) / (self.scale * np.asarray(parameters, dtype=float) ** self.power)


@dataclass(frozen=True, kw_only=True)
class LossLaw:
    """L(N, D) = floor + a / N^alpha + b / D'^beta (Hoffmann et al., 2022, approach 3).

    N counts parameters; D' is what the data seen is worth by `repeat_data` with R* = decay (infinite: as if new).
    """

    floor: Array | float
    a: Array | float
    alpha: Array | float
    b: Array | float
    beta: Array | float
    decay: Array | float = np.inf

    def predict(self, parameters: ArrayLike, seen: ArrayLike, unique: ArrayLike | None = None) -> Array:
        """Loss [..., n] for n sizes and amounts; without `unique`, every sequence is seen once."""
        floor, a, alpha, b, beta, decay = (np.asarray(value, dtype=float)[..., None] for value in astuple(self))
        data = repeat_data(seen if unique is None else unique, seen, decay)
        return floor + a * np.asarray(parameters, dtype=float) ** -alpha + b * data**-beta

    def optimal(self, flop: ArrayLike, rule: FlopRule) -> tuple[Array, Array]:
        """The size and the amount of new data, [..., n] each, at which n budgets in FLOP reach the smallest loss.

        Where a / N^alpha and b / D^beta balance: alpha a N^-alpha = power beta b D^-beta, with D from the budget; but
        at least one parameter and one sequence, where the exponents are so small that there is no such place.
        """
        _, a, alpha, b, beta, _ = (np.asarray(value, dtype=float)[..., None] for value in astuple(self))
        once = np.log(np.asarray(flop, dtype=float) / rule.scale)  # log(N^power * D)
        balance = (np.log(alpha * a) - np.log(rule.power * beta * b) + beta * once) / (alpha + rule.power * beta)
        parameters = np.exp(np.clip(balance, 0, np.maximum(once / rule.power, 0)))
        return parameters, rule.seen(parameters, flop)

    def size_exponent(self, power: float = 1.0) -> Array:
        """p in N_optimal proportional to FLOP^p, for a cost that grows with that power of the size."""
        alpha, beta = np.asarray(self.alpha, dtype=float), np.asarray(self.beta, dtype=float)
        return beta / (alpha + power * beta)

    def __str__(self) -> str:
        """The formula with its constants; of many, their medians."""
        floor, a, alpha, b, beta, decay = (float(np.median(value)) for value in astuple(self))
        data = "D" if np.isinf(decay) else f"D'(R* {decay:.3g})"
        return f"L = {floor:.4g} + {a:.4g} / N^{alpha:.3f} + {b:.4g} / {data}^{beta:.3f}"


@dataclass(frozen=True, kw_only=True)
class SaturatingLaw:
    """e(x) = scale * (x + shift)^-exponent + floor: an error rate that saturates at both ends (Zhai et al., CVPR 2022).

    x is whatever grows: FLOP, parameters or sequences. `shift` is how much of it passes before anything is learned,
    `floor` the error that no amount removes.
    """

    scale: Array | float
    shift: Array | float
    exponent: Array | float
    floor: Array | float

    def predict(self, x: ArrayLike) -> Array:
        """Error [..., n], in the units in which it was fitted."""
        scale, shift, exponent, floor = (np.asarray(value, dtype=float)[..., None] for value in astuple(self))
        return scale * (np.asarray(x, dtype=float) + shift) ** -exponent + floor

    def __str__(self) -> str:
        """The formula with its constants; of many, their medians."""
        scale, shift, exponent, floor = (float(np.median(value)) for value in astuple(self))
        x = f"(x + {shift:.3g})" if shift else "x"
        return f"e = {scale:.4g} {x}^-{exponent:.3f} + {floor:.4g}"
