"""index.html of the demo: what every stage found, on one page, in one file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets.reports import html
from datasets.reports.contact_sheet import COLUMNS, spaced
from datasets.reports.walker import Walker, walker
from datasets.schema.rows import SEQUENCE_SCHEMA
from datasets.store.files import read_files
from datasets.store.reader import Store
from evaluation.reports.results import ResultRow
from evaluation.reports.tables import Block, blocks, rank1_table
from evaluation.scaling.by_subject import subject_interval_of
from evaluation.scaling.cells import LOSS, MeasuredCell
from evaluation.scaling.plots import measured_figure
from orchestration.pages.evaluation_page import best_of

_RUN = ["Size", "Parameters", "Steps", "FLOP", "Loss", "Error in %", "Time"]  # the head of the table of runs
_WALKER_FILES = 2  # shards of a collection that the walker is chosen from


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the demo. command: as typed by a person, one argument or option with its values in each part."""

    name: str
    seconds: float
    result: str
    command: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What the stages of the demo left.

    Attributes:
        stages: in their order.
        store: the ingested collections.
        loss: PNG of the training loss.
        rows: results of the evaluation.
        trained_on: the collection that the run was trained on, whose table stands first.
        sheets: PNG files of retrieval sheets, by what they show.
        cells: the runs of the scaling study.
        error: the measure of the cells that is drawn beside their loss.
        next_commands: commands to go on with, by what they do.
        files: what lies where, by path relative to the page.
    """

    stages: Sequence[Stage]
    store: Store
    loss: bytes
    rows: Sequence[ResultRow]
    trained_on: str
    sheets: Mapping[str, Path]
    cells: Sequence[MeasuredCell]
    error: str
    next_commands: Mapping[str, Sequence[str]]
    files: Mapping[str, str]


def results_of(rows: Sequence[ResultRow], collection: str) -> Block:
    """The tables of a collection's first kind of protocol."""
    return next(block for block in blocks(rows) if block.collection == collection)


def demo_page(demo: Demo, folder: Path) -> str:
    """The page as HTML; figures are drawn into `folder`."""
    studied = folder / "study.png"
    people = len(demo.cells[0].measures[LOSS].subjects)
    titles = {LOSS: "Held-out loss", demo.error: f"Rank-1 error in % ({people} held-out subjects)"}
    measured_figure(demo.cells, titles, studied)
    block = results_of(demo.rows, demo.trained_on)
    head, *lines = rank1_table([row for row in demo.rows if row.collection != demo.trained_on])
    return html.render(
        Path(__file__).parent / "demo.html.j2",
        demo=demo,
        minutes=sum(stage.seconds for stage in demo.stages) / 60,
        walkers={name: _walker(demo.store, name) for name in demo.store.collections},
        block=block,
        results=block.tables[-1],
        head=head,
        lines=[(line, best_of(line[3:])) for line in lines],
        sheets={name: path.read_bytes() for name, path in demo.sheets.items()},
        study=studied.read_bytes(),
        runs=[_RUN, *(_cell(cell, demo.error) for cell in demo.cells)],
        people=people,
    )


def _walker(store: Store, name: str) -> Walker:
    files = spaced(store.files([name]), _WALKER_FILES)
    return walker(read_files(store.place, files, COLUMNS, SEQUENCE_SCHEMA))


def _cell(cell: MeasuredCell, error: str) -> list[str]:
    """A line of the table of the study."""
    values = []
    for name, form in ((LOSS, "{:.3f} [{:.2f}, {:.2f}]"), (error, "{:.1f} [{:.0f}, {:.0f}]")):
        values.append(form.format(cell.measures[name].value, *subject_interval_of(cell.measures[name])))
    return [cell.size, f"{cell.parameters:,}", f"{cell.steps}", f"{cell.flop:.2g}", *values, f"{cell.seconds:.0f} s"]
