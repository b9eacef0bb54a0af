"""One sequence, from its folder to its row: reads, preprocesses and encodes its frames.

A bad sequence must not raise, since Ray Data would end the whole ingest: it becomes a row of REJECT_SCHEMA.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from datasets.contours import codec
from datasets.ingest.layouts import Root, SequenceRef
from datasets.ingest.read_frames import DroppedFrame, RawFrames, read
from datasets.preprocessing.binary import CONTRADICTION, EXCHANGED
from datasets.preprocessing.bodies import SEVERAL
from datasets.preprocessing.preprocessors import Preprocessor, preprocessor_of
from datasets.preprocessing.shapes import NO_BODY
from datasets.preprocessing.silhouettes import Normalised, fill_their_height, is_aligned
from datasets.schema.collection import Layout
from datasets.schema.errors import Unreadable
from datasets.schema.reading import NOTHING, SIZE, Notes, joined

Row = dict[str, Any]
# Reasons of frames that the other frames of a walk most likely share.
_SOMETHING_ELSE = frozenset({"not a mask", EXCHANGED, CONTRADICTION, SEVERAL, NO_BODY})
_NOT_ALIGNED: Notes = frozenset({(SIZE, "normalised: bodies are lower than their frames")})


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
    notes: Notes = NOTHING


def ingest_sequence(root: Root, ref: SequenceRef) -> SequenceResult:
    """A row of SEQUENCE_SCHEMA with a reject for each dropped frame, or no row and one reject."""
    try:
        numbers, found = _masks_of(root, ref)
    except Unreadable as error:
        return SequenceResult(None, [_reject(ref, None, error.reason, error.detail)])
    row = _row(ref, root, numbers, found)
    return SequenceResult(row, [_reject(ref, *frame) for frame in found.dropped])


def _masks_of(root: Root, ref: SequenceRef) -> tuple[list[int], _Masks]:
    """The numbers and masks of a sequence; Unreadable where too few are left, or most show something else."""
    preprocessor = preprocessor_of(root.layout.modality, root.spec.inverted)
    if root.layout.aligned and preprocessor.align is not None:
        raw = read(root, ref, np.asarray)
        lost, numbers, notes, found = raw.dropped, raw.numbers, raw.notes, _align(raw, preprocessor, root.layout)
    else:
        normalised = read(root, ref, lambda frame: _normalise(frame, preprocessor))
        lost, numbers, notes = normalised.dropped, normalised.numbers, normalised.notes
        found = _collect(normalised.names, normalised.frames)
    dropped = lost + found.dropped
    if not found.kept:
        reasons = Counter(frame.reason for frame in dropped)
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        raise Unreadable("no usable frame", counts or "an empty array")
    if len(found.kept) < root.lengths.least:
        every = len(found.kept) + len(dropped)
        said = f"{len(found.kept)} of {every}, fewer than the {root.lengths.least} of --min-frames"
        raise Unreadable("too few frames", said)
    kept = [numbers[index] * root.layout.spacing for index in found.kept]
    return kept, replace(found, dropped=dropped, notes=found.notes | notes)


def _align(raw: RawFrames[np.ndarray], preprocessor: Preprocessor, layout: Layout) -> _Masks:
    """All frames of an aligned release; normalised where they have no aligned size and may be raw."""
    assert preprocessor.align is not None, f"{preprocessor.name} is always normalised"
    if not raw.frames:
        return _Masks([], np.zeros((0, 1, 1), np.uint8))
    sizes = Counter(frame.shape[:2] for frame in raw.frames)
    is_raw = len(sizes) > 1 or not all(map(is_aligned, sizes))
    if is_raw and layout.may_be_raw:
        return _collect(raw.names, [_normalise(frame, preprocessor) for frame in raw.frames])
    if len(sizes) > 1:
        raise Unreadable("frames of several sizes", ", ".join(map(str, sizes)))
    try:
        found = preprocessor.align(raw.frames)
    except ValueError as error:
        raise Unreadable(f"not an aligned {preprocessor.name}", str(error)) from error
    if not found.masks.any():
        raise Unreadable("no usable frame", f"{len(found.masks)} empty frames")
    if layout.may_be_raw and not fill_their_height(found.masks):
        normalised = _collect(raw.names, [_normalise(frame, preprocessor) for frame in raw.frames])
        return replace(normalised, notes=normalised.notes | _NOT_ALIGNED)
    return _Masks(list(range(len(found.masks))), found.masks, notes=found.notes)


def _normalise(frame: np.ndarray, preprocessor: Preprocessor) -> Normalised:
    """One raw frame on the canonical grid."""
    try:
        return preprocessor.normalise(frame)
    except ValueError as error:
        return Normalised(None, f"not a {preprocessor.frame_name}", str(error))


def _collect(names: list[str], frames: list[Normalised]) -> _Masks:
    """Sorts normalised frames into kept and dropped ones."""
    kept, masks, dropped = [], [], []
    for index, (name, frame) in enumerate(zip(names, frames, strict=True)):
        if frame.mask is None:
            dropped.append(DroppedFrame(name, frame.reason, frame.detail))
        else:
            kept.append(index)
            masks.append(frame.mask)
    _refuse_most(dropped, len(frames))
    notes = NOTHING.union(*(frame.notes for frame in frames))
    return _Masks(kept, np.stack(masks) if masks else np.zeros((0, 1, 1), np.uint8), dropped, notes)


def _refuse_most(dropped: list[DroppedFrame], count: int) -> None:
    """Unreadable where most of the frames show something else than one body: the others are not to be trusted."""
    wrong = Counter(frame.reason for frame in dropped if frame.reason in _SOMETHING_ELSE)
    for reason, number in wrong.most_common(1):
        if number > count / 2:
            details = Counter(frame.detail for frame in dropped if frame.reason == reason)
            raise Unreadable(reason, f"{number} of {count} frames: {details.most_common(1)[0][0]}")


def _row(ref: SequenceRef, root: Root, numbers: list[int], found: _Masks) -> Row:
    assert ref.subject is not None and ref.condition is not None and ref.view is not None, f"{ref.folder} was read"
    coded, spec = codec.encode(found.masks), root.spec
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
        "dropped_frames": len(found.dropped),
        "grid": coded.grid,
        "contour_counts": coded.counts,
        "contour_starts": coded.starts,
        "contour_lengths": coded.lengths,
        "chain_codes": coded.chain.tobytes(),
        "source": ref.folder,
        "reading": joined(found.notes),
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
