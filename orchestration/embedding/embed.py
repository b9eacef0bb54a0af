"""Driver of embedding: Ray Data from shards to a table of embeddings, with a column for each method.

Actors hold the networks and read their rows from the store; each sequence is decoded once for all methods. The same
call resumes a killed one. The layout of the table is in orchestration/embedding/table.py.
"""

import dataclasses
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import torch

from datasets.contours import codec
from datasets.schema.errors import UsageError
from datasets.schema.rows import FRAME_COLUMNS, Modality
from datasets.storage import Place, open_place, thread_map
from datasets.store.files import Row, read_file
from datasets.store.reader import Store
from datasets.store.selection import held_out, of_modalities, of_subjects
from evaluation import baselines
from model.embedding import Walk
from orchestration.cluster import interrupts, memory
from orchestration.cluster.nodes import ask_nodes
from orchestration.cluster.progress import Progress
from orchestration.embedding import table as embeddings
from orchestration.embedding.gpus import Gpus, check_gpus, resolve_gpus
from orchestration.embedding.networks import networks_of, own_method, read_any
from orchestration.embedding.sequences import decode_walk, embed_walks, held_out_subjects
from orchestration.embedding.table import EmbeddingTable, Form, Part
from orchestration.run import checkpoint, lease
from orchestration.run.hardware import bf16_support
from orchestration.run.precision import Bf16Support, RequestedPrecision, resolve, resolved

logger = logging.getLogger(__name__)

Method = Literal["GEI", "GEI in strips", "hand-made statistics", "random initialisation", "pretrained", "fine-tuned"]
Split = Literal["train", "test", "none", "holdout"]
_PLACES = ("run", "shards", "out", "gpus")  # settings that change nothing in a table
_AGAIN = "fix that and run the same command again; embeddings that are written are not made again"
_LEAST_SEQUENCES = 4  # for which another actor is worth the two or three seconds that it takes to start
_MASKS: dict[Method, Callable[[np.ndarray], np.ndarray]] = {
    "GEI": baselines.gei,
    "GEI in strips": baselines.gei_strips,
    "hand-made statistics": baselines.statistics,
}


@dataclass(frozen=True, kw_only=True)
class EmbedRun:
    """Which sequences are embedded, by which networks, and into which table."""

    run: str
    """The folder that `jobs.pretrain` or `jobs.finetune` wrote; one of `--schedule.steps 0` for published weights."""
    shards: str
    """The store whose sequences are embedded."""
    out: str
    """The folder of the table: new, or of an earlier run with the same settings, which is resumed."""
    split: Split = "test"
    """Which sequences: those of a split, or of the subjects that the run held out of its training."""
    collections: tuple[str, ...] | None = None
    """The collections to embed; all in the store if none is given."""
    modalities: tuple[Modality, ...] = ("silhouette",)
    """The modalities to embed."""
    step: int | None = None
    """The step of the checkpoint; the newest if none is given."""
    methods: tuple[Method, ...] = ()
    """A column each: the run's network and its baselines; the run's network alone if none is given."""
    form: Form = "float32"
    """The storage format of embeddings: float32, or int8 with a scale for each body part."""
    precision: RequestedPrecision = "auto"
    """The precision of the encoder's matrix products. auto: bf16 if all machines have it in hardware, else fp32."""
    gpus: Gpus = "auto"
    """The number of GPUs to embed on; 0: on the CPU. auto: all that Ray has. A cluster starts those that it lacks."""

    def __post_init__(self) -> None:
        check_gpus(self.gpus)


def embed_store(settings: EmbedRun, store: Store) -> EmbeddingTable:
    """Embed the sequences of a store that the table lacks; returns the table. store: opened from `settings.shards`."""
    folder = open_place(settings.run)
    table, methods = open_place(settings.out), settings.methods or (own_method(folder),)
    settings = dataclasses.replace(settings, run=str(folder), shards=str(store), out=str(table), methods=methods)
    run, chosen = read_any(folder), checkpoint.select(folder, settings.step)
    networks_of(folder, chosen, settings.methods)  # so that mistakes are reported here, and not by actors
    subjects = None if settings.split != "holdout" else held_out_subjects(run, settings.collections)
    parts = _parts(store, settings, subjects)
    kept = f"the sequences that are embedded are in {table}"
    with lease.hold(table, "jobs.embed"), interrupts.safe(lambda: kept):
        settings = _with_precision(settings, table)
        embeddings.claim(table, _identity(settings, chosen, subjects))
        todo = embeddings.missing(table, [part for part, _ in parts])
        total = sum(count for _, count in parts)
        if todo:
            _embed(todo, settings, chosen, subjects, {part.path: count for part, count in parts}, total)
        embeddings.finish(table, [part for part, _ in parts], total)
        return embeddings.read_table(table)


def _with_precision(settings: EmbedRun, table: Place) -> EmbedRun:
    """The settings with the precision that a resumed table was begun in, or that fits the machines of a new one."""

    def ask() -> dict[str, Bf16Support]:
        return ask_nodes(bf16_support, gpu=resolve_gpus(settings.gpus) > 0)

    precision, reason = resolve(settings.precision, embeddings.recorded_precision(table), ask)
    logger.info(f"precision {precision}: {reason}")
    return dataclasses.replace(settings, precision=precision)


def _parts(store: Store, settings: EmbedRun, subjects: list[str] | None) -> list[tuple[Part, int]]:
    """The parts of the table that have rows, and their number of rows; UsageError where there are none."""
    split = "train" if subjects else settings.split
    names = settings.collections
    if subjects and names is None:
        names = tuple(sorted({one.split("/")[0] for one in subjects}))
    files = store.files(names, split)
    tables = list(thread_map(lambda file: read_file(store.place, file, ["sequence_id", "modality"]), files))
    if subjects and tables:
        held_out(pa.concat_tables(tables)["sequence_id"], subjects)
    found: list[tuple[Part, int]] = []
    for file, rows in zip(files, tables, strict=True):
        wanted = _wanted(rows, settings, subjects).to_numpy()
        parts = ((part, int(wanted[part.start : part.stop].sum())) for part in embeddings.parts_of(file))
        found += [(part, count) for part, count in parts if count]
    if not found:
        which = "" if settings.collections is None else f" of {', '.join(settings.collections)}"
        raise UsageError(
            f"{store} has no {' or '.join(settings.modalities)} sequences{which} in its {split} split: take another "
            "--split (holdout for a run that held subjects back), or ingest the whole collection"
        )
    return found


def _wanted(rows: pa.Table, settings: EmbedRun, subjects: list[str] | None) -> pa.ChunkedArray:
    """Which of the rows are embedded."""
    wanted = of_modalities(rows, settings.modalities)
    return wanted if subjects is None else pc.and_(wanted, of_subjects(rows["sequence_id"], subjects))


def _identity(settings: EmbedRun, chosen: Place, subjects: list[str] | None) -> Row:
    """What a table must agree with to be resumed: all settings but where it is made, and the weights."""
    said = {name: value for name, value in dataclasses.asdict(settings).items() if name not in _PLACES}
    said |= {"step": checkpoint.step_of(chosen), "weights": checkpoint.weights_checksum(chosen), "subjects": subjects}
    return json.loads(json.dumps({"schema_version": 1, "recipe": read_any(chosen).recipe} | said))


def _embed(
    todo: list[Part], settings: EmbedRun, chosen: Place, subjects: list[str] | None, counts: dict[str, int], total: int
) -> None:
    """Make parts, with an actor for each GPU, or for each core where there is no GPU."""
    gpus = resolve_gpus(settings.gpus)
    ray.data.DataContext.get_current().enable_progress_bars = False
    workers = gpus or max(int(ray.cluster_resources().get("CPU", 1)), 1)
    rows = sum(counts[part.path] for part in todo)
    workers = min(workers, len(todo), -(-rows // _LEAST_SEQUENCES))
    items = [{"part": json.dumps(dataclasses.asdict(part))} for part in todo]
    made = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Embedder,
        fn_constructor_args=[settings, str(chosen), subjects, gpus > 0],
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_gpus=1 if gpus else 0,
    )
    with Progress("embed", "sequences", total, total - rows) as progress:
        for row in made.iter_rows():
            if row["problem"]:
                raise UsageError(row["problem"])
            progress.advance(row["sequences"])


class Embedder:
    """A Ray actor: writes parts of the table."""

    def __init__(self, settings: EmbedRun, chosen: str, subjects: list[str] | None, gpu: bool) -> None:
        """gpu: whether Ray has given this actor a GPU; one that it merely sees may be used by others."""
        self.settings, self.subjects = settings, subjects
        self.store, self.table = open_place(settings.shards), open_place(settings.out)
        self.device = torch.device("cuda" if gpu else "cpu")
        self.chunk = read_any(open_place(chosen)).clips.frames
        networks = networks_of(open_place(settings.run), open_place(chosen), settings.methods)
        self.networks = {name: one.to(self.device) for name, one in networks.items()}
        codec.use_one_thread()
        torch.set_num_threads(1)  # Ray runs one actor for each core

    def __call__(self, parts: pa.Table) -> pa.Table:
        """The number of sequences in each part that was written, or why one could not be: another try ends so too."""
        try:
            made, problem = [self._make(Part(**json.loads(part))) for part in parts["part"].to_pylist()], ""
        except UsageError as error:
            made, problem = [0], str(error)
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            made, problem = [0], f"{self.table} cannot be written: {error.strerror or error}{where}; {_AGAIN}"
        return pa.table({"sequences": made, "problem": [problem] * len(made)})

    def _make(self, part: Part) -> int:
        """Embed the rows of a part and write them; returns their number."""
        rows = read_file(self.store, part.file, [*embeddings.NAMES, *FRAME_COLUMNS])
        rows = rows.slice(part.start, part.stop - part.start)
        rows = rows.filter(_wanted(rows, self.settings, self.subjects))
        walks = [decode_walk(row) for row in rows.to_pylist()]
        found: dict[str, np.ndarray] = {method: self._embed(method, walks) for method in self.settings.methods}
        embeddings.write_part(self.table / part.path, rows, found, self.settings.form)
        memory.release_free_memory()
        return rows.num_rows

    def _embed(self, method: Method, walks: list[Walk]) -> np.ndarray:
        if method in _MASKS:
            return np.stack([_MASKS[method](frames) for frames, _ in walks])
        network, precision = self.networks[method], resolved(self.settings.precision)
        return embed_walks(network, walks, self.chunk, self.device, precision, batch=len(walks))  # a part at once
