"""What an analysis fits to which cells, and what it reports as undetermined."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.scaling.analysis import analyse, noise_floor
from evaluation.scaling.by_subject import BySubject
from tests.fixtures.study_records import SUBJECTS, cells_of, plan_of


def test_trainings_are_drawn_where_there_are_several(tmp_path: Path) -> None:
    several, once = (analyse(cells_of(plan_of(tmp_path, seeds=seeds)), repeats=50) for seeds in ((0, 1), (0,)))
    assert several.law.runs.trunk is not None and several.law.notes == ()
    assert once.law.runs.trunk is None and any("was trained once" in note for note in once.law.notes)
    assert np.ptp(once.law.draws.alpha) > 0


def test_noise_is_between_seeds_alone(tmp_path: Path) -> None:
    cells = cells_of(plan_of(tmp_path), noise=0.0)
    assert noise_floor(cells)["loss"] == pytest.approx(0, abs=1e-12)
    louder = [replace(c, measures={"loss": replace(c.measures["loss"], value=1.0 + 0.1 * c.seed)}) for c in cells]
    assert noise_floor(louder)["loss"] == pytest.approx(np.log(1.1) / 2**0.5)
    assert noise_floor([cell for cell in cells if cell.seed == 0]) == {}


def test_an_error_against_work_is_of_cells_that_no_cheaper_one_beats(tmp_path: Path) -> None:
    cells = cells_of(plan_of(tmp_path, seeds=(0,)), noise=0.0)
    poor = max(cells, key=lambda one: one.flop)  # the dearest learned nothing
    cells = [
        replace(one, measures={name: replace(v, value=10 * v.value) for name, v in one.measures.items()})
        if one is poor
        else one
        for one in cells
    ]
    runs = analyse(cells, repeats=20).errors["error/X/view-pairs/NM"]["flop"].runs
    order = np.argsort(runs.flop)
    assert 5 <= len(runs) < len(cells) and runs.flop.max() < poor.flop
    assert (np.diff(runs.loss[order]) < 0).all()


def test_errors_of_zero_have_no_law_but_do_not_stop_the_others(tmp_path: Path) -> None:
    cells = cells_of(plan_of(tmp_path))
    nothing = BySubject(value=0.0, subjects=SUBJECTS, values=(0.0, 0.0, 0.0), weights=(1.0, 1.0, 1.0))
    cells[0] = replace(cells[0], measures={**cells[0].measures, "error/X/view-pairs/NM": nothing})
    found = analyse(cells, repeats=50)
    assert found.law is not None
    assert "is not a positive number" in found.undetermined["error/X/view-pairs/NM against flop"]
