"""One rank of pretraining, from its start to its end: steps, and checkpoints; its notes go to the driver.

Every rank runs `train_rank` with the same settings; what differs is its slice of each global batch. The driver is
orchestration/pretrain.py. Science is called here and defined elsewhere.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import ray
import ray.train
import torch
import torch.distributed as dist
from ray.actor import ActorHandle
from torch import Tensor
from torch.profiler import profile

from datasets import corpus, storage
from datasets.corpus_map import write_map
from datasets.declared import declared_in
from datasets.manifest import read_manifest
from datasets.order import GlobalOrder
from datasets.pairs import PairBatch, PairLoader
from datasets.storage import Place
from model import guards
from model.objective import PartContrast
from model.reference_norm import share_statistics
from orchestration import checkpoint, collectives, engine, engine_state
from orchestration.board import Pulse
from orchestration.engine import DeepSpeedEngine
from orchestration.journal import Journal, NotFinite, matrix_flops
from orchestration.run_folder import folder_of
from orchestration.runs import PretrainRun, build
from orchestration.saver import SaveFailed, Saver

PROFILED = 3  # steps of a profile


def train_rank(config: dict[str, object]) -> None:
    """Train to the last step, from the newest checkpoint of the run where there is one.

    config: `run`, the settings as plain values; `board`, what the driver reads (orchestration/board.py); `profile`,
    whether a few steps are traced.
    """
    run, board = build(PretrainRun, config["run"]), config["board"]
    pulse = Pulse(board, dist.get_rank())
    try:
        _train(run, board, pulse, config["profile"])
    except (NotFinite, SaveFailed) as error:  # another attempt would end the same way
        ray.get(board.tell.remote("trouble", str(error)))
        raise


def _train(run: PretrainRun, board: ActorHandle, pulse: Pulse, profiled: bool) -> None:
    folder = folder_of(run)
    trained, start = _start(run, folder)
    saver = Saver(folder, run, partial(_tell, board, "saved"))
    peak = matrix_flops(trained.device, run.cluster.precision)
    journal = Journal(run, start, trained.device, peak, lambda step, found: _tell(board, "metrics", (step, found)))
    if dist.get_rank() == 0:
        board.begin.remote(dist.get_world_size())
        _tell(board, "begun", (start, dist.get_world_size()))
    with _profiler(profiled and dist.get_rank() == 0, folder) as profiler:
        pulse.at(start, "data")
        for batch in journal.timed(_loader(run).steps(start, run.schedule.steps)):
            pulse.at(batch.step, "training")
            engine.set_rate(trained, run.schedule.rate_at(batch.step))
            pairs = _pairs(batch, trained.device)
            watched = engine.train_step(trained, pairs, batch.step)
            done = batch.step + 1
            if run.schedule.guards_at(done):
                watched |= _guards(trained, pairs, batch.step)
            due = run.keep.due(done) or done == run.schedule.steps
            journal.note(done, watched, batch, at_once=due)
            if due or saver.failed:
                pulse.at(batch.step, "checkpoint")
                _save(saver, trained, done)
            if profiler is not None:
                profiler.step()
            pulse.at(done, "data")
    pulse.at(run.schedule.steps, "checkpoint")
    saver.finish()
    # Calls are taken in order: nothing that was told is lost with this process.
    ray.get(board.beat.remote(dist.get_rank(), run.schedule.steps, "checkpoint"))


def _tell(board: ActorHandle, kind: str, content: object) -> None:
    board.tell.remote(kind, content)


def _start(run: PretrainRun, folder: Place) -> tuple[DeepSpeedEngine, int]:
    """The engine, with the state of the newest whole checkpoint, and the steps that it has behind it."""
    torch.manual_seed(run.seed)
    module = PartContrast(run.network, run.contrast)
    share_statistics(module, collectives.total)
    newest = _agreed(folder)
    if newest is not None:
        checkpoint.load_weights(newest, module)
    trained = engine.start_engine(run, module)
    start = checkpoint.step_of(newest) if newest is not None else 0
    if start:  # before the first step there are weights to start from, and no moments
        engine_state.restore_moments(trained, checkpoint.load_moments(newest), start)
    return trained, start


def _agreed(folder: Place) -> Place | None:
    """The newest whole checkpoint as rank 0 finds it, which also clears away what was left half-written."""
    found: list[int | None] = [None]
    if dist.get_rank() == 0:
        checkpoint.discard_unfinished(folder)
        newest = checkpoint.newest_whole(folder)
        found = [None if newest is None else checkpoint.step_of(newest)]
    dist.broadcast_object_list(found)
    return None if found[0] is None else checkpoint.chosen(folder, found[0])


def _pairs(batch: PairBatch, device: torch.device) -> list[Tensor]:
    """Query, its times, key, its times, and the recorded walk of each pair."""
    arrays = (batch.query, batch.query_times, batch.key, batch.key_times, batch.walks)
    return [torch.from_numpy(array).to(device, non_blocking=True) for array in arrays]


def _guards(trained: DeepSpeedEngine, pairs: list[Tensor], step: int) -> dict[str, Tensor]:
    """The guards on as many pairs as go through the network at once."""
    some = [one[: trained.train_micro_batch_size_per_gpu()] for one in pairs]
    return guards.watch(trained.module.teacher, *some, seed=step)


def _loader(run: PretrainRun) -> PairLoader:
    """The pairs of this rank, from one memory-mapped copy of the contours a node."""
    context = ray.train.get_context()
    store = storage.at(run.shards)
    manifest = read_manifest(store)
    specs = {name: declared_in(manifest, name) for name in run.data.collections or manifest["collections"]}
    folder = None
    if context.get_local_rank() == 0:
        folder = Path(tempfile.mkdtemp(prefix="foundationgait-"))
        data = run.data
        tables = corpus.training_tables(
            store, data.collections, data.holdout, modalities=data.modalities, unique=data.unique
        )
        write_map(tables, specs, folder)
    everyone: list[tuple[int, Path | None]] = [(0, None)] * context.get_world_size()
    dist.all_gather_object(everyone, (context.get_node_rank(), folder))
    (mapped,) = (one for node, one in everyone if node == context.get_node_rank() and one is not None)
    sequences = corpus.Corpus(mapped)
    dist.barrier()
    if folder is not None:
        shutil.rmtree(folder)  # the mappings live on; nothing is left behind, however the run ends
    discounts = {name: spec.sampling_discount for name, spec in specs.items()}
    order = GlobalOrder(sequences.sizes(), discounts, run.schedule.batch, run.seed, run.data.mixing)
    rank, ranks = context.get_world_rank(), context.get_world_size()
    return PairLoader(sequences, order, run.clips, run.schedule.batch, run.seed, rank, ranks, run.data.positives)


def _save(saver: Saver, trained: DeepSpeedEngine, step: int) -> None:
    """Copy the state of all ranks, and let rank 0 write it."""
    weights, moments = engine_state.weights_of(trained), engine_state.moments_of(trained)
    if dist.get_rank() == 0:
        saver.save(step, weights, moments)


@contextmanager
def _profiler(wanted: bool, folder: Place) -> Iterator[profile | None]:
    """Torch's profiler over a few steps once the run is warm; the trace goes into the run's folder."""
    if not wanted:
        yield None
        return

    def keep(profiler: profile) -> None:
        with tempfile.TemporaryDirectory() as made:
            file = Path(made) / "trace.json"
            profiler.export_chrome_trace(str(file))
            (folder / "profile/trace.json").adopt(file)

    schedule = torch.profiler.schedule(wait=3, warmup=1, active=PROFILED, repeat=1)
    with torch.profiler.profile(schedule=schedule, on_trace_ready=keep) as profiler:
        yield profiler
