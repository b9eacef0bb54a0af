"""The page of an evaluation: every number and picture in one file that loads nothing."""

import re
from dataclasses import replace
from pathlib import Path

from orchestration.pages.evaluation_page import best_of, evaluation_page
from tests.fixtures.results import ROWS, evaluated

PNG = b"\x89PNG\r\n\x1a\n not more than a signature"


def page(tmp_path: Path) -> str:
    picture = tmp_path / "Park-cmc.png"
    picture.write_bytes(PNG)
    unkind = replace(evaluated()[1], collection="<b>Street</b>", method="a & b")
    return evaluation_page("Evaluation of run", ["test split"], [*ROWS, unkind], {"Park": [picture]})


def test_the_page_has_each_collection_with_its_tables_and_pictures(tmp_path: Path) -> None:
    html = page(tmp_path)
    assert re.findall(r'<h2 id="c\d">(.*)</h2>', html) == ["Park", "&lt;b&gt;Street&lt;/b&gt;"]
    assert '<td class="number"><b>75.00</b></td>' in html  # the better one of two
    assert "chance level 2.00 (1 of 50 subjects)" in html
    assert re.findall(r'<img alt="(.*)" src="data:image/png;base64,iVBORw', html) == ["Park: cmc"]
    assert "a &amp; b" in html


def test_the_page_loads_and_runs_nothing(tmp_path: Path) -> None:
    html = page(tmp_path)
    assert "default-src 'none'" in html
    assert re.findall(r"<script|https?:|<link|@import|url\(", html) == []


def test_the_best_of_a_line_is_bold_unless_all_are_equal() -> None:
    assert best_of(["50.00", "\u2013", "7.50"]) == {"50.00"}
    assert best_of(["50.00", "50.00"]) == set()
    assert best_of(["\u2013"]) == set()
