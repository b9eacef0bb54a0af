"""Records of cells: their JSON, and as runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from evaluation.scaling.by_subject import BySubject
from evaluation.scaling.cells import MeasuredCell, runs_of
from tests.fixtures.study_records import SUBJECTS, cells_of, plan_of


def test_records_survive_their_json(tmp_path: Path) -> None:
    for cell in cells_of(plan_of(tmp_path, sizes=("xxs",))):
        assert MeasuredCell.from_json(cell.to_json()) == cell


def test_subjects_that_all_cells_know_are_compared(tmp_path: Path) -> None:
    cells = cells_of(plan_of(tmp_path, sizes=("xxs",), seeds=(0,)))
    fewer = BySubject(value=9.0, subjects=SUBJECTS[1:], values=(8.0, 10.0), weights=(1.0, 3.0))
    cells[1] = replace(cells[1], measures={**cells[1].measures, "loss": fewer})
    found = runs_of(cells)
    assert found.by_subject.shape == (4, 2) and found.by_subject[1].tolist() == [8.0, 10.0]


def test_a_diverged_run_keeps_its_record_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    cell = cells_of(plan_of(tmp_path, sizes=("xxs",)))[0]
    diverged = replace(cell, measures={"loss": replace(cell.measures["loss"], value=float("nan"))})
    assert np.isnan(MeasuredCell.from_json(diverged.to_json()).measures["loss"].value)
    for text in (
        cell.to_json().replace('"heads"', '"tails"'),
        cell.to_json().replace('"steps": 100', '"steps": "100"'),
    ):
        with pytest.raises(ValidationError):
            MeasuredCell.from_json(text)
