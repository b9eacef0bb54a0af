"""python -m benchmarks.scaling_fits [--repeats 200] [--draws 400]

Time of a thousand bootstraps of the loss law, and coverage of its intervals: on synthetic studies with known constants,
as large as Chinchilla's and as small as ours, with noise in the logarithm of the loss. Times are CPU times, which other
load does not change.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import tyro

from evaluation.scaling.law_bootstrap import bootstrap, intervals
from evaluation.scaling.law_fits import fit_loss
from evaluation.scaling.laws import LossLaw
from evaluation.scaling.runs import Runs

CHINCHILLA = LossLaw(floor=1.8172, a=477.8, alpha=0.3473, b=2143.4, beta=0.3672)  # Besiroglu et al., 2024
SMALL = LossLaw(floor=0.6, a=1e5**0.35, alpha=0.35, b=1.5 * 2e4**0.4, beta=0.4)  # terms of 1 and 1.5 where it starts
NAMES = ("floor", "alpha", "beta", "size exponent", "loss at 4N, 4D")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Numbers of studies and bootstraps."""

    repeats: int = 200
    """Synthetic studies of each kind."""
    draws: int = 400
    """Bootstraps of each study."""


def chinchilla(rng: np.random.Generator, noise: float) -> Runs:
    """240 runs over the sizes and budgets of Hoffmann et al. (2022), with their cost of 6 N D."""
    parameters = np.exp(rng.uniform(np.log(4e7), np.log(1e10), 240))
    return measured(
        CHINCHILLA, parameters, np.exp(rng.uniform(np.log(1e18), np.log(3e21), 240)) / 6 / parameters, rng, noise
    )


def grid(sizes: int, amounts: int, span: float) -> Callable[[np.random.Generator, float], Runs]:
    """Studies of sizes times amounts, the largest size `span` times the smallest, amounts over a factor of 100."""
    parameters, seen = np.meshgrid(np.geomspace(1e5, 1e5 * span, sizes), np.geomspace(2e4, 2e6, amounts))
    return lambda rng, noise: measured(SMALL, parameters.ravel(), seen.ravel(), rng, noise)


def with_subjects(subjects: int) -> Callable[[np.random.Generator, float], Runs]:
    """The 5 x 4 study with losses by subject, which differ by subject (by half) and by run and subject (by a tenth)."""

    def study(rng: np.random.Generator, noise: float) -> Runs:
        runs = grid(5, 4, 100)(rng, noise)
        luck = np.exp(rng.normal(0, 0.1, (len(runs), subjects)))
        by_subject = runs.loss[:, None] * rng.gamma(4, 0.25, subjects) * luck
        return replace(runs, loss=by_subject.mean(axis=1), by_subject=by_subject)

    return study


def measured(law: LossLaw, parameters: np.ndarray, seen: np.ndarray, rng: np.random.Generator, noise: float) -> Runs:
    """Runs with the losses of a law, and normal noise of standard deviation `noise` in their logarithms."""
    loss = law.predict(parameters, seen) * np.exp(rng.normal(0, noise, len(parameters)))
    return Runs(parameters=parameters, seen=seen, unique=seen, flop=6 * parameters * seen, loss=loss)


STUDIES = (
    ("240 runs, 0.5%", chinchilla, CHINCHILLA, 0.005),
    ("6 x 4, 1%", grid(6, 4, 100), SMALL, 0.01),
    ("5 x 4, 1%", grid(5, 4, 100), SMALL, 0.01),
    ("5 x 3, 1%", grid(5, 3, 100), SMALL, 0.01),
    ("5 x 3, 3%", grid(5, 3, 100), SMALL, 0.03),
    ("4 x 4, 15-fold sizes, 2%", grid(4, 4, 15), SMALL, 0.02),
    ("5 x 4, 1%, 12 subjects", with_subjects(12), SMALL, 0.01),
)


def numbers(law: LossLaw, runs: Runs) -> np.ndarray:
    """The quantities in `NAMES`, of one law or of bootstrap draws: [..., 5]."""
    beyond = law.predict([4 * runs.parameters.max()], [4 * runs.seen.max()])[..., 0]
    return np.stack([*map(np.asarray, (law.floor, law.alpha, law.beta)), law.size_exponent(), beyond], axis=-1)


def coverage(
    study: Callable[[np.random.Generator, float], Runs], truth: LossLaw, noise: float, repeats: int, draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """The fraction of synthetic studies whose 80% and 95% intervals contain the true `numbers`: [5] each."""
    inside80, inside95 = [], []
    for seed in range(repeats):
        runs = study(np.random.default_rng(seed), noise)
        true = numbers(truth, runs)
        found = intervals(numbers(bootstrap(fit_loss(runs), runs, seed=seed, repeats=draws), runs))
        inside80.append((found.low80 <= true) & (true <= found.high80))
        inside95.append((found.low95 <= true) & (true <= found.high95))
    return np.mean(inside80, axis=0), np.mean(inside95, axis=0)


def main(arguments: Arguments) -> None:
    """Print times, then coverage."""
    for name, study, _, noise in STUDIES[:3:2]:
        runs = study(np.random.default_rng(0), noise)
        start = time.process_time()
        fitted = fit_loss(runs)
        middle = time.process_time()
        bootstrap(fitted, runs, seed=0, repeats=1000)
        print(f"{name}: fit {middle - start:.2f} s, 1,000 bootstraps {time.process_time() - middle:.2f} s")
    print(f"fraction of {arguments.repeats} studies whose 80% and 95% intervals contain the truth:")
    print(f"{'':26}" + "".join(f"{name:>18}" for name in NAMES))
    for name, study, truth, noise in STUDIES:
        shares = coverage(study, truth, noise, arguments.repeats, arguments.draws)
        cells = (f"{100 * at80:.0f}% {100 * at95:.0f}%" for at80, at95 in zip(*shares, strict=True))
        print(f"{name:26}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
