"""What is asked of a finished study: which laws its cells support, how sure they are, and why others cannot be told.

Each question is asked on its own, and a refusal is a finding with its reason. Numbers in, laws out; how they look is
evaluation/scaling/report.py's matter.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np

from datasets.schema.errors import UsageError
from evaluation.scaling.bootstrap import bootstrap
from evaluation.scaling.cells import LOSS, MeasuredCell, measured_in, runs_of
from evaluation.scaling.curves import Envelope, IsoFlop, envelope, isoflop
from evaluation.scaling.fit import Fit
from evaluation.scaling.forecast import HeldOut, hold_out_largest
from evaluation.scaling.laws import FlopRule, LossLaw, SaturatingLaw
from evaluation.scaling.runs import Axis, Runs, fit_error, fit_flop_rule, fit_loss

Law = TypeVar("Law")
Found = TypeVar("Found")
_AXES: tuple[Axis, ...] = ("parameters", "seen", "flop")


@dataclass(frozen=True, kw_only=True, eq=False)
class Known(Generic[Law]):
    """A law with its draws: of runs and subjects, and of runs alone (these subjects, no others). runs: those fitted."""

    runs: Runs
    fit: Fit[Law]
    draws: Law
    draws_here: Law
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """What a study supports; what it does not is None, or missing, with the reason in `refused`."""

    cells: tuple[MeasuredCell, ...]
    runs: Runs
    rule: FlopRule | None
    law: Known[LossLaw] | None
    held: HeldOut | None
    curves: IsoFlop | None
    best: Envelope | None
    errors: dict[str, dict[Axis, Known[SaturatingLaw]]]
    noise: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def analyse(cells: Sequence[MeasuredCell], *, seed: int = 0, repeats: int = 1000) -> Analysis:
    """Ask all of it. seed, repeats: of the bootstraps. UsageError where there is not even one cell."""
    if not cells:
        raise UsageError("the study has no finished cell yet: run it first")
    cells, refused = sorted(cells, key=lambda one: (one.parameters, one.unique, one.seed, one.steps)), {}
    runs = runs_of(cells)

    def asked(question: str, answer: Callable[[], Found]) -> Found | None:
        try:
            return answer()
        except UsageError as error:
            refused[question] = str(error)
            return None

    law = asked("the law of the loss", lambda: _loss_law(runs, seed, repeats, refused))
    decay = np.inf if law is None else law.fit.law.decay
    alone = runs.without_subjects()
    return Analysis(
        cells=tuple(cells),
        runs=runs,
        rule=asked("the cost of training", lambda: fit_flop_rule(runs)),
        law=law,
        held=asked("the largest size held out", lambda: _hold_out(alone, decay, seed, repeats)),
        curves=asked("parabolas of equal budgets", lambda: isoflop(alone, seed=seed, repeats=repeats)),
        best=asked("the envelope", lambda: envelope(alone)),
        errors={
            name: {
                axis: found
                for axis in _AXES
                if (found := asked(f"{name} against {axis}", lambda n=name, a=axis: _error_law(cells, n, a, repeats)))
            }
            for name in measured_in(cells)
            if name.startswith("error/")
        },
        noise=noise_floor(cells),
        refused=refused,
    )


def noise_floor(cells: Sequence[MeasuredCell]) -> dict[str, float]:
    """Standard deviation between seeds of each measure, relative, pooled over cells that differ in the seed alone.

    Measures without two seeds of any cell are left out.
    """
    found = {}
    for name in measured_in(cells):
        groups = defaultdict(list)
        for cell in cells:
            groups[cell.size, cell.unique, cell.steps].append(cell.measures[name].value)
        several = [np.array(one) for one in groups.values() if len(one) > 1 and min(one) > 0]
        if several:
            squares = sum(((np.log(one) - np.log(one).mean()) ** 2).sum() for one in several)
            found[name] = float(np.sqrt(squares / sum(len(one) - 1 for one in several)))
    return found


def _loss_law(runs: Runs, seed: int, repeats: int, refused: dict[str, str]) -> Known[LossLaw]:
    """The law with what repetition is worth, where the runs can tell; else with repeated sequences as good as new."""
    try:
        return _known(runs, lambda some: fit_loss(some, decay=None), seed, repeats)
    except UsageError as error:
        refused["what repeated sequences are worth"] = str(error)
    return _known(runs, fit_loss, seed, repeats)


def _hold_out(runs: Runs, decay: float, seed: int, repeats: int) -> HeldOut:
    largest = runs.parameters >= runs.parameters.max()
    rest, _ = drawable(runs.take(~largest)) if (~largest).any() else (runs, None)
    whole = replace(runs, trunk=None) if rest.trunk is None else runs
    return hold_out_largest(whole, seed=seed, repeats=repeats, decay=decay)


def _error_law(cells: Sequence[MeasuredCell], name: str, axis: Axis, repeats: int) -> Known[SaturatingLaw]:
    """The law of an error against one quantity, of those cells that differ in it and, as far as possible, only in it.

    Against parameters, the length of training that the most sizes had; against sequences, the size with the most
    lengths; against FLOP, the cells that none with less work beats in the loss. All with all the sequences there are.
    """
    most = max(cell.unique for cell in cells)
    chosen = [cell for cell in cells if cell.unique == most]
    if axis == "parameters":
        sizes = {seen: len({cell.size for cell in chosen if cell.seen == seen}) for seen in {c.seen for c in chosen}}
        seen = max(sorted(sizes, reverse=True), key=sizes.__getitem__)
        chosen = [cell for cell in chosen if cell.seen == seen]
    elif axis == "seen":
        lengths = {size: len({cell.seen for cell in chosen if cell.size == size}) for size in {c.size for c in chosen}}
        size = max(sorted(lengths), key=lengths.__getitem__)
        chosen = [cell for cell in chosen if cell.size == size]
    else:
        chosen = _frontier(chosen)
    runs = runs_of(chosen, name)
    try:
        return _known(runs, lambda some: fit_error(some, axis), 0, repeats)
    except UsageError:
        return _known(runs, lambda some: fit_error(some, axis, shift=0.0), 0, repeats)


def _frontier(cells: Sequence[MeasuredCell]) -> list[MeasuredCell]:
    """The cells, with all their seeds, that no cheaper ones have a lower mean loss than.

    Chosen by the loss, so that an error which is lucky does not choose itself; and by the mean of the seeds, where the
    envelope (evaluation/scaling/curves.py) takes the luckiest.
    """
    groups = defaultdict(list)
    for cell in cells:
        groups[cell.size, cell.seen].append(cell)
    best, found = np.inf, []
    for same in sorted(groups.values(), key=lambda one: np.mean([cell.flop for cell in one])):
        loss = np.mean([cell.measures[LOSS].value for cell in same])
        if loss < best:
            best, found = loss, [*found, *same]
    return found


def _known(runs: Runs, fit: Callable[[Runs], Fit[Law]], seed: int, repeats: int) -> Known[Law]:
    """A law and its draws; of runs alone where drawings of subjects would have no loss at all."""
    runs, note = drawable(runs)
    found = fit(runs)
    notes = [*found.notes, *([note] if note else [])]
    here = bootstrap(found, runs.without_subjects(), seed=seed, repeats=repeats)
    try:
        draws = bootstrap(found, runs, seed=seed, repeats=repeats)
    except UsageError as error:
        notes.append(f"subjects are not drawn: {error}")
        draws = here
    return Known(runs=runs, fit=found, draws=draws, draws_here=here, notes=tuple(notes))


def drawable(runs: Runs) -> tuple[Runs, str | None]:
    """The runs as they are drawn, and what is to be said of that.

    Where every size has a single trunk, each drawing of trunks would be all of them: then runs are drawn one by one.
    """
    trunks = {size: set(runs.trunk[runs.parameters == size]) for size in np.unique(runs.parameters).tolist()}
    if max(map(len, trunks.values())) > 1:
        single = sum(len(one) == 1 for one in trunks.values())
        note = f"{single} of {len(trunks)} sizes have one training alone, whose luck is not in the intervals"
        return runs, note if single else None
    return replace(runs, trunk=None), (
        "every size was trained once: runs of one training are drawn as if they were several, so the intervals know "
        "nothing of the luck of a training; give several --seeds"
    )


def constants_of(law: Known[LossLaw]) -> dict[str, tuple[float, np.ndarray]]:
    """The constants of a law, and their draws."""
    names = ["floor", "a", "alpha", "b", "beta", *(["decay"] if np.ndim(law.draws.decay) else [])]
    return {name: (float(getattr(law.fit.law, name)), np.asarray(getattr(law.draws, name))) for name in names}


def main_errors(analysis: Analysis) -> list[str]:
    """The errors to look at first: the mean over probe sets of each kind, or the one set that it has."""
    names = list(analysis.errors)
    return [name for name in names if name.endswith("/mean") or f"{name.rpartition('/')[0]}/mean" not in names]


def loss_name(cells: Sequence[MeasuredCell]) -> str:
    """What the loss is, for an axis of a figure."""
    return f"Held-out loss ({len(cells[0].measures[LOSS].subjects)} subjects)"
