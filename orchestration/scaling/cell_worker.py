"""A worker of a study: an actor of Ray that stays, and trains and measures one cell after another as its only rank.

What takes longer than a small cell is done once: to start the process, to import torch and DeepSpeed, to map the
sequences, and to read the held-out ones. It runs the same loop as a rank of Ray Train, and must not import MLflow.
"""

import gc
from collections.abc import Mapping
from typing import Any

from orchestration.cluster.memory import release_free_memory
from orchestration.rank.entry import import_loop
from orchestration.rank.group import form_group_of_one
from orchestration.rank.work import Rank
from orchestration.run.serialise import build
from orchestration.scaling.examined import HeldOut, read_held_out
from orchestration.scaling.measure import History, measure
from orchestration.scaling.plan import Cell, StudyPlan


class CellWorker:
    """Runs in a Ray actor. After a cell that failed, the driver replaces it."""

    def __init__(self, plan: dict[str, Any]) -> None:
        """plan: the study's, as plain values."""
        self._plan = build(StudyPlan, plan)
        self._held_out: HeldOut | None = None
        gpu = self._plan.cluster.gpu
        form_group_of_one("nccl" if gpu else "gloo")
        import_loop(gpu)

    def train(self, rank: Rank, config: dict[str, object]) -> None:
        """Train a cell as a rank does. config: as for a rank of Ray Train."""
        rank(config)
        gc.collect()  # DeepSpeed's engine is full of cycles
        release_free_memory()

    def measure(self, cell: dict[str, Any], branch_step: int, seconds: float, histories: Mapping[str, History]) -> str:
        """The record of a trained cell as JSON (orchestration/scaling/measure.py)."""
        self._held_out = self._held_out or read_held_out(self._plan)
        return measure(self._plan, Cell(**cell), self._held_out, branch_step, seconds, histories).to_json()
