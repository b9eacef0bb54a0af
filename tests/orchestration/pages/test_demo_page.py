"""The page of the demo: what each stage left, in one file that loads nothing."""

import re
from pathlib import Path

from datasets.store.reader import Store
from orchestration.pages.demo_page import Demo, Stage, demo_page, results_of
from tests.fixtures.results import ROWS, row
from tests.fixtures.study_records import cells_of, plan_of

PNG = b"\x89PNG\r\n\x1a\n not more than a signature"
STAGES = [
    Stage(name="walkers", seconds=12, result="104 walks"),
    Stage(name="ingest", seconds=30, result="<104> sequences", command=["python -m jobs.ingest", "--out 'a b'"]),
]


def page(store: Path, tmp_path: Path) -> str:
    (tmp_path / "sheet.png").write_bytes(PNG)
    demo = Demo(
        stages=STAGES,
        store=Store.open(store),
        loss=PNG,
        rows=[*ROWS, row("GEI", "walk", 1, 2, "Street")],
        trained_on="Park",
        sheets={"Normal walks": tmp_path / "sheet.png"},
        cells=cells_of(plan_of(tmp_path, sizes=("xxs", "xs"), seeds=(0,))),
        error="error/X/view-pairs/NM",
        next_commands={"Ingest": ["python -m jobs.ingest", "--root my-walks=walks"]},
        files={"run": "the run"},
    )
    return demo_page(demo, tmp_path)


def test_the_page_has_every_part(store: Path, tmp_path: Path) -> None:
    html = page(store, tmp_path)
    assert "in 0.7 minutes" in html
    assert "&lt;104&gt; sequences" in html
    assert re.findall(r'aria-label="a walker of (.*?)"', html) == ["CASIA-B", "GaitLU-1M"]
    assert html.count("data:image/png;base64,iVBORw") == 2 + 3  # walkers; loss, sheet and study
    assert "python -m jobs.ingest \\\n    --out &#39;a b&#39;" in html
    assert re.findall(r"<td>(xxs|xs)</td>", html) == ["xxs"] * 4 + ["xs"] * 4
    assert results_of(ROWS, "Park").tables[0].cells[1][0] in html
    assert "<td>Street</td>" in html


def test_the_page_loads_and_runs_nothing(store: Path, tmp_path: Path) -> None:
    html = page(store, tmp_path)
    assert "default-src 'none'" in html
    assert re.findall(r"<script|https?:|<link|@import|url\((?!data:image/png)", html) == []
