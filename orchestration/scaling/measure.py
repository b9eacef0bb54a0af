"""Measures a trained cell of a study where it was trained: held-out loss, errors of held-out subjects, and cost.

A measure is a function from the examined cell to named values by subject. To add one, append it to `MEASURES`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch

from datasets.loading.heldout_bank import Bank
from datasets.store.reader import Store
from datasets.store.selection import training_rows
from evaluation.retrieval.protocols import evaluate_protocol
from evaluation.retrieval.sequences import Sequences
from evaluation.scaling.by_subject import BySubject, mean_by_subject, rank1_errors
from evaluation.scaling.cells import MeasuredCell
from model import sizes
from orchestration.embedding.networks import teacher_of
from orchestration.embedding.sequences import BATCH
from orchestration.run import checkpoint
from orchestration.run.folder import folder_of
from orchestration.run.settings import PretrainRun
from orchestration.scaling.examined import Examined, HeldOut
from orchestration.scaling.plan import Cell, StudyPlan
from orchestration.scaling.probes import probe_errors

History = Sequence[tuple[int, float]]  # (step, value) of a metric


def held_out_loss(examined: Examined) -> dict[str, BySubject]:
    """The loss of the objective on pairs of held-out clips, which are not augmented and the same for every cell."""
    pairs = examined.held_out.pairs
    predictions, keys = (np.concatenate(one) for one in zip(*_embedded(examined, pairs), strict=True))
    losses = examined.run.objective.heldout_losses(predictions, keys, pairs.walks)
    return {name: mean_by_subject(values, pairs.subjects) for name, values in losses.items()}


def zero_shot_errors(examined: Examined) -> dict[str, BySubject]:
    """Rank-1 errors of the held-out subjects by the protocol of each collection."""
    found: dict[str, BySubject] = {}
    for name, rows in examined.held_out.rows.items():
        protocol = examined.held_out.specs[name].protocol
        if protocol is not None:
            columns = (rows[column].to_pylist() for column in ("subject", "condition", "view"))
            sequences = Sequences.of(examined.embeddings(rows), *columns)
            found |= rank1_errors(evaluate_protocol(sequences, protocol, "euc"), name)
    return found


MEASURES: tuple[Callable[[Examined], dict[str, BySubject]], ...] = (held_out_loss, zero_shot_errors, probe_errors)


def measure(
    plan: StudyPlan,
    cell: Cell,
    held_out: HeldOut,
    branch_step: int,
    seconds: float,
    histories: Mapping[str, History],
) -> MeasuredCell:
    """The record of a trained cell.

    Args:
        plan, cell: the study and its cell.
        held_out: what all its cells are measured on.
        branch_step: the steps that the cell shares with its trunk.
        seconds: what the other steps took.
        histories: of `tokens_kept` and `flops_per_second`; up to `branch_step` those of the trunk.
    """
    run = plan.run_of(cell)
    store = Store.open(run.shards)
    measures = _measures(plan, store, run, held_out)
    cost = sizes.cost(cell.size, plan.channels)
    kept = mean_over_steps(histories["tokens_kept"])
    seen = cell.steps * plan.schedule.batch
    unique = training_rows(store, run.data.selection, ["sequence_id"]).num_rows
    return MeasuredCell(
        name=cell.name,
        trunk=cell.trunk,
        size=cell.size,
        seed=cell.seed,
        steps=cell.steps,
        batch=plan.schedule.batch,
        parameters=sizes.parameters_of(cell.size),
        encoder=cost.encoder,
        heads=cost.heads,
        unique=unique,
        seen=seen,
        epochs=seen / unique,
        kept=kept,
        flop=plan.flop_of(cell, sizes.KEPT if kept is None else kept),
        seconds=seconds,
        speed=mean_over_steps([one for one in histories["flops_per_second"] if one[0] > branch_step]),
        measures=measures,
    )


def mean_over_steps(history: History) -> float | None:
    """The mean over steps of a metric whose values are means since the one before; None without values."""
    if not history:
        return None
    steps, values = np.array(sorted(history)).T
    return float(np.average(values, weights=np.diff(steps, prepend=0)))


def _measures(plan: StudyPlan, store: Store, run: PretrainRun, held_out: HeldOut) -> dict[str, BySubject]:
    network = teacher_of(checkpoint.at_step(folder_of(run), run.schedule.steps))
    device = torch.device("cuda" if run.cluster.gpu and torch.cuda.is_available() else "cpu")
    examined = Examined(plan, store, run, network.to(device).eval(), device, held_out)
    found: dict[str, BySubject] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(max(run.cluster.workers, 1))  # the cores that its workers had; others are other cells'
    try:
        for one in MEASURES:
            found |= one(examined)
    finally:
        torch.set_num_threads(threads)
    return found


@torch.inference_mode()
def _embedded(examined: Examined, pairs: Bank) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Predictions of the queries and projections of the keys, [b, P, C] each, in batches."""
    network = examined.network
    for start in range(0, len(pairs.walks), BATCH):
        some = slice(start, start + BATCH)
        given = (pairs.query[some], pairs.query_times[some], pairs.key[some], pairs.key_times[some])
        query, query_times, key, key_times = map(torch.from_numpy, given)
        with examined.autocast():
            predictions = network.embed(network.pool(query, query_times)[0])
            keys = network.project(network.pool(key, key_times)[0])
        yield predictions.float().cpu().numpy(), keys.float().cpu().numpy()
