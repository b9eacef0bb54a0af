"""A walk of pictures in object storage: many requests at a time, and the same frames and rejects as on a disk."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets.catalog.registry import CASIA_B
from datasets.ingest import layouts
from datasets.ingest.sequence_to_row import SequenceResult, ingest_sequence
from datasets.storage import IN_FLIGHT, ObjectPlace, open_place
from datasets.synthetic.scenes import casia_b
from datasets.synthetic.trees import write_tree
from tests.fixtures import object_storage

FRAMES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A walk of pictures; of one of them only the first half is there, another one is empty."""
    root = tmp_path_factory.mktemp("tree")
    write_tree(root, CASIA_B.layouts[0], [casia_b("001", "nm-01", "090")], num_frames=FRAMES)
    pictures = sorted(root.rglob("*.png"))
    assert len(pictures) > 2 * IN_FLIGHT
    pictures[7].write_bytes(pictures[7].read_bytes()[:60])
    pictures[30].write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """The same walk on a local S3 server."""
    with object_storage.bucket("walks") as (client, options):
        for path in folder.rglob("*.png"):
            client.upload_file(str(path), "walks", path.relative_to(folder).as_posix())
        yield f"s3://walks{options}"


def ingested(where: str | Path) -> SequenceResult:
    root = layouts.find_root(open_place(where), CASIA_B)
    (ref,) = layouts.list_sequences(root)
    return ingest_sequence(root, ref)


def test_object_storage_gives_the_row_and_the_rejects_of_a_disk(folder: Path, address: str) -> None:
    expected = ingested(folder)
    reasons = [reject["reason"] for reject in expected.rejects]
    assert reasons == ["damaged image", "empty file", "nearly empty frame", "nearly empty frame"]
    assert expected.row is not None and expected.row["num_frames"] == FRAMES - len(reasons)
    found = ingested(address)
    assert found.rejects == expected.rejects
    assert found.row is not None
    assert {key: str(value) for key, value in found.row.items()} == {
        key: str(value) for key, value in expected.row.items()
    }


def test_many_pictures_are_fetched_at_a_time_and_few_are_ahead(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones wait for each other: they would wait in vain if they came one after the other."""
    together, waiting = threading.Barrier(IN_FLIGHT), list(range(IN_FLIGHT))
    lock, now, most, begun = threading.Lock(), 0, 0, 0
    read = ObjectPlace.read

    def counted(place: ObjectPlace, limit: int) -> bytes:
        nonlocal now, most, begun
        with lock:
            now, begun = now + 1, begun + 1
            most = max(most, now)
            first = bool(waiting) and waiting.pop() is not None
        if first:
            together.wait(timeout=60)
        content = read(place, limit)
        with lock:
            now -= 1
        return content

    monkeypatch.setattr(ObjectPlace, "read", counted)
    assert ingested(address).row is not None
    assert (most, begun) == (IN_FLIGHT, FRAMES)
