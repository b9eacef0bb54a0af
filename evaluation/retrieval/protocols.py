"""Any protocol on any embeddings: each kind that a protocol names, with each of its probe sets.

What each kind means is in its own file; this one only knows which file that is.
"""

from collections.abc import Sequence

from datasets.schema.protocol import Protocol, ProtocolKind
from evaluation.distances.embeddings import Embeddings
from evaluation.distances.metric import Metric
from evaluation.retrieval.condition_pairs import condition_pairs
from evaluation.retrieval.outcomes import Score
from evaluation.retrieval.pooled import pooled_gallery
from evaluation.retrieval.sequences import Sequences
from evaluation.retrieval.view_pairs import ViewPairTable, view_pairs

MOST = 20  # ranks up to this are told apart where pairs are scored: what tables and curves show


def single_view_gallery(
    embeddings: Embeddings,
    subjects: Sequence[str],
    conditions: Sequence[str],
    views: Sequence[str],
    protocol: Protocol,
    metric: Metric,
) -> list[ViewPairTable]:
    """Every probe set that a protocol scores by pairs of views, in its order; see `view_pairs` and `Sequences.of`."""
    sequences = Sequences.of(embeddings, subjects, conditions, views)
    return [view_pairs(sequences, protocol, one, metric) for kind, one in protocol.scored() if kind == "view-pairs"]


def score(sequences: Sequences, protocol: Protocol, metric: Metric, kinds: Sequence[ProtocolKind] = ()) -> list[Score]:
    """One score for each kind and probe set of a protocol, in its order; kinds: only these, if any are given.

    A submission has no score (evaluation/retrieval/submission.py).
    """
    scores = []
    for kind, probe_set in protocol.scored():
        if (kinds and kind not in kinds) or kind == "submission":
            continue
        if kind == "view-pairs":
            scores.append(view_pairs(sequences, protocol, probe_set, metric, MOST).score())
        elif kind == "condition-pairs":
            scores.append(condition_pairs(sequences, protocol, probe_set, metric, MOST).score())
        else:
            scores.append(pooled_gallery(sequences, protocol, probe_set, kind, metric))
    return scores
