"""A store of six sequences, and ids, rows and rejects to add."""

from collections.abc import Callable
from pathlib import Path

import pytest

from datasets.catalog import registry
from datasets.ingest import layouts
from datasets.ingest.sequence_to_row import ingest_sequence
from datasets.storage import open_place
from datasets.store.writer import StoreWriter

Made = tuple[list[str], list[dict], list[dict]]


@pytest.fixture(scope="session")
def made(walks: Path) -> Callable[[int], Made]:
    """The first sequences of CASIA-B: ids, rows, rejects."""
    root = layouts.find_root(open_place(walks / "CASIA-B"), registry.CASIA_B)
    refs = list(layouts.list_sequences(root))[:12]
    done = [ingest_sequence(root, ref) for ref in refs]

    def first(count: int) -> Made:
        rejects = [reject for one in done[:count] for reject in one.rejects]
        return [ref.sequence_id for ref in refs[:count]], [one.row for one in done[:count]], rejects

    return first


@pytest.fixture
def written(made: Callable[[int], Made], tmp_path: Path) -> Path:
    """A store of the first six."""
    writer = StoreWriter.open(tmp_path)
    facts = {"root": "somewhere", "published": {}, "anonymous": "", "citation": "somebody", "access": "ask"}
    writer.describe("CASIA-B", facts)
    writer.blocks().write(*made(6))
    writer.finish()
    return tmp_path
