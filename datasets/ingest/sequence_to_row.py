"""One sequence, from its folder to its row: read, normalise, encode; or a reject with the reason.

The one place where layouts, modalities and contours meet. A bad sequence never raises: what is wrong with it becomes
a row of REJECT_SCHEMA. It knows nothing of Parquet and nothing of a cluster.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from datasets.contours import codec
from datasets.ingest.layouts import Root, SequenceRef
from datasets.ingest.read_frames import Dropped, RawFrames, read
from datasets.preprocessing.modalities import FORMS, Forms
from datasets.preprocessing.silhouettes import Normalised
from datasets.schema.errors import Unreadable

Row = dict[str, object]
Frames = tuple[
    list[int], np.ndarray, list[Dropped]
]  # indices of the kept ones, their masks [T, G, G], the dropped ones


@dataclass
class Harmonised:
    """What became of one sequence: a row, or None; and a reject for the sequence or for each frame it lost."""

    row: Row | None
    rejects: list[Row] = field(default_factory=list)


def harmonise(root: Root, ref: SequenceRef) -> Harmonised:
    """One sequence as a row of SEQUENCE_SCHEMA with rejects for its dropped frames, or as one reject."""
    forms = FORMS[root.layout.modality]
    try:
        if root.layout.aligned and forms.aligned is not None:
            raw = read(root, ref, np.asarray)
            kept, masks, dropped = _aligned(raw, forms)
        else:
            raw = read(root, ref, lambda frame: _normalise(frame, forms))
            kept, masks, dropped = _normalised(raw.names, raw.frames)
    except Unreadable as error:
        return Harmonised(None, [_reject(ref, None, error.reason, error.detail)])
    dropped = raw.unreadable + dropped
    if not kept:
        reasons = Counter(reason for _, reason, _ in dropped)
        seen = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        return Harmonised(None, [_reject(ref, None, "no usable frame", seen or "an empty array")])
    numbers = [raw.numbers[i] * root.layout.spacing for i in kept]
    if len(set(numbers)) < len(numbers):
        (number, count), *_ = Counter(numbers).most_common(1)
        return Harmonised(None, [_reject(ref, None, "frames with one number", f"{count} frames are number {number}")])
    row = _row(ref, root, numbers, masks, len(dropped))
    return Harmonised(row, [_reject(ref, *frame) for frame in dropped])


def _aligned(raw: RawFrames[np.ndarray], forms: Forms) -> Frames:
    """Frames of an aligned release, all kept as they are; normalised where they are of other sizes and may be raw."""
    if not raw.frames:
        return [], np.zeros((0, 1, 1), np.uint8), []
    shapes = Counter(frame.shape[:2] for frame in raw.frames)
    try:
        if len(shapes) > 1:
            raise Unreadable("frames of several sizes", ", ".join(map(str, shapes)))
        masks = forms.aligned(np.stack([forms.one(frame) for frame in raw.frames]))
    except (ValueError, Unreadable) as error:
        if forms.perhaps_raw:
            return _normalised(raw.names, [_normalise(frame, forms) for frame in raw.frames])
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"not an aligned {forms.name}", str(error)) from error
    if not masks.any():
        raise Unreadable("no usable frame", f"{len(masks)} empty frames")
    return list(range(len(masks))), masks, []


def _normalise(frame: np.ndarray, forms: Forms) -> Normalised:
    """One raw frame on the canonical grid."""
    try:
        return forms.normalise(frame)
    except ValueError as error:
        return None, f"not a {forms.frame}", str(error)


def _normalised(names: list[str], frames: list[Normalised]) -> Frames:
    """Raw frames, each normalised on its own."""
    kept, masks, dropped = [], [], []
    for index, (name, (mask, reason, detail)) in enumerate(zip(names, frames, strict=True)):
        if mask is None:
            dropped.append((name, reason, detail))
        else:
            kept.append(index)
            masks.append(mask)
    return kept, np.stack(masks) if masks else np.zeros((0, 1, 1), np.uint8), dropped


def _row(ref: SequenceRef, root: Root, numbers: list[int], masks: np.ndarray, dropped: int) -> Row:
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
