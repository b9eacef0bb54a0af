"""Part-wise regression: each part of a query predicts the teacher's projection of the key. There are no negatives.

The loss is one minus the cosine, averaged over parts (BYOL, Grill et al., NeurIPS 2020). Only the predictor and the
slow teacher keep the embedding from collapsing: a low loss proves nothing without the guards (guard/effective_rank).
Pairs are not compared with each other: nothing is gathered, and a batch may have any size.

Shapes: B pairs of this rank, P = 31 parts, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from model.network import NetworkSettings
from model.objectives.interface import Gather
from model.objectives.pairs import PairObjective, PairSettings
from model.parts import BINS


@dataclass(frozen=True, kw_only=True)
class RegressionSettings(PairSettings):
    """Each part of a query predicts the teacher's projection of the key."""

    name: Literal["part-regression"] = "part-regression"  # another one's name selects it, at its defaults

    def build(self, network: NetworkSettings) -> "PartRegression":
        """The module that is trained, with random weights."""
        return PartRegression(network, self)

    def heldout_losses(
        self, predictions: NDArray[np.floating], keys: NDArray[np.floating], walks: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float64]]:
        """One minus the cosine of each pair, in double precision."""
        del walks  # a pair is compared with no other
        one, other = (np.asarray(given, dtype=np.float64) for given in (predictions, keys))
        lengths = np.linalg.norm(one, axis=2) * np.linalg.norm(other, axis=2)
        return {"loss": 1 - ((one * other).sum(axis=2) / np.maximum(lengths, 1e-12)).mean(axis=1)}


class PartRegression(PairObjective):
    """Student and teacher, and how well one predicts the other."""

    settings: RegressionSettings

    def compare(
        self, embedded: Sequence[Tensor], targets: Sequence[Tensor], *, step: int, gather: Gather
    ) -> dict[str, Tensor]:
        """One minus the cosine of predictions and keys, and the cosines of each level of the pyramid."""
        del targets, step, gather  # a pair is compared with no other, and all steps are alike
        predictions, keys = embedded
        with torch.autocast(predictions.device.type, enabled=False):
            cosines = functional.cosine_similarity(predictions.float(), keys.float(), dim=2)
        levels = {f"cosine/of_{level.shape[1]}": level.detach().mean() for level in cosines.split(BINS, dim=1)}
        return {"loss": 1 - cosines.mean(), "cosine": cosines.detach().mean()} | levels
