"""What a trained cell of a study is measured with: its network, held-out rows, and pairs of held-out clips."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from datasets.loading.heldout_bank import Bank, draw_bank
from datasets.schema.collection import CollectionSpec
from datasets.store.reader import Store
from model.network import GaitNetwork
from orchestration.embedding.sequences import autocast, embed_rows, held_out_rows
from orchestration.run.precision import resolved
from orchestration.run.settings import PretrainRun
from orchestration.scaling.plan import StudyPlan


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What every cell of a study is measured on."""

    rows: dict[str, pa.Table]  # the held-out sequences of each collection
    specs: dict[str, CollectionSpec]  # of these collections
    pairs: Bank  # of held-out clips


@dataclass(frozen=True, eq=False)
class Examined:
    """A trained cell under examination."""

    plan: StudyPlan
    store: Store
    run: PretrainRun
    network: GaitNetwork  # the teacher's, which is what is evaluated and released
    device: torch.device
    held_out: HeldOut

    def autocast(self) -> torch.autocast:
        """The context in which the network computes with the precision of its training."""
        return autocast(self.device, resolved(self.run.cluster.precision))

    def embeddings(self, rows: pa.Table) -> np.ndarray:
        """Embeddings of the first `measure.frames` frames of some sequences, float32 [n, C, P]."""
        run, most, precision = self.run, self.plan.measure.frames, resolved(self.run.cluster.precision)
        return embed_rows(self.network, rows, run.clips.frames, self.device, precision, max_frames=most)


def read_held_out(plan: StudyPlan) -> HeldOut:
    """Read what the cells of a study are measured on, the same for all.

    UsageError if the store lacks a held-out subject, or has fewer than two walks of them.
    """
    store = Store.open(plan.shards)
    names = sorted({subject.split("/")[0] for subject in plan.data.holdout})
    rows = {name: held_out_rows(store, name, plan.run_of(plan.cells()[0])) for name in names}
    specs = store.specs(names)
    everyone = pa.concat_tables(rows.values())
    pairs = draw_bank(everyone, specs, plan.clips, plan.data.positives, plan.measure.keys, plan.measure.seed)
    return HeldOut(rows, specs, pairs)
