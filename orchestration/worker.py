"""One rank of pretraining, from its start to its end: steps, metrics, checkpoints.

Every rank runs `train_rank` with the same settings; what differs is its slice of each global batch. The driver is
orchestration/pretrain.py. Science is called here and defined elsewhere.
"""

import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import ray.train
import torch
import torch.distributed as dist
from ray.util.queue import Queue
from torch import Tensor

from datasets import corpus, storage
from datasets.corpus_map import write_map
from datasets.declared import declared_in
from datasets.manifest import read_manifest
from datasets.order import GlobalOrder
from datasets.pairs import PairBatch, PairLoader
from model import guards
from model.objective import PartContrast
from model.reference_norm import share_statistics
from orchestration import checkpoint, collectives, engine
from orchestration.engine import DeepSpeedEngine
from orchestration.runs import PretrainRun, build
from orchestration.tracking import Tracker


def train_rank(config: dict[str, object]) -> None:
    """Train to the last step, from the newest checkpoint of the run where there is one.

    config: `run`, the settings as plain values; `tracking`, the arguments of the Tracker that rank 0 writes to;
    `progress`, a queue to the driver's terminal.
    """
    run = build(PretrainRun, config["run"])
    folder = Path(run.out)
    torch.manual_seed(run.seed)
    module = PartContrast(run.network, run.contrast)
    share_statistics(module, collectives.total)
    resumed = checkpoint.latest(folder)
    if resumed:
        checkpoint.load_weights(resumed, module)
    trained = engine.start_engine(run, module)
    start = 0
    if resumed:
        start = checkpoint.step_of(resumed)
    if start:  # before the first step there are weights to start from, and no moments
        engine.restore_optimizer(trained, checkpoint.load_optimizer(resumed), start)
    loader = _loader(run)
    journal = Journal(run, Tracker(*config["tracking"]), config["progress"], start)
    for batch in loader.steps(start, run.schedule.steps):
        engine.set_rate(trained, run.schedule.rate_at(batch.step))
        done = batch.step + 1
        pairs = _pairs(batch, trained.device)
        watched = _step(trained, pairs, batch.step)
        if run.schedule.guards_at(done):
            watched |= guards.watch(trained.module.teacher, *pairs, seed=batch.step)
        journal.note(done, watched, batch)
        if done % run.schedule.checkpoint_every == 0 or done == run.schedule.steps:
            _save(folder, run, trained, done)
            journal.write()
            ray.train.report({"step": done})


def _pairs(batch: PairBatch, device: torch.device) -> list[Tensor]:
    """Query, its times, key, its times, and the recorded walk of each pair."""
    arrays = (batch.query, batch.query_times, batch.key, batch.key_times, batch.walks)
    return [torch.from_numpy(array).to(device, non_blocking=True) for array in arrays]


def _step(trained: DeepSpeedEngine, pairs: list[Tensor], step: int) -> dict[str, Tensor]:
    """One optimizer step and one of the teacher; what is watched, of this rank."""
    watched = trained(*pairs, step=step, gather=collectives.gather)
    trained.backward(watched["loss"])
    trained.step()
    trained.module.update_teacher()
    return {name: value.detach().float() for name, value in watched.items()}


def _loader(run: PretrainRun) -> PairLoader:
    """The pairs of this rank, from one memory-mapped copy of the contours a node."""
    context = ray.train.get_context()
    store = storage.at(run.shards)
    manifest = read_manifest(store)
    specs = {name: declared_in(manifest, name) for name in run.data.collections or manifest["collections"]}
    folder = None
    if context.get_local_rank() == 0:
        folder = Path(tempfile.mkdtemp(prefix="foundationgait-"))
        write_map(corpus.training_tables(store, run.data.collections, run.data.holdout), specs, folder)
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


def _save(folder: Path, run: PretrainRun, trained: DeepSpeedEngine, step: int) -> None:
    moments = engine.optimizer_state(trained)  # gathered from all ranks
    if dist.get_rank() == 0:
        checkpoint.save(folder, run, step, trained.module.state_dict(), moments)
    dist.barrier()  # no rank reports a checkpoint that is not there yet


@dataclass
class Journal:
    """Metrics between two writes: averaged over steps and ranks, shown and tracked by rank 0."""

    run: PretrainRun
    tracker: Tracker
    progress: Queue
    start: int
    _watched: list[dict[str, Tensor]] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)

    def note(self, step: int, watched: dict[str, Tensor], batch: PairBatch) -> None:
        """Keep what was watched at a step, and write when it is time. Every rank must call it."""
        self._watched.append(watched)
        if step == self.start + 1 or step % self.run.schedule.log_every == 0 or step == self.run.schedule.steps:
            self._report(step, batch)

    def _report(self, step: int, batch: PairBatch) -> None:
        names = sorted({name for one in self._watched for name in one})  # guards are not watched at every step
        seen = [torch.stack([one[name] for one in self._watched if name in one]).mean() for name in names]
        means = collectives.total(torch.stack(seen))
        count, seconds = len(self._watched), time.monotonic() - self._since
        self._watched, self._since = [], time.monotonic()
        if dist.get_rank() != 0:
            return
        metrics = dict(zip(names, (means / dist.get_world_size()).tolist(), strict=True))
        metrics["pairs_per_second"] = count * self.run.schedule.batch / seconds
        metrics["rate"] = self.run.schedule.rate_at(step - 1)
        metrics["epoch"] = batch.epoch
        self.tracker.log(step, metrics)
        shown = {"loss": f"{metrics['loss']:.3f}", "pairs/s": f"{metrics['pairs_per_second']:.0f}"}
        self.progress.put((step, shown))

    def write(self) -> None:
        """Hand the metrics to MLflow, at checkpoints: what it holds is never ahead of what a resumed run repeats."""
        if dist.get_rank() == 0:
            self.tracker.flush()
