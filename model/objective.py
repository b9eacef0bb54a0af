"""What pretraining minimises: each part of a query must find its own walk among the keys of the whole batch.

The student embeds the query clip, cut into strips (model/strips.py), and per part InfoNCE compares its predictions with
projections of the whole key clips, gathered from all ranks (parts, strips and scale after FoundationGait, arXiv
2512.00691). Whose projections: those of a teacher, an exponential moving average of the student (He et al., CVPR 2020);
or, up to a step that is set, the student's own, and then both clips are trained, in both directions. The teacher
follows from the first step either way: it is what is evaluated. Other clips of the same recorded walk are no
negatives. The parts may also be contrasted together (`joint`), by the mean of their cosines: a strip alone says little
of who walks in another view, and at first nothing is learned from it. How keys are gathered is handed in: this file
knows no process group, no optimizer and no data.

Shapes: B clips of this rank, G clips of all ranks, P = 31 parts, C channels.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from datasets.schema.errors import UsageError
from model.network import GaitNetwork, NetworkSettings
from model.parts import BINS
from model.strips import assign
from model.transfer import parameter_groups

# A tensor of this rank, B first, to those of all ranks, G first, and where this rank's begin in them. Its gradient is
# the sum over ranks of what theirs is here. All ranks call it in the same order.
Gather = Callable[[Tensor], tuple[Tensor, int]]


def alone(mine: Tensor) -> tuple[Tensor, int]:
    """The gather of a single process."""
    return mine, 0


@dataclass(frozen=True, kw_only=True)
class ContrastSettings:
    """The contrast and its teacher."""

    temperature: float = 1 / 16  # of the softmax over keys
    smoothing: float = 0.1  # of the labels
    joint: float = 0.0  # weight of one more contrast, of the cosines' mean over parts, which is compared at test time
    joint_temperature: float = 1 / 30  # lower, since means over parts lie closer together
    strips: bool = True  # queries are cut into strips, as published; whole otherwise
    momentum: float = 0.99  # of the teacher, constant: a run can be prolonged
    teacher_from: int = 0  # the step at which the teacher gives the keys; before it, the student trains on both clips

    def __post_init__(self) -> None:
        for name in ("temperature", "joint_temperature"):
            if getattr(self, name) <= 0:
                raise UsageError(f"--contrast.{name.replace('_', '-')} {getattr(self, name)} must be positive")
        if self.joint < 0:
            raise UsageError(f"--contrast.joint {self.joint} is a weight: give 0 or more")
        for name in ("smoothing", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"--contrast.{name} {getattr(self, name)} must be at least 0 and below 1")
        if self.teacher_from < 0:
            raise UsageError(f"--contrast.teacher-from {self.teacher_from} is a step: give 0 or more")


class PartContrast(nn.Module):
    """Student and teacher; the module that is trained."""

    inputs = 4  # tensors of a batch that are embedded: query and key, each with its times

    def __init__(self, network: NetworkSettings, settings: ContrastSettings) -> None:
        super().__init__()
        self.settings, self.size = settings, network.size
        self.student = GaitNetwork(network)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self._remembers = any(True for _ in self.teacher.buffers())  # norms that keep what passes through them

    def parameter_groups(self, weight_decay: float) -> list[dict[str, object]]:
        """What the optimizer steps, in groups with their `rate_share` of the learning rate."""
        return parameter_groups(self.student, self.size, weight_decay)

    def forward(
        self,
        query: Tensor,
        query_times: Tensor,
        key: Tensor,
        key_times: Tensor,
        walks: Tensor | None = None,
        *,
        step: int = 0,
        gather: Gather = alone,
        output_grads: tuple[Tensor, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The loss, and what is watched beside it: accuracy of the contrast, and what the encoder watches.

        walks: int64 [B], which recorded walk each pair shows; every pair one of its own where None. `sound` is 1 where
        all that this rank embedded is finite. output_grads: [B, P, C] each, the gradients of a loss over more pairs
        than
        these (of `compare`) in the predictions and the keys; `loss` then has the gradient which that loss has in the
        weights by way of these pairs, and its value means nothing.
        """
        if output_grads is not None:
            loss = (self._embed_queries(query, query_times)[0] * output_grads[0]).sum()
            if not self._taught(step):  # a teacher's keys have no gradient
                loss = loss + (self._project_keys(key, key_times) * output_grads[1]).sum()
            return {"loss": loss}
        embedded, watched = self.embed_batch(query, query_times, key, key_times, step=step)
        return self.compare(*embedded, walks, step=step, gather=gather) | watched

    def embed_batch(
        self, query: Tensor, query_times: Tensor, key: Tensor, key_times: Tensor, *, step: int
    ) -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
        """Predictions of the queries and projections of the keys, [B, P, C] each, and what is watched of them.

        No pair has to do with another here: many pairs may be embedded a few at a time (not with the norms of P3D).
        """
        taught = self._taught(step)
        predicted, watched = self._embed_queries(query, query_times)
        if taught or self._remembers:
            keys = self._teach(key, key_times)
        if not taught:
            keys = self._project_keys(key, key_times)
        sound = predicted.isfinite().all() & keys.isfinite().all()
        return (predicted, keys), watched | {"sound": sound.float()}

    def compare(
        self, predicted: Tensor, keys: Tensor, walks: Tensor | None, *, step: int, gather: Gather
    ) -> dict[str, Tensor]:
        """The loss of embedded pairs against the keys of all ranks, and how often the contrast is right."""
        everyone, offset = gather(keys)
        same = None if walks is None else _same_walk(walks, *gather(walks))
        found = [self.contrast(predicted, everyone, offset, same)]
        if not self._taught(step):
            found.append(self.contrast(keys, gather(predicted)[0], offset, same))
        return {name: sum(one[name] for one in found) / len(found) for name in found[0]}

    def _embed_queries(self, clips: Tensor, times: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The student's predictions [B, P, C] of clips cut into strips, and what is watched of them."""
        rows, watched = self.student.pool(clips, times, assign(len(clips)) if self.settings.strips else None)
        return self.student.embed(rows), watched

    def _project_keys(self, clips: Tensor, times: Tensor) -> Tensor:
        """The student's projections [B, P, C] of whole clips."""
        return self.student.project(self.student.pool(clips, times)[0])

    def _taught(self, step: int) -> bool:
        return step >= self.settings.teacher_from

    @torch.no_grad()
    def _teach(self, key: Tensor, key_times: Tensor) -> Tensor:
        """The teacher's projections [B, P, C]; its predictor goes along, since its norms remember too."""
        projections = self.teacher.project(self.teacher.pool(key, key_times)[0])
        self.teacher.predict(projections)
        return projections

    def contrast(self, queries: Tensor, keys: Tensor, offset: int, same: Tensor | None = None) -> dict[str, Tensor]:
        """InfoNCE over cosines of queries [B, P, C] and keys [G, P, C], of which offset..offset+B-1 are their own.

        same: [B, G], which keys are left out of a query's negatives.
        """
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

    @torch.no_grad()
    def update_teacher(self, held: Callable[[nn.Parameter], Tensor] = lambda weight: weight) -> None:
        """Move the teacher towards the student; to be called after each optimizer step.

        held: what this process holds of a weight, where it is not the whole of it.
        """
        for mine, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            held(mine).lerp_(held(theirs).to(mine.dtype), 1 - self.settings.momentum)


def _same_walk(mine: Tensor, everyone: Tensor, offset: int) -> Tensor:
    """Which pairs [B, G] show one recorded walk, other than the query's own."""
    same = mine[:, None] == everyone
    places = torch.arange(len(mine), device=mine.device)
    same[places, offset + places] = False
    return same
