"""Objectives on pairs of clips of one person: what all objectives of pretraining have in common.

The student embeds the query clip, cut into strips, and predicts projections of the whole key clip: the teacher's, or
the student's own where the settings say so. An objective defines how predictions and projections are compared: it
derives its settings from `PairSettings` and its module from `PairObjective`.

Part-aware training is that of FoundationGait (arXiv 2512.00691): a quarter of the batch is cut into 8 strips, a quarter
into 4, a quarter into 2, and the last is left whole; half of each cut quarter, on a grid shifted by half a strip.

Shapes: B pairs of this rank, P = 31 parts, C channels.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from datasets.schema.errors import UsageError
from model import sizes, transfer
from model.device import send
from model.encoder import ContourEncoder
from model.network import GaitNetwork, NetworkSettings
from model.objectives import guards, teacher
from model.objectives.interface import Gather, no_gather
from model.parts import Strips

STRIP_COUNTS = (8, 4, 2, 1)
STRIP_PERIOD = 2 * len(STRIP_COUNTS)  # clips among which each way of cutting has its share
TRAINED, FORWARD = 3, 1  # the work of training on a clip, in forward passes: a backward pass costs two


class ShareUnit(NamedTuple):
    """What a worker's share of a batch, and a micro batch, must be a multiple of; why, and which option lifts it."""

    clips: int = 1
    reason: str = ""
    option: str = ""


class PairArrays(Protocol):
    """A batch of pairs: clips uint8 0/1 [B, T, 64, 44] and the times of their frames float32 [B, T].

    walks: int64 [B], the recorded walk that each pair shows.
    """

    @property
    def query(self) -> np.ndarray: ...
    @property
    def query_times(self) -> np.ndarray: ...
    @property
    def key(self) -> np.ndarray: ...
    @property
    def key_times(self) -> np.ndarray: ...
    @property
    def walks(self) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class PairSettings(ABC):
    """Settings that every objective of pretraining has, and what runs and studies ask of them."""

    least_batch: ClassVar[int] = 1  # pairs

    name: str  # of the objective, which chooses it in the union of settings
    strips: bool = True  # cut queries into strips, as published
    momentum: float = 0.99  # of the moving average of weights that is the teacher

    def __post_init__(self) -> None:
        self._check_fractions("momentum")

    @abstractmethod
    def build(self, network: NetworkSettings) -> "PairObjective":
        """The module that is trained, with random weights."""

    @abstractmethod
    def heldout_losses(
        self, predictions: NDArray[np.floating], keys: NDArray[np.floating], walks: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float64]]:
        """The `loss` [n] of each held-out pair, and of its terms, by which runs of one objective are compared.

        Args:
            predictions, keys: [n, P, C] of any length: the teacher's predictions of the queries and projections of the
                keys, of whole clips that are not augmented.
            walks: [n], the recorded walk that each pair shows.
        """

    def teacher_gives_keys(self, step: int) -> bool:
        """Whether the teacher projects the keys at a step; the student does, and learns from them, otherwise."""
        del step
        return True

    def passes(self, start: int, stop: int) -> int:
        """Work of training on a pair at each step from `start` to before `stop`, in forward passes of a clip."""
        return (stop - start) * (TRAINED + FORWARD)

    @property
    def unit(self) -> ShareUnit:
        """Each share must hold all ways of cutting equally often, as the whole batch does on one process."""
        return ShareUnit(STRIP_PERIOD, "which strips take", "--objective.no-strips") if self.strips else ShareUnit()

    def _check_fractions(self, *names: str) -> None:
        """UsageError where one of some settings does not lie within 0 and below 1."""
        for name in names:
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"--objective.{name} {getattr(self, name)} must be at least 0 and below 1")


class PairObjective(nn.Module, ABC):
    """Student and teacher on pairs of clips; satisfies `Objective` (model/objectives/interface.py)."""

    num_inputs = 4  # query and key, each with its times

    def __init__(self, network: NetworkSettings, settings: PairSettings) -> None:
        super().__init__()
        self.settings, self.size = settings, network.size
        self.student = GaitNetwork(network)
        self.teacher = teacher.teacher_from(self.student)
        self._has_running_statistics = any(True for _ in self.teacher.buffers())  # those of P3D's norms

    def tensors(self, batch: PairArrays, device: torch.device) -> list[Tensor]:
        """Query, its times, key, its times, and the recorded walk of each pair."""
        inputs = (batch.query, batch.query_times, batch.key, batch.key_times)
        return [*map(torch.from_numpy, inputs), send(torch.from_numpy(batch.walks), device)]

    def forward(
        self,
        query: Tensor,
        query_times: Tensor,
        key: Tensor,
        key_times: Tensor,
        walks: Tensor | None = None,
        *,
        step: int = 0,
        gather: Gather = no_gather,
        output_grads: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The loss of pairs and metrics; see `Objective`.

        walks: int64 [B], which recorded walk each pair shows; every pair one of its own where None.
        output_grads: [B, P, C] each, gradients in the predictions and in the keys.
        """
        if output_grads is not None:
            loss = (self._predict(query, query_times)[0] * output_grads[0]).sum()
            if not self.settings.teacher_gives_keys(step):  # a teacher's keys have no gradient
                loss = loss + (self._project(key, key_times) * output_grads[1]).sum()
            return {"loss": loss}
        embedded, metrics = self.embed_batch((query, query_times, key, key_times), step=step)
        return self.compare(embedded, () if walks is None else (walks,), step=step, gather=gather) | metrics

    def embed_batch(self, inputs: Sequence[Tensor], *, step: int) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        """Predictions of the queries and projections of the keys, [B, P, C] each, and metrics.

        Pairs are independent here, except through the norms of P3D, which take no micro batches.
        """
        query, query_times, key, key_times = inputs
        from_teacher = self.settings.teacher_gives_keys(step)
        predictions, metrics = self._predict(query, query_times)
        # The teacher's running statistics must have followed from the first step when it begins to give the keys.
        if from_teacher or self._has_running_statistics:
            keys = self._project_by_teacher(key, key_times)
        if not from_teacher:
            keys = self._project(key, key_times)
        finite = predictions.isfinite().all() & keys.isfinite().all()
        return (predictions, keys), metrics | {"finite": finite.float()}

    @abstractmethod
    def compare(
        self, embedded: Sequence[Tensor], targets: Sequence[Tensor], *, step: int, gather: Gather
    ) -> dict[str, Tensor]:
        """The loss of predictions and keys, [B, P, C] each, and metrics. targets: the walks [B], or nothing."""

    def parameter_groups(self, weight_decay: float) -> list[transfer.ParameterGroup]:
        """The student's weights, as model/transfer.py groups them."""
        return transfer.parameter_groups(self.student, self.size, weight_decay)

    def update_teacher(self, local: teacher.LocalPart = teacher.whole_weight) -> None:
        """Move the teacher towards the student."""
        teacher.update(self.teacher, self.student, self.settings.momentum, local)

    def set_recompute(self, enabled: bool) -> None:
        """Whether the student recomputes its activations; the teacher keeps none."""
        self.student.encoder.recompute = enabled

    def compile_blocks(self) -> None:
        """Compile the blocks of both encoders."""
        for network in (self.student, self.teacher):
            assert isinstance(network.encoder, ContourEncoder), "settings allow it for the contour encoder alone"
            network.encoder.compiled = True

    def guards(self, batch: Sequence[Tensor], step: int) -> dict[str, Tensor]:
        """The guards of the teacher on whole clips."""
        return guards.pair_guards(self.teacher, *batch, seed=step)

    def flops(self, step: int, frames: int, kept: float) -> float:
        """Work of training on one pair; heads are not counted."""
        return sizes.clip_flops(self.size, frames, kept) * self.settings.passes(step, step + 1)

    def _predict(self, clips: Tensor, times: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The student's predictions [B, P, C] of clips, cut into strips where they are, and the encoder's metrics."""
        strips = assign_strips(len(clips)) if self.settings.strips else None
        rows, metrics = self.student.pool(clips, times, strips)
        return self.student.embed(rows), metrics

    def _project(self, clips: Tensor, times: Tensor) -> Tensor:
        """The student's projections [B, P, C] of whole clips."""
        return self.student.project(self.student.pool(clips, times)[0])

    @torch.no_grad()
    def _project_by_teacher(self, clips: Tensor, times: Tensor) -> Tensor:
        """The teacher's projections [B, P, C] of whole clips."""
        projections = self.teacher.project(self.teacher.pool(clips, times)[0])
        self.teacher.predict(projections)  # for the running statistics of its predictor, which evaluation needs
        return projections


def assign_strips(clips: int) -> list[Strips]:
    """The strips of each clip of a rank: a cycle of 8, so that ranks with multiples of 8 cut as one process would."""
    counts = [STRIP_COUNTS[clip % len(STRIP_COUNTS)] for clip in range(clips)]
    second = [clip % STRIP_PERIOD >= len(STRIP_COUNTS) for clip in range(clips)]
    return [Strips(count, count > 1 and shifted) for count, shifted in zip(counts, second, strict=True)]
