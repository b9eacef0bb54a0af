"""What a study will take, before it is run: each cell with its parameters, tokens, work, steps and expected time.

Times come from the speed of finished cells, or from a training step of the smallest size on this machine's own cores;
larger sizes make better use of them. An estimate, and said to be one.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from datasets.store.reader import Store
from datasets.store.selection import training_rows
from evaluation.scaling.panels import short
from evaluation.text_table import plain_table
from model import sizes
from model.network import NetworkSettings
from model.tokens import num_tubelets
from orchestration.scaling.measure import bank_of, held_rows
from orchestration.scaling.plan import Cell, StudyPlan
from orchestration.scaling.probes import check_probes

START = 20.0  # seconds until the workers of a cell are at work, and until they are gone
_PAIRS = 16  # of the step that is timed


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A cell before it is run. since: the steps that it takes over from its trunk; tokens: of all clips it sees.

    seconds: on its own, None where there is nothing to tell it from. done: whether it is measured already.
    """

    cell: Cell
    parameters: int
    encoder: int
    heads: int
    tokens: int
    flop: float
    unique: int
    epochs: float
    batch: int
    since: int
    seconds: float | None
    done: bool


def estimate(plan: StudyPlan, store: Store, done: set[str], speeds: Mapping[str, float]) -> list[Expected]:
    """Every cell. done: the names of those that are measured; speeds: FLOP a second of a cell, by size."""
    rows, _ = held_rows(plan, store)
    sequences = sum(one.num_rows for one in rows.values()) + check_probes(plan, store)
    found, selection = [], plan.data.selection
    uniques = {
        one: training_rows(store, replace(selection, unique=one), ["sequence_id"]).num_rows
        for one in {cell.unique for cell in plan.cells()}
    }
    measured = None if speeds or plan.cluster.gpu else plan.cluster.workers * speed_here(plan, store)
    for cell in plan.cells():
        since = 0 if cell == plan.trunk_of(cell) else plan.run_of(cell).schedule.branch
        cost, seen = sizes.cost(cell.size, plan.channels), cell.steps * plan.schedule.batch
        speed = speeds.get(cell.size) or measured or (max(speeds.values()) if speeds else None)
        work = plan.flop_of(cell, since=since) + _measuring(plan, cell.size, sequences)
        found.append(
            Expected(
                cell=cell,
                parameters=sizes.parameters_of(cell.size),
                encoder=cost.encoder,
                heads=cost.heads,
                tokens=0 if cost.tokens is None else round(2 * seen * sizes.KEPT * num_tubelets(plan.clips.frames)),
                flop=plan.flop_of(cell),
                unique=uniques[cell.unique],
                epochs=seen / uniques[cell.unique],
                batch=plan.schedule.batch,
                since=since,
                seconds=None if speed is None else START + work / speed,
                done=cell.name in done,
            )
        )
    return found


def speed_here(plan: StudyPlan, store: Store) -> float:
    """FLOP a second of one core in training the smallest size, on clips of the bank; precision as the study's."""
    size = min(plan.sizes, key=lambda one: plan.flop_of(Cell(size=one, unique=None, seed=0, steps=1)))
    bank = bank_of(plan, *held_rows(plan, store))
    pairs = [torch.from_numpy(one[:_PAIRS]) for one in (bank.query, bank.query_times, bank.key, bank.key_times)]
    module = plan.objective.build(NetworkSettings(size=size, channels=plan.channels))
    threads, best = torch.get_num_threads(), float("inf")
    torch.set_num_threads(1)
    for _ in range(3):
        began = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=plan.cluster.precision == "bf16"):
            loss = module(*(one.repeat(-(-_PAIRS // len(one)), *[1] * (one.ndim - 1))[:_PAIRS] for one in pairs))
        loss["loss"].backward()
        best = min(best, time.perf_counter() - began)
    torch.set_num_threads(threads)
    return _PAIRS * module.flops(0, plan.clips.frames, sizes.KEPT) / best


def render(plan: StudyPlan, cells: list[Expected], at_once: int) -> str:
    """The cells as a table for the terminal, and the time of all of them."""
    names = ["cell", "params", "encoder", "heads", "unique", "epochs", "steps", "batch", "tokens", "FLOP", "from"]
    rows = [[*names, "time"]]
    for one in cells:
        figures = [one.cell.name, short(one.parameters), short(one.encoder), short(one.heads), f"{one.unique}"]
        figures += [f"{one.epochs:.3g}", f"{one.cell.steps}", f"{one.batch}", short(one.tokens), f"{one.flop:.2g}"]
        rows.append([*figures, f"{one.since}", "done" if one.done else duration(one.seconds)])
    lines = [plain_table(rows)]
    lines += [f"{name} is left out: {why}" for name, why in plan.left_out().items()]
    left = [one for one in cells if not one.done]
    total = sum(one.flop if not one.since else plan.flop_of(one.cell, since=one.since) for one in left)
    known = [one.seconds for one in left if one.seconds is not None]
    wait = None if len(known) < len(left) else max([sum(known) / at_once, *known, 0.0])
    lines.append(
        f"{len(left)} of {len(cells)} cells to run, {total:.2g} FLOP, {at_once} at once: about {duration(wait)} "
        "(an estimate: machines differ, and so do sizes)"
    )
    return "\n".join(lines)


def duration(seconds: float | None) -> str:
    """Seconds in words; a dash where they are not known."""
    if seconds is None:
        return "-"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _measuring(plan: StudyPlan, size: str, sequences: int) -> float:
    """FLOP of measuring a cell: forward passes over the held-out sequences and over the bank."""
    chunks = -(-plan.measure.frames // plan.clips.frames)
    forward = sizes.clip_flops(size, plan.clips.frames, sizes.KEPT)
    return forward * (sequences * chunks + 2 * plan.measure.keys)
