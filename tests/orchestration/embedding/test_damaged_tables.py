"""Tables of embeddings whose files are not what was written: one line that names the file and what mends it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datasets.schema.errors import Damaged
from datasets.schema.rows import SEQUENCE_SCHEMA
from datasets.storage import open_place
from datasets.store.files import FileRecord
from orchestration.embedding import table as embeddings

PATH = "collection=Park/split=test/abc.parquet"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A finished table of two sequences, in one part."""
    place = open_place(tmp_path / "table")
    embeddings.claim(place, {"methods": ["GEI"], "form": "float32"})
    (part,) = embeddings.parts_of(FileRecord(path=PATH, rows=2, bytes=9))
    names = [SEQUENCE_SCHEMA.field(name) for name in embeddings.NAMES]
    rows = {one.name: ["a", "b"] if one.type == pa.string() else [None, None] for one in names}
    values = np.arange(2 * 64 * 3, dtype=np.float32).reshape(2, 64, 3)
    embeddings.write_part(place / part.path, pa.table(rows, schema=pa.schema(names)), {"GEI": values}, "float32")
    embeddings.finish(place, [part], 2)
    np.testing.assert_array_equal(embeddings.read_table(place).embeddings("GEI"), values)
    return tmp_path / "table"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:40])


@pytest.mark.parametrize(("damage", "why"), [(cut, "Parquet"), (Path.unlink, "it is gone")])
def test_a_damaged_part_is_named(table: Path, damage: Callable[[Path], None], why: str) -> None:
    (part,) = table.rglob("*.parquet")
    damage(part)
    with pytest.raises(Damaged) as refused:
        embeddings.read_table(open_place(table)).embeddings("GEI")
    said = str(refused.value)
    assert said.startswith(f"{part} is damaged (") and why in said and "delete it" in said and "\n" not in said


def test_no_embedding_is_read_that_was_not_written(table: Path) -> None:
    """One bit of a part at a time: what no checksum of a page covers changes no embedding."""
    (part,) = table.rglob("*.parquet")
    whole = embeddings.read_table(open_place(table)).embeddings("GEI")
    content, found = part.read_bytes(), 0
    for position in range(0, len(content), len(content) // 60):
        part.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        try:
            values = embeddings.read_table(open_place(table)).embeddings("GEI")
        except Damaged:
            found += 1
        else:
            np.testing.assert_array_equal(values, whole)
    assert found > 5


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'{"methods": ['])
def test_a_damaged_identity_is_named(table: Path, content: bytes) -> None:
    (table / "table.json").write_bytes(content)
    place = open_place(table)
    for read in (embeddings.read_table, embeddings.recorded_precision, lambda one: embeddings.claim(one, {})):
        with pytest.raises(Damaged, match=rf"table\.json is damaged .* delete {table}, and run the same command again"):
            read(place)
