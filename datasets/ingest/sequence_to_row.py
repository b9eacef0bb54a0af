"""One sequence, from its folder to its row: reads, preprocesses and encodes its frames.

A bad sequence must not raise, since Ray Data would end the whole ingest: it becomes a row of REJECT_SCHEMA.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from datasets.contours import codec
from datasets.ingest.layouts import Root, SequenceRef
from datasets.ingest.read_frames import DroppedFrame, RawFrames, read
from datasets.preprocessing.preprocessors import PREPROCESSORS, Preprocessor
from datasets.preprocessing.silhouettes import Normalised
from datasets.schema.errors import Unreadable

Row = dict[str, Any]


@dataclass(frozen=True)
class SequenceResult:
    """What ingest makes of one sequence: a row or None, and a reject for the sequence or for each frame it lost."""

    row: Row | None
    rejects: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class _Masks:
    """The frames of a sequence that are kept, and those that are not."""

    kept: list[int]  # indices into the frames as read
    masks: np.ndarray  # uint8 0/1 [T, G, G], of the kept frames
    dropped: list[DroppedFrame] = field(default_factory=list)


def ingest_sequence(root: Root, ref: SequenceRef) -> SequenceResult:
    """A row of SEQUENCE_SCHEMA with a reject for each dropped frame, or no row and one reject."""
    preprocessor = PREPROCESSORS[root.layout.modality]
    try:
        if root.layout.aligned and preprocessor.align is not None:
            raw = read(root, ref, np.asarray)
            unreadable, raw_numbers, found = raw.unreadable, raw.numbers, _align(raw, preprocessor)
        else:
            normalised = read(root, ref, lambda frame: _normalise(frame, preprocessor))
            unreadable, raw_numbers = normalised.unreadable, normalised.numbers
            found = _collect(normalised.names, normalised.frames)
    except Unreadable as error:
        return SequenceResult(None, [_reject(ref, None, error.reason, error.detail)])
    dropped = unreadable + found.dropped
    if not found.kept:
        reasons = Counter(frame.reason for frame in dropped)
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        return SequenceResult(None, [_reject(ref, None, "no usable frame", counts or "an empty array")])
    numbers = [raw_numbers[index] * root.layout.spacing for index in found.kept]
    if len(set(numbers)) < len(numbers):
        (number, count), *_ = Counter(numbers).most_common(1)
        detail = f"{count} frames are number {number}"
        return SequenceResult(None, [_reject(ref, None, "frames with one number", detail)])
    row = _row(ref, root, numbers, found.masks, len(dropped))
    return SequenceResult(row, [_reject(ref, *frame) for frame in dropped])


def _align(raw: RawFrames[np.ndarray], preprocessor: Preprocessor) -> _Masks:
    """All frames of an aligned release; normalised where they have no aligned size and may be raw."""
    assert preprocessor.align is not None, f"{preprocessor.name} is always normalised"
    if not raw.frames:
        return _Masks([], np.zeros((0, 1, 1), np.uint8))
    sizes = Counter(frame.shape[:2] for frame in raw.frames)
    try:
        if len(sizes) > 1:
            raise Unreadable("frames of several sizes", ", ".join(map(str, sizes)))
        masks = preprocessor.align(np.stack([preprocessor.to_plane(frame) for frame in raw.frames]))
    except (ValueError, Unreadable) as error:
        if preprocessor.may_be_raw:
            return _collect(raw.names, [_normalise(frame, preprocessor) for frame in raw.frames])
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"not an aligned {preprocessor.name}", str(error)) from error
    if not masks.any():
        raise Unreadable("no usable frame", f"{len(masks)} empty frames")
    return _Masks(list(range(len(masks))), masks)


def _normalise(frame: np.ndarray, preprocessor: Preprocessor) -> Normalised:
    """One raw frame on the canonical grid."""
    try:
        return preprocessor.normalise(frame)
    except ValueError as error:
        return None, f"not a {preprocessor.frame_name}", str(error)


def _collect(names: list[str], frames: list[Normalised]) -> _Masks:
    """Sorts normalised frames into kept and dropped ones."""
    kept, masks, dropped = [], [], []
    for index, (name, (mask, reason, detail)) in enumerate(zip(names, frames, strict=True)):
        if mask is None:
            dropped.append(DroppedFrame(name, reason, detail))
        else:
            kept.append(index)
            masks.append(mask)
    return _Masks(kept, np.stack(masks) if masks else np.zeros((0, 1, 1), np.uint8), dropped)


def _row(ref: SequenceRef, root: Root, numbers: list[int], masks: np.ndarray, dropped: int) -> Row:
    assert ref.subject is not None and ref.condition is not None and ref.view is not None, f"{ref.folder} was read"
    coded, spec = codec.encode(masks), root.spec
    return {
        "sequence_id": ref.sequence_id,
        "collection": spec.name,
        "split": spec.split.of(ref.subject),
        "subject": ref.subject,
        "condition": ref.condition,
        "view": ref.view,
        "modality": root.layout.modality,
        "labels": ref.labels | spec.listed_labels(ref.subject, ref.condition, ref.view),
        "num_frames": len(numbers),
        "frame_numbers": numbers,
        "dropped_frames": dropped,
        "grid": coded.grid,
        "contour_counts": coded.counts,
        "contour_starts": coded.starts,
        "contour_lengths": coded.lengths,
        "chain_codes": coded.chain.tobytes(),
        "source": ref.folder,
    }


def _reject(ref: SequenceRef, frame: str | None, reason: str, detail: str) -> Row:
    return {
        "sequence_id": ref.sequence_id,
        "collection": ref.collection,
        "source": ref.folder,
        "frame": frame,
        "reason": reason,
        "detail": detail[:500],
    }
