"""What pretraining minimises: each part of a query must find its own sequence among the keys of the whole batch.

A student embeds the query clip, a teacher (an exponential moving average of the student) the key clip of the same
sequence; per part, InfoNCE over cosines between the student's predictions and the teacher's projections, gathered from
all ranks (He et al., CVPR 2020; parts and scale after FoundationGait, arXiv 2512.00691). How keys are gathered is
handed in: this file knows no process group, no optimizer and no data.

Shapes: B clips of this rank, G clips of all ranks, P = 31 parts, C channels.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from datasets.schema import UsageError
from model import parts, reference, sizes
from model.encoder import ContourEncoder
from model.reference import P3DEncoder
from model.strips import Strips

# Keys of this rank to keys of all ranks [G, P, C], and where this rank's begin in them.
Gather = Callable[[Tensor], tuple[Tensor, int]]


def alone(keys: Tensor) -> tuple[Tensor, int]:
    """The gather of a single process."""
    return keys, 0


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The encoder and its heads."""

    size: str = "xxs"  # a size of the ladder, or of the published P3D encoder (model/sizes.py)
    channels: int = 256  # of the embedding of a part

    def __post_init__(self) -> None:
        sizes.check(self.size)
        if self.channels < 1:
            raise UsageError(f"--network.channels {self.channels} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class ContrastSettings:
    """The contrast and its teacher."""

    scale: float = 16.0  # one over the temperature
    smoothing: float = 0.1  # of the labels
    momentum: float = 0.99  # of the teacher, constant: a run can be prolonged

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise UsageError(f"--contrast.scale {self.scale} must be positive")
        for name in ("smoothing", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"--contrast.{name} {getattr(self, name)} must be at least 0 and below 1")


class GaitNetwork(nn.Module):
    """Encoder, part pooling, and two heads for each part: a projector, and a predictor on top of it."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        if settings.size in sizes.P3D:
            self.encoder = P3DEncoder(sizes.P3D[settings.size])
            self.projector = reference.projector(self.encoder.width, settings.channels)
            self.predictor = reference.predictor(settings.channels, settings.channels)
        else:
            self.encoder = ContourEncoder(sizes.DEPTHS[settings.size])
            self.projector = parts.PartHead(self.encoder.width, settings.channels)
            self.predictor = parts.PartHead(settings.channels, settings.channels)

    def pool(
        self, clips: Tensor, times: Tensor, strips: Sequence[Strips] | None = None
    ) -> tuple[parts.RowStatistics, dict[str, Tensor]]:
        """Statistics of each body row over clips [B, T, 64, 44], cut or whole, and what the encoder lets be watched."""
        return self.encoder.pool(clips, times, strips)

    def project(self, rows: parts.RowStatistics) -> Tensor:
        """Projections [B, P, C]."""
        return self.projector(parts.pyramid(rows)).float()

    def embed(self, rows: parts.RowStatistics) -> Tensor:
        """What is compared at test time [B, P, C]: predictions, each part of unit length."""
        return functional.normalize(self.predictor(self.project(rows)).float(), dim=2)


class PartContrast(nn.Module):
    """Student and teacher; the module that is trained."""

    def __init__(self, network: NetworkSettings, settings: ContrastSettings) -> None:
        super().__init__()
        self.settings = settings
        self.student = GaitNetwork(network)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    def forward(
        self, query: Tensor, query_times: Tensor, key: Tensor, key_times: Tensor, gather: Gather = alone
    ) -> dict[str, Tensor]:
        """The loss, and what is watched beside it: accuracy of the contrast, and what the encoder watches."""
        rows, watched = self.student.pool(query, query_times)
        with torch.no_grad():
            keys, offset = gather(self.teacher.project(self.teacher.pool(key, key_times)[0]))
        return {**self.contrast(self.student.embed(rows), keys, offset), **watched}

    def contrast(self, predicted: Tensor, keys: Tensor, offset: int) -> dict[str, Tensor]:
        """InfoNCE of unit predictions [B, P, C] against keys [G, P, C]; offset..offset+B-1 are the queries' own."""
        logits = self.settings.scale * torch.einsum("bpc,gpc->bpg", predicted, functional.normalize(keys, dim=2))
        target = (offset + torch.arange(len(predicted), device=logits.device))[:, None].expand(-1, logits.shape[1])
        loss = functional.cross_entropy(logits.flatten(0, 1), target.flatten(), label_smoothing=self.settings.smoothing)
        accuracy = (logits.argmax(dim=2) == target).float().mean()
        return {"loss": loss, "accuracy": accuracy.detach()}

    @torch.no_grad()
    def update_teacher(self) -> None:
        """Move the teacher towards the student; to be called after each optimizer step."""
        for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mine.lerp_(theirs.to(mine.dtype), 1 - self.settings.momentum)
