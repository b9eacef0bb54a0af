"""Any protocol on any embeddings: each kind that a protocol names, with each of its probe sets."""

from collections.abc import Sequence

from datasets.schema.protocol import Protocol, ProtocolKind
from evaluation.distances.int8_embeddings import Embeddings
from evaluation.distances.metric import Metric
from evaluation.retrieval.condition_pairs import condition_pairs
from evaluation.retrieval.outcomes import ProtocolResult
from evaluation.retrieval.pooled import pooled_gallery
from evaluation.retrieval.sequences import Sequences
from evaluation.retrieval.view_pairs import ViewPairTable, view_pairs

MAX_RANK = 20  # ranks up to this are distinguished for pairs: what tables and curves show


def single_view_gallery(
    embeddings: Embeddings,
    subjects: Sequence[str],
    conditions: Sequence[str],
    views: Sequence[str],
    protocol: Protocol,
    metric: Metric,
) -> list[ViewPairTable]:
    """Every probe set that a protocol evaluates by pairs of views; see `view_pairs` and `Sequences.of`."""
    sequences = Sequences.of(embeddings, subjects, conditions, views)
    return [view_pairs(sequences, protocol, one, metric) for kind, one in protocol.scored() if kind == "view-pairs"]


def evaluate_protocol(
    sequences: Sequences, protocol: Protocol, metric: Metric, kinds: Sequence[ProtocolKind] = ()
) -> list[ProtocolResult]:
    """One result for each kind and probe set of a protocol, in its order; kinds: only these, if any are given.

    A submission has no result (`evaluation.retrieval.pooled.submission`).
    """
    results = []
    for kind, probe_set in protocol.scored():
        if (kinds and kind not in kinds) or kind == "submission":
            continue
        if kind == "view-pairs":
            results.append(view_pairs(sequences, protocol, probe_set, metric, MAX_RANK).result())
        elif kind == "condition-pairs":
            results.append(condition_pairs(sequences, protocol, probe_set, metric, MAX_RANK).result())
        else:
            results.append(pooled_gallery(sequences, protocol, probe_set, kind, metric))
    return results
