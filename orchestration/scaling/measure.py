"""Measuring a trained cell of a study: the loss against the bank, errors of held-out subjects, and what it took.

What is measured of a network is a function from what is examined to named values, by subject; to measure one thing
more, add a function to `MEASURES`. Runs where the cell ran.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import torch

from datasets.loading.heldout_bank import Bank, draw_bank
from datasets.schema.collection import CollectionSpec
from datasets.store.reader import Store
from datasets.store.selection import training_rows
from evaluation.retrieval.protocols import evaluate_protocol
from evaluation.retrieval.sequences import Sequences
from evaluation.scaling.by_subject import BySubject, mean_by_subject, rank1_errors
from evaluation.scaling.cells import MeasuredCell
from model import sizes
from orchestration.embedding.networks import teacher_of
from orchestration.embedding.sequences import BATCH, held_out_rows
from orchestration.run import checkpoint
from orchestration.run.folder import folder_of
from orchestration.run.settings import PretrainRun
from orchestration.scaling.context import Examined
from orchestration.scaling.plan import Cell, StudyPlan
from orchestration.scaling.probes import probe_errors


def bank_loss(held: Examined) -> dict[str, BySubject]:
    """The loss of the objective on the bank: whole clips that are not augmented, and fixed keys."""
    bank = bank_of(held.plan, held.rows, held.specs)
    predicted, keys = (np.concatenate(one) for one in zip(*_embedded(held, bank), strict=True))
    losses = held.run.objective.heldout_losses(predicted, keys, bank.walks)
    return {name: mean_by_subject(values, bank.subjects) for name, values in losses.items()}


def zero_shot(held: Examined) -> dict[str, BySubject]:
    """Rank-1 errors of each protocol on the held-out subjects, from the first frames of their sequences."""
    found: dict[str, BySubject] = {}
    for name, rows in held.rows.items():
        protocol = held.specs[name].protocol
        if protocol is not None:
            columns = (rows[column].to_pylist() for column in ("subject", "condition", "view"))
            results = evaluate_protocol(Sequences.of(held.embeddings(rows), *columns), protocol, "euc")
            found |= rank1_errors(results, name)
    return found


MEASURES: tuple[Callable[[Examined], dict[str, BySubject]], ...] = (bank_loss, zero_shot, probe_errors)


def measure(
    plan: StudyPlan, cell: Cell, since: int, seconds: float, histories: dict[str, list[tuple[int, float]]]
) -> MeasuredCell:
    """A trained cell's record.

    since: the steps that it took over from its trunk; seconds: what the others took. histories: (step, value) of
    `tokens_kept` and `flops_per_second`, as logged while it trained and, before `since`, its trunk.
    """
    run = plan.run_of(cell)
    store, threads = Store.open(run.shards), torch.get_num_threads()
    torch.set_num_threads(max(run.cluster.workers, 1))  # those that have just been at work here
    try:
        held, found = _held_out(plan, store, run), {}
        for one in MEASURES:
            found |= one(held)
    finally:
        torch.set_num_threads(threads)
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
        speed=mean_over_steps([one for one in histories["flops_per_second"] if one[0] > since]),
        measures=found,
    )


def held_rows(plan: StudyPlan, store: Store) -> tuple[dict[str, pa.Table], dict[str, CollectionSpec]]:
    """The held-out rows of each collection, and what holds of it. UsageError where somebody is not in the store."""
    names = sorted({subject.split("/")[0] for subject in plan.data.holdout})
    rows = {name: held_out_rows(store, name, plan.run_of(plan.cells()[0])) for name in names}
    return rows, store.specs(names)


def bank_of(plan: StudyPlan, rows: dict[str, pa.Table], specs: dict[str, CollectionSpec]) -> Bank:
    """The bank of a study."""
    everyone = pa.concat_tables(rows.values())
    return draw_bank(everyone, specs, plan.clips, plan.data.positives, plan.measure.keys, plan.measure.seed)


def mean_over_steps(history: list[tuple[int, float]]) -> float | None:
    """The mean of a metric over steps, each value being a mean since the one before; None where there is none."""
    if not history:
        return None
    steps, values = np.array(sorted(history)).T
    return float(np.average(values, weights=np.diff(steps, prepend=0)))


def _held_out(plan: StudyPlan, store: Store, run: PretrainRun) -> Examined:
    network = teacher_of(checkpoint.at_step(folder_of(run), run.schedule.steps))
    device = torch.device("cuda" if run.cluster.gpu and torch.cuda.is_available() else "cpu")
    return Examined(plan, store, run, network.to(device).eval(), device, *held_rows(plan, store))


@torch.inference_mode()
def _embedded(held: Examined, bank: Bank) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Predictions of the queries and projections of the keys [b, P, C], a few pairs at a time."""
    for start in range(0, len(bank.walks), BATCH):
        some = slice(start, start + BATCH)
        given = (bank.query[some], bank.query_times[some], bank.key[some], bank.key_times[some])
        query, query_times, key, key_times = (torch.from_numpy(one).to(held.device) for one in given)
        with held.precision():
            predicted = held.network.embed(held.network.pool(query, query_times)[0])
            keys = held.network.project(held.network.pool(key, key_times)[0])
        yield predicted.float().cpu().numpy(), keys.float().cpu().numpy()
