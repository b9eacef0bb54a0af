"""Part-wise contrast: each part of a query must find its own walk among the keys of the whole batch.

For each part, InfoNCE compares predictions of the queries with projections of the keys, gathered from all ranks
(parts, strips and temperature after FoundationGait, arXiv 2512.00691). The keys are the teacher's (He et al., CVPR
2020). Before the step `teacher_from` they are the student's own, and the loss is the mean of both directions. Other
clips of the same recorded walk are not negatives.

`joint` adds a contrast of all parts together, by the mean of their cosines: a single strip hardly identifies anybody
across views, so that at first nothing is learned from it (docs/learning.md).

Shapes: B pairs of this rank, G pairs of all ranks, P = 31 parts, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from datasets.schema.errors import UsageError
from model.network import NetworkSettings
from model.objectives.interface import Gather
from model.objectives.pairs import FORWARD, TRAINED, PairObjective, PairSettings
from model.parts import BINS


@dataclass(frozen=True, kw_only=True)
class ContrastSettings(PairSettings):
    """Each part of a query finds its own walk among the keys of the batch."""

    least_batch: ClassVar[int] = 2  # each pair needs a negative

    name: Literal["part-contrast"] = "part-contrast"  # another one's name selects it, at its defaults
    temperature: float = 1 / 16  # of the softmax over keys
    smoothing: float = 0.1  # label smoothing
    joint: float = 0.0  # weight of a further contrast: of the cosines' mean over parts, which is compared at test time
    joint_temperature: float = 1 / 30  # of that contrast; lower, since means over parts lie closer together
    teacher_from: int = 0  # step from which the teacher gives the keys; before it, the student is trained on both clips

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_fractions("smoothing")
        for name in ("temperature", "joint_temperature"):
            if getattr(self, name) <= 0:
                raise UsageError(f"--objective.{name.replace('_', '-')} {getattr(self, name)} must be positive")
        if self.joint < 0:
            raise UsageError(f"--objective.joint {self.joint} is a weight: give 0 or more")
        if self.teacher_from < 0:
            raise UsageError(f"--objective.teacher-from {self.teacher_from} is a step: give 0 or more")

    def build(self, network: NetworkSettings) -> "PartContrast":
        """The module that is trained, with random weights."""
        return PartContrast(network, self)

    def teacher_gives_keys(self, step: int) -> bool:
        """Whether `teacher_from` is reached."""
        return step >= self.teacher_from

    def passes(self, start: int, stop: int) -> int:
        """Work of training on a pair at each of these steps; before `teacher_from`, both clips are trained."""
        both = max(min(stop, self.teacher_from) - start, 0)
        return both * 2 * TRAINED + (stop - start - both) * (TRAINED + FORWARD)

    def heldout_losses(
        self, predictions: NDArray[np.floating], keys: NDArray[np.floating], walks: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float64]]:
        """InfoNCE of each query against all keys but those of its own walk, unsmoothed, in double precision."""
        count, parts, _ = predictions.shape
        left_out = (walks[:, None] == walks) & ~np.eye(count, dtype=bool)
        losses, cosine_mean = np.empty((count, parts)), np.zeros((count, count))
        for part in range(parts):
            cosines = _unit(predictions[:, part]) @ _unit(keys[:, part]).T
            cosine_mean += cosines / parts
            losses[:, part] = _heldout_infonce(1 / self.temperature * cosines, left_out)
        joint, by_part = _heldout_infonce(1 / self.joint_temperature * cosine_mean, left_out), losses.mean(axis=1)
        return {"loss": by_part + self.joint * joint, "loss/parts": by_part, "loss/joint": joint}


class PartContrast(PairObjective):
    """Student and teacher, and the contrast of their embeddings."""

    settings: ContrastSettings

    def compare(
        self, embedded: Sequence[Tensor], targets: Sequence[Tensor], *, step: int, gather: Gather
    ) -> dict[str, Tensor]:
        """The loss of embedded pairs against the keys of all ranks, and how often the contrast is right."""
        predictions, keys = embedded
        all_keys, offset = gather(keys)
        same = _same_walk(targets[0], *gather(targets[0])) if targets else None
        found = [self.contrast(predictions, all_keys, offset, same)]
        if not self.settings.teacher_gives_keys(step):
            found.append(self.contrast(keys, gather(predictions)[0], offset, same))
        return {name: torch.stack([one[name] for one in found]).mean() for name in found[0]}

    def contrast(self, queries: Tensor, keys: Tensor, offset: int, same: Tensor | None = None) -> dict[str, Tensor]:
        """InfoNCE over cosines of queries [B, P, C] and keys [G, P, C], of which offset..offset+B-1 are their own.

        same: bool [B, G], which keys are left out of a query's negatives.
        """
        # In fp32: divided by the temperature, the rounding of cosines to bf16 would be a tenth of a logit and more.
        with torch.autocast(queries.device.type, enabled=False):
            queries, keys = (functional.normalize(one.float(), dim=2) for one in (queries, keys))
            cosines = torch.einsum("bpc,gpc->bpg", queries, keys)
        loss, right = self._infonce(1 / self.settings.temperature * cosines, offset, same)
        found = {"loss": loss, "accuracy": right.mean()}
        found |= {f"accuracy/of_{len(bins)}": bins.mean() for bins in right.split(BINS)}
        if self.settings.joint:
            together = 1 / self.settings.joint_temperature * cosines.mean(dim=1, keepdim=True)
            joint, right = self._infonce(together, offset, same)
            found |= {"loss": loss + self.settings.joint * joint, "joint_accuracy": right.mean()}
        return found

    def _infonce(self, logits: Tensor, offset: int, same: Tensor | None) -> tuple[Tensor, Tensor]:
        """The loss of logits [B, P, G], a mean over B and P, and how often each part is right [P]."""
        kept = torch.ones_like(logits, dtype=torch.bool) if same is None else ~same[:, None].expand_as(logits)
        target = (offset + torch.arange(len(logits), device=logits.device))[:, None].expand(-1, logits.shape[1])
        among = logits.masked_fill(~kept, -torch.inf)
        own = logits.gather(2, target[:, :, None]).squeeze(2)
        mean = (logits * kept).sum(dim=2) / kept.sum(dim=2)  # smoothing shares among the keys that are left
        smoothing = self.settings.smoothing
        loss = (among.logsumexp(dim=2) - (1 - smoothing) * own - smoothing * mean).mean()
        return loss, (among.argmax(dim=2) == target).float().mean(dim=0)


def _same_walk(local: Tensor, everyone: Tensor, offset: int) -> Tensor:
    """Which pairs of all ranks show the recorded walk of a pair of this rank [B, G]; its own pair is not counted."""
    same = local[:, None] == everyone
    own = torch.arange(len(local), device=local.device)
    same[own, offset + own] = False
    return same


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _heldout_infonce(logits: NDArray[np.float64], left_out: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[n] of logits [n, n] with the own key on the diagonal."""
    among = np.where(left_out, -np.inf, logits)
    top = among.max(axis=1)
    return top + np.log(np.exp(among - top[:, None]).sum(axis=1)) - np.diag(logits)
