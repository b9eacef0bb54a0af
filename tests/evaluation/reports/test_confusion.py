"""Confusion matrices as pictures: counts, shares of each row, and rows that are missing."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from evaluation.classification.predictions import Confusion, Predictions
from evaluation.reports.confusion import confusion_figure, percentages
from evaluation.text_table import MISSING

CLASSES = ("negative", "neutral", "positive")


def confusion(*pairs: tuple[str, str]) -> Confusion:
    """Of (true class, predicted class)."""
    probabilities = np.eye(3)[[CLASSES.index(predicted) for _, predicted in pairs]]
    return Predictions.of(probabilities, [true for true, _ in pairs], ["someone"] * len(pairs), CLASSES).confusion


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: (figures.append(figure), save(figure, path)))
    return figures


def test_percentages_are_of_rows() -> None:
    found = percentages(np.array([[3, 1], [0, 0]]))
    np.testing.assert_array_equal(found, [[75, 25], [np.nan, np.nan]])


def test_cells_hold_counts_and_shares_and_an_empty_row_is_hatched(tmp_path: Path, saved: list[Figure]) -> None:
    found = confusion(*[("negative", "negative")] * 3, ("negative", "positive"), ("positive", "neutral"))
    confusion_figure({"by sequence": found, "by subject": found}, tmp_path / "confusion.png")
    first, second = (axes for axes in saved[0].axes if axes.get_title())
    texts = {tuple(map(round, text.get_position()))[::-1]: text.get_text() for text in first.texts}
    assert texts == {
        **{(0, 0): "3\n75.0%", (0, 1): "0\n0.0%", (0, 2): "1\n25.0%"},
        **{(2, 0): "0\n0.0%", (2, 1): "1\n100.0%", (2, 2): "0\n0.0%"},
    }
    (hatched,) = first.patches
    assert hatched.get_hatch() and (hatched.get_y(), hatched.get_width()) == (0.5, 3)
    assert [text.get_text() for text in first.get_yticklabels()] == [
        "negative (4)",
        f"neutral {MISSING}",
        "positive (1)",
    ]
    assert [text.get_text() for text in first.get_xticklabels()] == list(CLASSES)
    assert first.get_title() == "by sequence\n5 items, 60.0% right"
    assert second.get_title().startswith("by subject")
    np.testing.assert_array_equal(first.images[0].get_array().filled(np.nan), percentages(found.counts))


def test_many_classes_have_no_numbers(tmp_path: Path, saved: list[Figure]) -> None:
    names = tuple(f"attribute {number}" for number in range(20))
    confusion_figure({"all": Confusion(names, np.eye(20, dtype=np.int64))}, tmp_path / "confusion.png")
    assert not saved[0].axes[0].texts
    with pytest.raises(ValueError, match="no confusion matrices"):
        confusion_figure({}, tmp_path / "confusion.png")
