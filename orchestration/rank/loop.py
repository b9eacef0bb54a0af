"""The training loop of a rank: steps, checkpoints, and reports to the driver.

Every rank runs `train_rank` with the same settings; it differs in its slice of each global batch alone. Its work
(orchestration/rank/work.py) says what is trained on which data. The driver is orchestration/training/train.py.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
import torch
import torch.distributed as dist
from ray.actor import ActorHandle
from torch import nn
from torch.profiler import profile

from datasets.storage import Place
from model.p3d.norm import synchronise_norms
from orchestration.cluster import memory
from orchestration.rank import collectives, engine, optimizer_state
from orchestration.rank.checkpoint_writer import CheckpointWriter, SaveFailed
from orchestration.rank.engine import DeepSpeedEngine
from orchestration.rank.metrics import MetricsLogger, NotFinite, matrix_flops
from orchestration.rank.status import CheckpointDamaged, HeartbeatThread, TrainingFailed, TrainingStarted
from orchestration.rank.work import Work
from orchestration.run import checkpoint
from orchestration.run import folder as run_folder
from orchestration.run.folder import folder_of
from orchestration.run.hardware import bf16_support
from orchestration.run.precision import Precision, resolve
from orchestration.run.settings import Run

PROFILED = 3  # steps of a profile


def train_rank(work: Work, status: ActorHandle, profiled: bool) -> None:
    """Train to the last step, from the newest checkpoint of the run where there is one.

    status: the status actor (orchestration/rank/status.py). profiled: whether a few steps are traced.
    """
    with HeartbeatThread(status, dist.get_rank()) as heartbeat:
        try:
            _train(work, status, heartbeat, profiled)
        except (NotFinite, SaveFailed) as error:  # another attempt would end the same way
            ray.get(status.report.remote(TrainingFailed(str(error))))
            raise


def _train(work: Work, status: ActorHandle, heartbeat: HeartbeatThread, profiled: bool) -> None:
    folder = folder_of(work.run)
    precision, reason = _resolve_precision(work.run, folder)
    run = run_folder.with_precision(work.run, precision)
    trained, start = _start(work, run, folder, status)
    writer = CheckpointWriter(folder, run, status.report.remote)
    peak = matrix_flops(trained.device, precision)
    # The logger counts completed steps, of which the last has the number before.
    flops = lambda done, kept: trained.module.flops(done - 1, run.clips.frames, kept)  # noqa: E731
    logger = MetricsLogger(run, start, trained.device, peak, flops, status.report.remote)
    if dist.get_rank() == 0:
        status.set_world_size.remote(dist.get_world_size())
        status.report.remote(TrainingStarted(start, dist.get_world_size(), precision, reason))
    with _profiler(profiled and dist.get_rank() == 0, folder) as profiler:
        heartbeat.update(start, "data")
        for batch in logger.timed(work.batches(start)):
            heartbeat.update(batch.step, "training")
            engine.set_lr(trained, run.schedule.lr_at(batch.step))
            tensors = trained.module.tensors(batch, trained.device)
            metrics = engine.train_step(trained, tensors, batch.step)
            done = batch.step + 1
            if run.schedule.guards_at(done):
                some = [one[: trained.train_micro_batch_size_per_gpu()] for one in tensors]  # as many as fit at once
                with engine.engine_precision(trained):
                    metrics |= trained.module.guards(some, batch.step)
            due = run.keep.due(done) or done == run.schedule.steps
            logger.record(done, metrics, batch, report_now=due)
            if due or writer.failed:
                heartbeat.update(batch.step, "checkpoint")
                _save(writer, trained, done)
            if done % memory.EVERY == 0:
                memory.release_free_memory()
            if profiler is not None:
                profiler.step()
            heartbeat.update(done, "data")
    heartbeat.update(run.schedule.steps, "checkpoint")
    writer.finish()
    dist.barrier()  # a rank that stopped its heartbeats while another one still writes would be taken for dead
    # An actor takes calls in order: once this one is answered, no report can be lost with this process.
    ray.get(status.heartbeat.remote(dist.get_rank(), run.schedule.steps, "checkpoint"))


def _resolve_precision(run: Run, folder: Place) -> tuple[Precision, str]:
    """The precision of the run, the same on all ranks, and the reason for it; rank 0 records it in the run's folder.

    The record decides after a restart, when workers may be on other machines: their settings still have `auto`.
    """
    if run.cluster.gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # as DeepSpeed will: NCCL refuses two ranks on one GPU
    mine = bf16_support(run.cluster.gpu)
    everyone = [mine] * dist.get_world_size()
    dist.all_gather_object(everyone, mine)
    support = {f"rank {rank}": one for rank, one in enumerate(everyone)}
    found: list[tuple[Precision, str]] = [("fp32", "")]  # until rank 0 has sent what it found
    if dist.get_rank() == 0:
        found = [resolve(run.cluster.precision, run_folder.recorded_precision(folder), lambda: support)]
        run_folder.record_precision(folder, found[0][0])
    dist.broadcast_object_list(found)
    return found[0]


def _start(work: Work, run: Run, folder: Place, status: ActorHandle) -> tuple[DeepSpeedEngine, int]:
    """The engine in the state of the newest intact checkpoint, and the number of completed steps."""
    torch.manual_seed(run.seed)
    module = work.objective()
    assert isinstance(module, nn.Module)
    synchronise_norms(module, collectives.all_reduce)
    newest = _newest_checkpoint(folder, status)
    if newest is not None:
        if dist.get_rank() == 0:  # it alone reads: storage that many ranks read at once is slow
            checkpoint.load_weights(newest, module)
        optimizer_state.share_weights(module, _device(run))
    trained = engine.start_engine(run, module)
    if newest is None:
        return trained, 0
    start = checkpoint.step_of(newest)
    if start:  # the checkpoint of step 0 holds pretrained or published weights and no moments
        moments = checkpoint.load_moments(newest) if dist.get_rank() == 0 else {}
        optimizer_state.restore_moments(trained, moments, start)
    return trained, start


def _device(run: Run) -> torch.device:
    """Where this rank trains, and communicates."""
    return torch.device("cuda", torch.cuda.current_device()) if run.cluster.gpu else torch.device("cpu")


def _newest_checkpoint(folder: Place, status: ActorHandle) -> Place | None:
    """The newest intact checkpoint as rank 0 finds it, which also deletes those that a kill left unfinished.

    One rank looks and tells the others: a file that becomes readable between two looks would let ranks disagree.
    """
    found: list[int | None] = [None]
    if dist.get_rank() == 0:
        checkpoint.discard_unfinished(folder)
        # Ray keeps what ranks print in log files that nobody reads: damage is reported to the driver's terminal.
        newest = checkpoint.newest_intact(folder, lambda line: status.report.remote(CheckpointDamaged(line)))
        found = [None if newest is None else checkpoint.step_of(newest)]
    dist.broadcast_object_list(found)
    return None if found[0] is None else checkpoint.at_step(folder, found[0])


def _save(writer: CheckpointWriter, trained: DeepSpeedEngine, step: int) -> None:
    """Copy the state of all ranks, and let rank 0 write it."""
    weights, moments = optimizer_state.gather_weights(trained), optimizer_state.gather_moments(trained)
    if dist.get_rank() == 0:
        writer.save(step, weights, moments)


@contextmanager
def _profiler(wanted: bool, folder: Place) -> Iterator[profile | None]:
    """torch.profiler over a few steps after a warm-up; the trace is written into the run's folder."""
    if not wanted:
        yield None
        return

    def keep(profiler: profile) -> None:
        with tempfile.TemporaryDirectory() as made:
            file = Path(made) / "trace.json"
            profiler.export_chrome_trace(str(file))
            (folder / "profile/trace.json").move_from(file)

    schedule = torch.profiler.schedule(wait=3, warmup=1, active=PROFILED, repeat=1)
    with torch.profiler.profile(schedule=schedule, on_trace_ready=keep) as profiler:
        yield profiler
