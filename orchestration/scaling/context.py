"""What a trained cell of a study is measured on and with, and its embeddings of whole sequences."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from datasets.schema.collection import CollectionSpec
from model.embedding import embed
from model.network import GaitNetwork
from orchestration.embedding.sequences import walk_of
from orchestration.run.settings import PretrainRun
from orchestration.scaling.plan import StudyPlan

AT_ONCE = 32  # clips or sequences that are embedded together


@dataclass(frozen=True, eq=False)
class Examined:
    """A cell under examination: the held-out rows by collection, the evaluated network, and its settings."""

    plan: StudyPlan
    run: PretrainRun
    network: GaitNetwork  # of the teacher, which is what is evaluated and released
    device: torch.device
    rows: dict[str, pa.Table]
    specs: dict[str, CollectionSpec]

    def precision(self) -> torch.autocast:
        """As the run was trained."""
        enabled = self.run.cluster.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def embeddings(self, rows: pa.Table) -> np.ndarray:
        """Embeddings of whole sequences float32 [n, C, P], as far as the study's `measure.frames`."""
        embedded = []
        for start in range(0, rows.num_rows, AT_ONCE):
            walks = [walk_of(row, self.plan.measure.frames) for row in rows.slice(start, AT_ONCE).to_pylist()]
            with self.precision():
                embedded.append(embed(self.network, walks, self.run.clips.frames, self.device))
        return np.concatenate(embedded)
