"""Classification, the objective of fine-tuning: labels from the embedding of a clip, and triplets of clips.

Each part of the embedding is standardised, and a linear map gives it a logit for every class (the neck of Luo et al.,
CVPRW 2019, with separate maps as in the published gait models). Cross entropy is of each part, or of the mean over the
parts, which is one linear map of all of them; batch-all triplets of each part (Hermans et al., arXiv 1703.07737) pull
the walks of one class together. Standardising uses running statistics in training, too: a clip then depends on no other
in its batch, and any number of ranks or of clips at once gives the same step.

Shapes: B clips of this rank, G clips of all ranks, P = 31 parts, C channels, M questions, K classes of all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from datasets.schema.errors import UsageError
from model import sizes
from model.device import send
from model.encoder import ContourEncoder
from model.network import GaitNetwork, NetworkSettings
from model.objectives import guards, teacher
from model.objectives.interface import Gather, no_gather
from model.p3d.encoder import P3DEncoder
from model.parts import PARTS
from model.transfer import EPSILON, ParameterGroup, parameter_groups

TrainedPart = Literal["head", "all"]
_EPS = 1e-5
_MOMENTUM = 0.1  # of the running statistics, as in torch's BatchNorm; the first ten batches count alike


class ClipArrays(Protocol):
    """A batch of clips uint8 0/1 [B, T, 64, 44], the times of their frames float32 [B, T], and labels int64 [B, M]."""

    @property
    def clips(self) -> np.ndarray: ...
    @property
    def times(self) -> np.ndarray: ...
    @property
    def labels(self) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """The losses, and how the new head is trained beside the pretrained network."""

    smoothing: float = 0.1  # of the labels
    each_part: bool = False  # cross entropy of each part; of the mean over parts, one linear map of all, otherwise
    triplet: float = 0.0  # weight of the triplets; --train head ignores it, since the embedding is frozen
    margin: float = 0.2  # between distances of unit vectors
    encoder_rate: float = 0.1  # share of the learning rate that the pretrained weights get
    momentum: float = 0.99  # of the teacher, which is evaluated

    def __post_init__(self) -> None:
        for name in ("smoothing", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"--head.{name} {getattr(self, name)} must be at least 0 and below 1")
        if self.triplet < 0:
            raise UsageError(f"--head.triplet {self.triplet} is a weight: give 0 or more")
        if self.margin <= 0:
            raise UsageError(f"--head.margin {self.margin} must be positive")
        if not 0 < self.encoder_rate <= 1:
            raise UsageError(
                f"--head.encoder-rate {self.encoder_rate} is a share: give more than 0 and up to 1, or --train head to "
                "freeze the encoder"
            )


class LabelHead(nn.Module):
    """Standardised parts to logits of K classes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        # Zero: all classes are equally likely at first, and no gradient reaches the embedding before the head learns.
        self.weight = nn.Parameter(torch.zeros(PARTS, channels, classes))
        self.bias = nn.Parameter(torch.zeros(PARTS, classes))
        self.mean: Tensor
        self.variance: Tensor
        self.batches: Tensor
        self.register_buffer("mean", torch.zeros(PARTS, channels))
        self.register_buffer("variance", torch.full((PARTS, channels), 1 / channels))  # of random unit vectors
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Logits [B, K, P] of embeddings [B, P, C]."""
        standard = (features - self.mean) * (self.variance + _EPS).rsqrt()
        return torch.einsum("bpc,pck->bkp", standard, self.weight).float() + self.bias.T

    @torch.no_grad()
    def update_statistics(self, mean: Tensor, variance: Tensor) -> None:
        """Average the statistics [P, C] of one more batch into the running ones."""
        self.batches += 1
        share = max(1 / float(self.batches), _MOMENTUM)
        self.mean.lerp_(mean, share)
        self.variance.lerp_(variance, share)


class LabelledNetwork(nn.Module):
    """A gait network with a head for labels."""

    def __init__(self, network: NetworkSettings, classes: int) -> None:
        super().__init__()
        self.network = GaitNetwork(network)
        self.head = LabelHead(network.channels, classes)

    @property
    def encoder(self) -> ContourEncoder | P3DEncoder:
        """The encoder of the gait network."""
        return self.network.encoder


class Classifier(nn.Module):
    """Student and teacher with their heads; satisfies `Objective` (model/objectives/interface.py)."""

    num_inputs = 2  # clips and their times

    def __init__(
        self, network: NetworkSettings, classes: Sequence[int], settings: HeadSettings, trained: TrainedPart
    ) -> None:
        """classes: the number of classes of each question. trained: `head` freezes the gait network."""
        super().__init__()
        self.settings, self.classes, self.size = settings, tuple(classes), network.size
        self.student = LabelledNetwork(network, sum(classes))
        self.frozen = trained == "head"
        if self.frozen:
            self.student.network.requires_grad_(False)
        self.teacher = teacher.teacher_from(self.student)
        self._batch_statistics: tuple[Tensor, Tensor] | None = None  # mean and variance of the step under way
        self.train()

    def train(self, mode: bool = True) -> "Classifier":
        """As torch's, but the running statistics of a frozen network do not change."""
        super().train(mode)
        if self.frozen:
            self.student.network.eval()
        return self

    def tensors(self, batch: ClipArrays, device: torch.device) -> list[Tensor]:
        """Clips, their times and labels."""
        inputs = (batch.clips, batch.times)
        return [*map(torch.from_numpy, inputs), send(torch.from_numpy(batch.labels), device)]

    def parameter_groups(self, weight_decay: float) -> list[ParameterGroup]:
        """Those of the head, and those of the gait network at `encoder_rate` of the learning rate."""
        head = self.student.head
        groups: list[ParameterGroup] = [
            {"params": [head.weight], "lr_scale": 1.0, "weight_decay": weight_decay, "eps": EPSILON},
            {"params": [head.bias], "lr_scale": 1.0, "weight_decay": 0.0, "eps": EPSILON},
        ]
        if not self.frozen:
            for group in parameter_groups(self.student.network, self.size, weight_decay):
                group["lr_scale"] *= self.settings.encoder_rate
                groups.append(group)
        return groups

    def forward(
        self,
        clips: Tensor,
        times: Tensor,
        labels: Tensor,
        *,
        step: int = 0,
        gather: Gather = no_gather,
        output_grads: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The loss of clips [B, T, 64, 44] at times [B, T] with labels int64 [B, M], negative where one is missing.

        output_grads: gradients in the embeddings and in the logits; see `Objective`.
        """
        embedded, metrics = self.embed_batch((clips, times), step=step)
        if output_grads is not None:
            features, logits = ((one * grad).sum() for one, grad in zip(embedded, output_grads, strict=True))
            return {"loss": features + logits}
        return self.compare(embedded, (labels,), step=step, gather=gather) | metrics

    def embed_batch(self, inputs: Sequence[Tensor], *, step: int) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        """Embeddings [B, P, C] and logits [B, K, P] of independent clips, and metrics."""
        del step  # all steps are alike
        clips, times = inputs
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            rows, metrics = self.student.network.pool(clips, times)
            features = self.student.network.embed(rows)
        logits = self.student.head(features)
        finite = features.isfinite().all() & logits.isfinite().all()
        return (features, logits), metrics | {"finite": finite.float()}

    def compare(
        self, embedded: Sequence[Tensor], targets: Sequence[Tensor], *, step: int, gather: Gather
    ) -> dict[str, Tensor]:
        """The losses of embedded clips; the embeddings of all ranks are their positives and negatives."""
        del step
        (features, logits), (labels,) = embedded, targets
        (everyone, offset), all_labels = gather(features), gather(labels)[0]
        variance, mean = torch.var_mean(everyone.detach(), dim=0, correction=0)
        self._batch_statistics = (mean, variance)
        ranks = len(everyone) // len(features)
        entropies, right, triplets = [], [], []
        with torch.autocast(features.device.type, enabled=False):
            for number, of_question in enumerate(logits.split(self.classes, dim=1)):
                local, everywhere = labels[:, number], all_labels[:, number]
                # Divided by the mean number of labels a rank, so that the mean over ranks is the mean over all labels.
                known = ((everywhere >= 0).sum() / ranks).clamp(min=1 / ranks)
                entropies.append(self._entropy(of_question, local) / known)
                right.append(((of_question.mean(dim=2).argmax(dim=1) == local) & (local >= 0)).sum() / known)
                if self.settings.triplet and not self.frozen:
                    triplets.append(self._triplets(features, everyone, local, everywhere, offset, gather) * ranks)
        found = {"cross_entropy": torch.stack(entropies).mean(), "accuracy": torch.stack(right).mean()}
        if not triplets:
            return found | {"loss": found["cross_entropy"]}
        triplet = torch.stack(triplets).mean()
        return found | {"triplet": triplet, "loss": found["cross_entropy"] + self.settings.triplet * triplet}

    def _entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The sum over the clips [B, K, P] that have a label."""
        known = labels >= 0
        logits, labels = logits[known].float(), labels[known]
        if not self.settings.each_part:
            logits = logits.mean(dim=2, keepdim=True)
        target = labels[:, None].expand(-1, logits.shape[2])
        smoothing = self.settings.smoothing
        return functional.cross_entropy(logits, target, label_smoothing=smoothing, reduction="sum") / logits.shape[2]

    def _triplets(
        self, features: Tensor, everyone: Tensor, local: Tensor, everywhere: Tensor, offset: int, gather: Gather
    ) -> Tensor:
        """This rank's share of the mean, over parts, of the mean over all nonzero triplets of all ranks.

        features: [B, P, C] of this rank, everyone: [G, P, C]; local and everywhere: their labels [B] and [G].
        """
        cosines = torch.einsum("bpc,gpc->pbg", features.float(), everyone.float())
        distances = (2 - 2 * cosines).clamp(min=1e-6).sqrt()  # Euclidean, of unit vectors; no gradient at zero
        index = torch.arange(len(local), device=local.device)
        same = (local[:, None] == everywhere) & (local >= 0)[:, None]
        positive = same.clone()
        positive[index, offset + index] = False
        negative = ~same & (local >= 0)[:, None] & (everywhere >= 0)
        most = max(int(positive.sum(dim=1).max()), 1)
        chosen = positive.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]  # positives come first
        near = distances.gather(2, chosen.expand(PARTS, -1, -1))
        losses = (near[..., None] - distances[:, :, None] + self.settings.margin).relu()  # [P, B, positives, G]
        losses = losses * (positive.gather(1, chosen)[:, :, None] & negative[:, None])
        active = (losses.detach() > 0).sum(dim=(1, 2, 3)).float()
        total = gather(active[None])[0].sum(dim=0)
        return (losses.sum(dim=(1, 2, 3)) / total.clamp(min=1)).mean()

    @torch.no_grad()
    def update_teacher(self, local: teacher.LocalPart = teacher.whole_weight) -> None:
        """Average the statistics of the step into the head's, and move the teacher towards the student."""
        # Only now: all micro batches of a step, and all ranks, standardise by the same statistics.
        if self._batch_statistics is not None:
            self.student.head.update_statistics(*self._batch_statistics)
            self._batch_statistics = None
        teacher.update(self.teacher, self.student, self.settings.momentum, local)
        for copied, trained in zip(self.teacher.buffers(), self.student.buffers(), strict=True):
            copied.copy_(trained)

    def set_recompute(self, enabled: bool) -> None:
        """Whether the student recomputes its activations."""
        self.student.encoder.recompute = enabled

    def compile_blocks(self) -> None:
        """Compile the blocks of both encoders."""
        for network in (self.student, self.teacher):
            assert isinstance(network.encoder, ContourEncoder), "settings allow it for the contour encoder alone"
            network.encoder.compiled = True

    def guards(self, batch: Sequence[Tensor], step: int) -> dict[str, Tensor]:
        """The guards of the teacher's gait network."""
        del step  # none of them is random
        return guards.clip_guards(self.teacher.network, *batch[:2])

    def flops(self, step: int, frames: int, kept: float) -> float:
        """Work of training on one clip: three forward passes' worth, one where the encoder is frozen."""
        del step
        return (1 if self.frozen else 3) * sizes.clip_flops(self.size, frames, kept)
