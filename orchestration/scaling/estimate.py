"""Estimates the cost of a study before it is run: parameters, tokens, FLOP, steps and time of each cell.

Times come from the speed of finished cells, or else from a timed training step of the smallest size on one core, which
overestimates the time of larger sizes: they use a core better.
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
from orchestration.embedding.sequences import autocast
from orchestration.run.precision import resolved
from orchestration.scaling.examined import HeldOut, read_held_out
from orchestration.scaling.plan import Cell, StudyPlan
from orchestration.scaling.probes import check_probes

_START_SECONDS = 2.0  # of starting, recording and measuring a cell in a worker that stays
_PAIRS = 16  # in the timed step


@dataclass(frozen=True, kw_only=True)
class CellEstimate:
    """The cost of a cell.

    Attributes:
        tokens: of all clips that the training sees.
        branch_step: the steps that it shares with its trunk.
        seconds: alone on its workers; None if no speed is known.
        done: whether it is measured already.
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
    branch_step: int
    seconds: float | None
    done: bool


def estimate(plan: StudyPlan, store: Store, done: set[str], speeds: Mapping[str, float]) -> list[CellEstimate]:
    """The cost of every cell. done: names of measured cells; speeds: their FLOP per second, by size."""
    held_out = read_held_out(plan)
    sequences = sum(rows.num_rows for rows in held_out.rows.values()) + check_probes(plan, store)
    found, selection = [], plan.data.selection
    uniques = {
        one: training_rows(store, replace(selection, unique=one), ["sequence_id"]).num_rows
        for one in {cell.unique for cell in plan.cells()}
    }
    timed = None if speeds or plan.cluster.gpu else plan.cluster.workers * core_speed(plan, held_out)
    for cell in plan.cells():
        branch_step = 0 if cell == plan.trunk_of(cell) else plan.run_of(cell).schedule.branch
        cost, seen = sizes.cost(cell.size, plan.channels), cell.steps * plan.schedule.batch
        speed = speeds.get(cell.size) or timed or (max(speeds.values()) if speeds else None)
        work = plan.flop_of(cell, start=branch_step) + _measuring_flop(plan, cell.size, sequences)
        found.append(
            CellEstimate(
                cell=cell,
                parameters=sizes.parameters_of(cell.size),
                encoder=cost.encoder,
                heads=cost.heads,
                tokens=0 if cost.tokens is None else round(2 * seen * sizes.KEPT * num_tubelets(plan.clips.frames)),
                flop=plan.flop_of(cell),
                unique=uniques[cell.unique],
                epochs=seen / uniques[cell.unique],
                batch=plan.schedule.batch,
                branch_step=branch_step,
                seconds=None if speed is None else _START_SECONDS + work / speed,
                done=cell.name in done,
            )
        )
    return found


def core_speed(plan: StudyPlan, held_out: HeldOut) -> float:
    """FLOP per second of one core of this machine in a training step of the smallest size on held-out clips."""
    size = min(plan.sizes, key=lambda one: plan.flop_of(Cell(size=one, unique=None, seed=0, steps=1)))
    pairs = held_out.pairs
    clips = (pairs.query, pairs.query_times, pairs.key, pairs.key_times)
    batch = [torch.from_numpy(one[:_PAIRS]) for one in clips]
    module = plan.objective.build(NetworkSettings(size=size, channels=plan.channels))
    threads, best = torch.get_num_threads(), float("inf")
    torch.set_num_threads(1)
    for _ in range(3):
        began = time.perf_counter()
        with autocast(torch.device("cpu"), resolved(plan.cluster.precision)):
            loss = module(*(one.repeat(-(-_PAIRS // len(one)), *[1] * (one.ndim - 1))[:_PAIRS] for one in batch))
        loss["loss"].backward()
        best = min(best, time.perf_counter() - began)
    torch.set_num_threads(threads)
    return _PAIRS * module.flops(0, plan.clips.frames, sizes.KEPT) / best


def render(plan: StudyPlan, cells: list[CellEstimate], at_once: int) -> str:
    """The cells as a table for the terminal, and the time of the whole study with `at_once` cells in parallel."""
    names = ["cell", "params", "encoder", "heads", "unique", "epochs", "steps", "batch", "tokens", "FLOP", "from"]
    rows = [[*names, "time"]]
    for one in cells:
        figures = [one.cell.name, short(one.parameters), short(one.encoder), short(one.heads), f"{one.unique}"]
        figures += [f"{one.epochs:.3g}", f"{one.cell.steps}", f"{one.batch}", short(one.tokens), f"{one.flop:.2g}"]
        rows.append([*figures, f"{one.branch_step}", "done" if one.done else duration(one.seconds)])
    lines = [plain_table(rows)]
    lines += [f"{name} is left out: {reason}" for name, reason in plan.left_out().items()]
    missing = [one for one in cells if not one.done]
    total = sum(plan.flop_of(one.cell, start=one.branch_step) for one in missing)
    known = [one.seconds for one in missing if one.seconds is not None]
    wait = None if len(known) < len(missing) else max([sum(known) / at_once, *known, 0.0])
    lines.append(
        f"{len(missing)} of {len(cells)} cells to run, {total:.2g} FLOP, {at_once} at once: about {duration(wait)} "
        "(an estimate: speeds differ between machines and sizes)"
    )
    return "\n".join(lines)


def duration(seconds: float | None) -> str:
    """Seconds in words; a dash for None."""
    if seconds is None:
        return "-"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _measuring_flop(plan: StudyPlan, size: str, sequences: int) -> float:
    """FLOP of measuring a cell: forward passes over the held-out sequences and pairs."""
    chunks = -(-plan.measure.frames // plan.clips.frames)
    forward = sizes.clip_flops(size, plan.clips.frames, sizes.KEPT)
    return forward * (sequences * chunks + 2 * plan.measure.keys)
