"""Driver of identification: unknown walks in one folder against known ones in another, neither of them in a store.

Both folders are ingested into a temporary store and embedded like any collection.
"""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from datasets import storage
from datasets.schema.errors import Unreadable, UsageError
from datasets.specs import custom
from datasets.storage import open_place
from datasets.store.reader import Store
from evaluation.distances.metric import Metric
from evaluation.retrieval.candidates import Candidates, identify
from orchestration.embedding.embed import EmbedRun, embed_store
from orchestration.embedding.gpus import Gpus, check_gpus
from orchestration.embedding.networks import PRETRAINED
from orchestration.embedding.table import EmbeddingTable, read_table
from orchestration.ingest.ingest import IngestRun, ingest

logger = logging.getLogger(__name__)

KNOWN, UNKNOWN = "gallery", "probe"


@dataclass(frozen=True, kw_only=True)
class IdentifyRun:
    """The unknown walks, the known ones, and the encoder that compares them."""

    run: str
    """The folder that `jobs.pretrain` wrote."""
    gallery: str
    """The walks of known people: a folder for each person, and in it masks, or folders of masks for several walks."""
    probe: str
    """The unknown walks: a folder of masks for each, or one such folder."""
    out: str | None = None
    """Where the table goes; <run>/identify if none is given."""
    step: int | None = None
    """The checkpoint to embed with, by the steps behind it; the newest if none is given."""
    metric: Metric = "euc"
    """Distance between embeddings: the mean over parts of Euclidean or of cosine distances."""
    most: int = 5
    """Number of candidates for each walk."""
    gpus: Gpus = "auto"
    """The number of GPUs to embed on; 0: on the CPU. auto: all that Ray has."""

    def __post_init__(self) -> None:
        check_gpus(self.gpus)
        if self.most < 1:
            raise UsageError(f"--most {self.most} must be at least 1")


def identify_walks(settings: IdentifyRun) -> pd.DataFrame:
    """One row for each unknown walk and candidate, the nearest first; also written as CSV.

    Walks that cannot be used are printed; UsageError where none is left on a side.
    """
    with tempfile.TemporaryDirectory(prefix="foundationgait-") as made:
        probes = _each_in_a_folder(settings.probe, Path(made) / "walk")
        store = ingest(IngestRun(roots={KNOWN: settings.gallery, UNKNOWN: probes}, out=f"{made}/shards"))
        _check_usable(store, settings)
        asked = EmbedRun(
            run=settings.run,
            shards=str(store),
            out=f"{made}/table",
            step=settings.step,
            split="train",
            gpus=settings.gpus,
        )
        place = embed_store(asked, store).place
        known, unknown = (read_table(place, name) for name in (KNOWN, UNKNOWN))
        found = identify(
            _embeddings(unknown),
            _embeddings(known),
            known.names["subject"].to_pylist(),
            settings.metric,
            settings.most,
        )
    lines = _lines(found, known, unknown)
    out = storage.open_place(settings.out or f"{settings.run}/identify")
    (out / "candidates.csv").write(lines.to_csv(index=False).encode())
    return lines


def _embeddings(table: EmbeddingTable) -> np.ndarray:
    """All embeddings of a table, float32 [n, C, P]."""
    return table.embeddings(PRETRAINED)[np.arange(table.names.num_rows)]


def _each_in_a_folder(probe: str, above: Path) -> str:
    """The folder of unknown walks; where it is a walk itself, another one in which it is the only one."""
    place = open_place(probe)
    try:
        frames = any(entry.kind == "file" and custom.is_frame(entry.name) for entry in place.entries())
    except OSError as error:
        raise UsageError(f"no folder {place} of walks: check --probe ({error.strerror or error})") from error
    if not frames:
        return probe
    walk = above / place.name.removesuffix(".zip")
    if isinstance(place, storage.LocalPlace):
        above.mkdir()
        walk.symlink_to(place.path)
        return str(above)
    walk.mkdir(parents=True)
    for entry in place.entries():
        if entry.kind == "file" and custom.is_frame(entry.name):
            try:
                (walk / entry.name).write_bytes((place / entry.name).read())
            except Unreadable as error:
                raise UsageError(f"{place / entry.name} of --probe cannot be read, {error}: copy it again") from error
    return str(above)


def _check_usable(store: Store, settings: IdentifyRun) -> None:
    """Say which walks cannot be used, and why; UsageError where no other is left on a side."""
    for row in store.rejects().to_pylist():
        if row["frame"] is None:
            logger.warning(f"{row['collection']} {row['source']} is left out: {row['reason']}, {row['detail']}")
    for name, folder in ((KNOWN, settings.gallery), (UNKNOWN, settings.probe)):
        if not any(file["rows"] for file in store.files([name])):
            raise UsageError(f"none of the walks in --{name} {folder} can be used: see the reasons above")


def _lines(found: list[Candidates], known: EmbeddingTable, unknown: EmbeddingTable) -> pd.DataFrame:
    ids = known.names["sequence_id"].to_pylist()
    walks = (one.removeprefix(f"{UNKNOWN}/") for one in unknown.names["sequence_id"].to_pylist())
    return pd.DataFrame(
        [
            {
                "walk": walk.removesuffix(f"/{custom.UNNAMED}/{custom.UNNAMED}"),
                "rank": rank,
                "subject": subject,
                "distance": float(distance),
                "nearest_walk": ids[number].removeprefix(f"{KNOWN}/"),
                "strangers": one.strangers,
            }
            for walk, one in zip(walks, found, strict=True)
            for rank, (subject, distance, number) in enumerate(
                zip(one.subjects, one.distances, one.walks, strict=True), start=1
            )
        ]
    )
