"""The sequences of a test set: an embedding of each, and the names that a protocol matches on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from datasets.schema.errors import UsageError
from datasets.schema.protocol import ProbeSet, Protocol
from evaluation.distances.int8_embeddings import Embeddings

_BLOCK = 256  # rows read at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequences:
    """The test set: n sequences in the order that decides ties. Made by `of`, which checks it.

    `can_probe` and `in_gallery` bool [n]: which of them may be probes, and which may be in the gallery; all where None.
    """

    embeddings: Embeddings
    subjects: NDArray[np.str_]
    conditions: NDArray[np.str_]
    views: NDArray[np.str_]
    can_probe: NDArray[np.bool_] | None = None
    in_gallery: NDArray[np.bool_] | None = None

    @classmethod
    def of(
        cls, embeddings: Embeddings, subjects: Sequence[str], conditions: Sequence[str], views: Sequence[str]
    ) -> "Sequences":
        """Embeddings [n, C, P] and the names of their sequences, n strings each as released.

        Raises:
            UsageError: no sequences.
            ValueError: lengths that differ, no channel or part, or embeddings that are not finite (they have no nearest
                neighbour).
        """
        columns = [np.asarray(column, dtype=str) for column in (subjects, conditions, views)]
        shape = embeddings.shape
        if any(column.shape != shape[:1] for column in columns):
            lengths = ", ".join(str(len(column)) for column in columns)
            raise ValueError(f"{shape[0]} embeddings with {lengths} subjects, conditions and views")
        if shape[0] == 0:
            raise UsageError("no sequences to evaluate: the test split is empty, check what was ingested")
        if len(shape) != 3 or 0 in shape:
            raise ValueError(f"expected embeddings [n, C, P], got {shape}")
        for start in range(0, shape[0], _BLOCK):
            rows = embeddings[np.arange(start, min(start + _BLOCK, shape[0]))]
            if not np.isfinite([rows.min(), rows.max()]).all():  # NaN passes through both, without a mask of all
                raise ValueError("embeddings hold NaN or infinite values: the encoder or its checkpoint is broken")
        return cls(embeddings=embeddings, subjects=columns[0], conditions=columns[1], views=columns[2])

    def between(self, modalities: Sequence[str], probe: str, gallery: str) -> "Sequences":
        """The same, of which those of one modality may be probes and those of another (or the same) the gallery.

        Args:
            modalities: of each sequence, [n].
            probe, gallery: two of them, or one.

        Raises:
            UsageError: no sequence of one of the two.
        """
        every = np.asarray(modalities, dtype=str)
        for wanted in (probe, gallery):
            if not (every == wanted).any():
                present = ", ".join(np.unique(every).tolist())
                raise UsageError(
                    f"no sequence is of the modality {wanted}: there are {present}; ingest it with --modality"
                )
        return replace(self, can_probe=every == probe, in_gallery=every == gallery)

    def select(self, protocol: Protocol, probe_set: ProbeSet) -> "ProbeGallery":
        """Which of them are probes and gallery of a probe set; sequences of excluded views are neither."""
        compared = np.array([protocol.compared_view(view) for view in self.views])
        scored = ~np.isin(compared, sorted(protocol.excluded_views))
        probe, gallery = (self._where(holds) for holds in (probe_set.is_probe, probe_set.is_gallery))
        if self.can_probe is not None and self.in_gallery is not None:
            probe, gallery = probe & self.can_probe, gallery & self.in_gallery
            scored &= self.can_probe | self.in_gallery
        return ProbeGallery(
            probes=np.flatnonzero(probe & scored),
            gallery=np.flatnonzero(gallery & scored),
            views=compared,
            view_names=tuple(np.unique(compared[scored]).tolist()),
            num_excluded=int(((probe | gallery) & ~scored).sum()),
        )

    def _where(self, holds: Callable[[str, str, str], bool]) -> NDArray[np.bool_]:
        """Of which sequences something holds, [n]: a function of subject, condition and view."""
        walks = zip(self.subjects, self.conditions, self.views, strict=True)
        return np.fromiter((holds(*walk) for walk in walks), dtype=bool, count=len(self.subjects))


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeGallery:
    """Numbers of the `probes` and of the `gallery`, ascending, and the `views` of all n sequences as they are compared.

    `view_names` are the sorted views of all sequences but those of excluded views, whether or not the probe set uses
    them; `num_excluded` counts probes and gallery sequences of excluded views.
    """

    probes: NDArray[np.int64]
    gallery: NDArray[np.int64]
    views: NDArray[np.str_]
    view_names: tuple[str, ...]
    num_excluded: int
