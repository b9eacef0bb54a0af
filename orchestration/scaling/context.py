"""What a trained cell of a study is measured on and with, and its embeddings of whole sequences."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from datasets.schema.collection import CollectionSpec
from datasets.store.reader import Store
from model.network import GaitNetwork
from orchestration.embedding.sequences import autocast, embed_rows
from orchestration.run.settings import PretrainRun
from orchestration.scaling.plan import StudyPlan


@dataclass(frozen=True, eq=False)
class Examined:
    """A cell under examination: the held-out rows by collection, the evaluated network, and its settings."""

    plan: StudyPlan
    store: Store
    run: PretrainRun
    network: GaitNetwork  # of the teacher, which is what is evaluated and released
    device: torch.device
    rows: dict[str, pa.Table]
    specs: dict[str, CollectionSpec]

    def precision(self) -> torch.autocast:
        """As the run was trained."""
        return autocast(self.device, self.run.cluster.precision)

    def embeddings(self, rows: pa.Table) -> np.ndarray:
        """Embeddings of whole sequences float32 [n, C, P], as far as the study's `measure.frames`."""
        run, most = self.run, self.plan.measure.frames
        return embed_rows(self.network, rows, run.clips.frames, self.device, run.cluster.precision, max_frames=most)
