"""The analysis of a study: the laws that its cells support with their intervals, and reasons for those they do not.

Each law is fitted on its own; one that the cells do not determine is a finding with its reason.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, TypeVar

import numpy as np

from datasets.schema.errors import UsageError
from evaluation.scaling.cells import LOSS, MeasuredCell, common_measures, runs_of
from evaluation.scaling.compute_optimal import Envelope, IsoFlop, envelope, isoflop
from evaluation.scaling.fit import Fit
from evaluation.scaling.law_bootstrap import bootstrap
from evaluation.scaling.law_fits import fit_error, fit_flop_rule, fit_loss
from evaluation.scaling.laws import FlopRule, LossLaw, SaturatingLaw
from evaluation.scaling.predictions import HeldOut, hold_out_largest
from evaluation.scaling.robust_fit import Array
from evaluation.scaling.runs import Axis, Runs

Law = TypeVar("Law")
Found = TypeVar("Found")
_AXES: tuple[Axis, ...] = ("parameters", "seen", "flop")
LOSS_LAW, TRAINING_COST = "the law of the loss", "the cost of training"


@dataclass(frozen=True, kw_only=True, eq=False)
class BootstrappedLaw(Generic[Law]):
    """A fitted law with its bootstrap.

    Attributes:
        runs: those that it was fitted to.
        draws: the law refitted to draws of runs and subjects.
        draws_of_runs: the same for draws of runs alone, which gives intervals for these subjects and no others.
        notes: what the fit and the draws leave open.
    """

    runs: Runs
    fit: Fit[Law]
    draws: Law
    draws_of_runs: Law
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """What a study supports; anything else is None or missing, with the reason in `undetermined`.

    noise: see `noise_floor`.
    """

    cells: tuple[MeasuredCell, ...]
    runs: Runs
    rule: FlopRule | None
    law: BootstrappedLaw[LossLaw] | None
    held_out: HeldOut | None
    isoflop: IsoFlop | None
    envelope: Envelope | None
    errors: dict[str, dict[Axis, BootstrappedLaw[SaturatingLaw]]]
    noise: dict[str, float] = field(default_factory=dict)
    undetermined: dict[str, str] = field(default_factory=dict)


def analyse(cells: Sequence[MeasuredCell], *, seed: int = 0, repeats: int = 1000) -> Analysis:
    """Fit all laws. seed, repeats: of the bootstraps. UsageError without any cell."""
    if not cells:
        raise UsageError("the study has no finished cell yet: run it first")
    cells = sorted(cells, key=lambda one: (one.parameters, one.unique, one.seed, one.steps))
    runs, undetermined = runs_of(cells), dict[str, str]()

    def attempt(name: str, answer: Callable[[], Found]) -> Found | None:
        try:
            return answer()
        except UsageError as error:
            undetermined[name] = str(error)
            return None

    law = attempt(LOSS_LAW, lambda: _loss_law(runs, seed, repeats, undetermined))
    decay = np.inf if law is None else float(law.fit.law.decay)
    whole = runs.without_subjects()
    rule = attempt(TRAINING_COST, lambda: fit_flop_rule(runs))
    held_out = attempt("the largest size held out", lambda: _hold_out(whole, decay, seed, repeats))
    parabolas = attempt("parabolas of equal budgets", lambda: isoflop(whole, seed=seed, repeats=repeats))
    front = attempt("the envelope", lambda: envelope(whole))
    errors: dict[str, dict[Axis, BootstrappedLaw[SaturatingLaw]]] = {}
    for name in (name for name in common_measures(cells) if name.startswith("error/")):
        errors[name] = {}
        for axis in _AXES:
            found = attempt(f"{name} against {axis}", partial(_error_law, cells, name, axis, repeats))
            if found is not None:
                errors[name][axis] = found
    return Analysis(
        cells=tuple(cells),
        runs=runs,
        rule=rule,
        law=law,
        held_out=held_out,
        isoflop=parabolas,
        envelope=front,
        errors=errors,
        noise=noise_floor(cells),
        undetermined=undetermined,
    )


def noise_floor(cells: Sequence[MeasuredCell]) -> dict[str, float]:
    """The relative standard deviation between seeds of each measure, pooled over cells that differ in the seed alone.

    Measures without two seeds of any cell are left out.
    """
    found = {}
    for name in common_measures(cells):
        groups = defaultdict(list)
        for cell in cells:
            groups[cell.size, cell.unique, cell.steps].append(cell.measures[name].value)
        several = [np.array(one) for one in groups.values() if len(one) > 1 and min(one) > 0]
        if several:
            squares = sum(((np.log(one) - np.log(one).mean()) ** 2).sum() for one in several)
            found[name] = float(np.sqrt(squares / sum(len(one) - 1 for one in several)))
    return found


def resampling_units(runs: Runs) -> tuple[Runs, str | None]:
    """The runs with the trunks that a bootstrap draws together, and a note on what the intervals then leave out.

    If every size has a single trunk, a draw of trunks must contain all of them, or a size is missing: runs are then
    drawn one by one.
    """
    assert runs.trunk is not None, "runs of cells have trunks"
    trunks = {size: set(runs.trunk[runs.parameters == size]) for size in np.unique(runs.parameters).tolist()}
    if max(map(len, trunks.values())) > 1:
        single = sum(len(one) == 1 for one in trunks.values())
        note = f"{single} of {len(trunks)} sizes were trained once: the intervals leave out the noise of their training"
        return runs, note if single else None
    return replace(runs, trunk=None), (
        "every size was trained once: runs of one training are drawn as if they were independent, and the intervals "
        "leave out the noise between trainings; give several --seeds"
    )


def constants_of(law: BootstrappedLaw[LossLaw]) -> dict[str, tuple[float, Array]]:
    """The constants of a law, each with its draws."""
    names = ["floor", "a", "alpha", "b", "beta", *(["decay"] if np.ndim(law.draws.decay) else [])]
    return {name: (float(getattr(law.fit.law, name)), np.asarray(getattr(law.draws, name))) for name in names}


def main_errors(analysis: Analysis) -> list[str]:
    """The errors to look at first: of each kind the mean over probe sets, or its only probe set."""
    names = list(analysis.errors)
    return [name for name in names if name.endswith("/mean") or f"{name.rpartition('/')[0]}/mean" not in names]


def _loss_law(runs: Runs, seed: int, repeats: int, undetermined: dict[str, str]) -> BootstrappedLaw[LossLaw]:
    """The law with R* if the runs determine it; otherwise repeated sequences count as new ones."""
    try:
        return _bootstrapped(runs, lambda some: fit_loss(some, decay=None), seed, repeats)
    except UsageError as error:
        undetermined["what repeated sequences are worth"] = str(error)
    return _bootstrapped(runs, fit_loss, seed, repeats)


def _hold_out(runs: Runs, decay: float, seed: int, repeats: int) -> HeldOut:
    largest = runs.parameters >= runs.parameters.max()
    rest, _ = resampling_units(runs.take(~largest)) if (~largest).any() else (runs, None)
    return hold_out_largest(
        replace(runs, trunk=None) if rest.trunk is None else runs, seed=seed, repeats=repeats, decay=decay
    )


def _error_law(cells: Sequence[MeasuredCell], name: str, axis: Axis, repeats: int) -> BootstrappedLaw[SaturatingLaw]:
    runs = runs_of(_cells_along(cells, axis), name)
    try:
        return _bootstrapped(runs, lambda some: fit_error(some, axis), 0, repeats)
    except UsageError:
        return _bootstrapped(runs, lambda some: fit_error(some, axis, shift=0.0), 0, repeats)


def _cells_along(cells: Sequence[MeasuredCell], axis: Axis) -> list[MeasuredCell]:
    """The cells that differ in one quantity and, as far as possible, in nothing else; all with the most sequences.

    Against parameters, the number of sequences seen that most sizes have; against sequences seen, the size with the
    most of them; against FLOP, the cells on the front of the loss.
    """
    most = max(cell.unique for cell in cells)
    chosen = [cell for cell in cells if cell.unique == most]
    if axis == "parameters":
        sizes = {seen: len({cell.size for cell in chosen if cell.seen == seen}) for seen in {c.seen for c in chosen}}
        seen = max(sorted(sizes, reverse=True), key=sizes.__getitem__)
        return [cell for cell in chosen if cell.seen == seen]
    if axis == "seen":
        lengths = {size: len({cell.seen for cell in chosen if cell.size == size}) for size in {c.size for c in chosen}}
        size = max(sorted(lengths), key=lengths.__getitem__)
        return [cell for cell in chosen if cell.size == size]
    return _pareto_front(chosen)


def _pareto_front(cells: Sequence[MeasuredCell]) -> list[MeasuredCell]:
    """The cells, with all their seeds, whose mean loss no cheaper cells reach.

    Selected by the loss, so that a lucky error does not select itself; and by the mean over seeds, while `envelope`
    takes the luckiest.
    """
    groups = defaultdict(list)
    for cell in cells:
        groups[cell.size, cell.seen].append(cell)
    best, found = np.inf, list[MeasuredCell]()
    for same in sorted(groups.values(), key=lambda one: np.mean([cell.flop for cell in one])):
        loss = float(np.mean([cell.measures[LOSS].value for cell in same]))
        if loss < best:
            best, found = loss, [*found, *same]
    return found


def _bootstrapped(runs: Runs, fit: Callable[[Runs], Fit[Law]], seed: int, repeats: int) -> BootstrappedLaw[Law]:
    """A law and its draws; draws of runs alone where a draw of subjects would have no loss."""
    runs, note = resampling_units(runs)
    found = fit(runs)
    notes = [*found.notes, *([note] if note else [])]
    draws_of_runs = bootstrap(found, runs.without_subjects(), seed=seed, repeats=repeats)
    try:
        draws = bootstrap(found, runs, seed=seed, repeats=repeats)
    except UsageError as error:
        notes.append(f"subjects are not drawn: {error}")
        draws = draws_of_runs
    return BootstrappedLaw(runs=runs, fit=found, draws=draws, draws_of_runs=draws_of_runs, notes=tuple(notes))
