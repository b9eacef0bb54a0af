"""Ranked lists for whoever knows the subjects of the probes: the file for GREW's server (Zhu et al., ICCV 2021).

The form is that of `GREW_submission` in the evaluator of OpenGait. No score is computed here, and none could be.
"""

import numpy as np
import pandas as pd

from datasets.schema.protocol import ProbeSet, Protocol
from evaluation.distances.metric import Metric
from evaluation.retrieval.pooled import distances_to
from evaluation.retrieval.sequences import Sequences

DEPTH = 20
_BLOCK = 256  # probes whose distances from the whole gallery are in memory at once


def submission(
    sequences: Sequences, protocol: Protocol, probe_set: ProbeSet, metric: Metric, depth: int = DEPTH
) -> pd.DataFrame:
    """The subjects of the `depth` nearest gallery sequences of each probe, one row a probe.

    Columns `videoId` (the probe's view, which names it), `rank1`, `rank2`, ... A subject occurs as often as its
    sequences do; a number loses its leading zeros, as the server expects. With fewer gallery sequences than `depth` the
    rest of a row is empty, where OpenGait stops. Among equal distances the first sequence comes first.
    """
    chosen = sequences.select(protocol, probe_set)
    subjects = [str(int(name)) if name.isdecimal() else name for name in sequences.subjects[chosen.gallery].tolist()]
    rows = []
    for start in range(0, len(chosen.probes), _BLOCK):
        mine = chosen.probes[start : start + _BLOCK]
        distance = distances_to(sequences, mine, chosen.gallery, metric)
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :depth]
        rows += [[subjects[place] for place in row] + [""] * (depth - len(row)) for row in nearest.tolist()]
    table = pd.DataFrame(rows, columns=[f"rank{place}" for place in range(1, depth + 1)])
    table.insert(0, "videoId", sequences.views[chosen.probes])
    return table
