"""One sequence, from its folder to its row: read, normalise, encode; or a reject with the reason.

The one place where layouts, silhouettes and contours meet. A bad sequence never raises: what is wrong with it becomes
a row of REJECT_SCHEMA. It knows nothing of Parquet and nothing of a cluster.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from datasets import contours, silhouettes
from datasets.layouts import Root, SequenceRef
from datasets.reading import Dropped, RawFrames, read
from datasets.schema import CollectionSpec, Unreadable

Row = dict[str, object]
Normalised = tuple[np.ndarray | None, str | None, str]  # mask, or None with a reason and a detail


@dataclass
class Harmonised:
    """What became of one sequence: a row, or None; and a reject for the sequence or for each frame it lost."""

    row: Row | None
    rejects: list[Row] = field(default_factory=list)


def harmonise(root: Root, ref: SequenceRef) -> Harmonised:
    """One sequence as a row of SEQUENCE_SCHEMA with rejects for its dropped frames, or as one reject."""
    try:
        if root.layout.aligned:
            raw = read(root, ref, np.asarray)
            kept, masks, dropped = _aligned(raw)
        else:
            raw = read(root, ref, _normalise)
            kept, masks, dropped = _normalised(raw)
    except Unreadable as error:
        return Harmonised(None, [_reject(ref, None, error.reason, error.detail)])
    dropped = raw.unreadable + dropped
    if not kept:
        reasons = Counter(reason for _, reason, _ in dropped)
        seen = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        return Harmonised(None, [_reject(ref, None, "no usable frame", seen or "an empty array")])
    numbers = [raw.numbers[i] for i in kept]
    if len(set(numbers)) < len(numbers):
        (number, count), *_ = Counter(numbers).most_common(1)
        return Harmonised(None, [_reject(ref, None, "frames with one number", f"{count} frames are number {number}")])
    row = _row(ref, root.spec, numbers, masks, len(dropped))
    return Harmonised(row, [_reject(ref, *frame) for frame in dropped])


def _aligned(raw: RawFrames[np.ndarray]) -> tuple[list[int], np.ndarray, list[Dropped]]:
    """Frames of an aligned release, all kept as they are: indices, masks [T, G, G], nothing dropped."""
    if not raw.frames:
        return [], np.zeros((0, 1, 1), np.uint8), []
    shapes = Counter(frame.shape[:2] for frame in raw.frames)
    if len(shapes) > 1:
        raise Unreadable("frames of several sizes", ", ".join(map(str, shapes)))
    try:
        masks = silhouettes.aligned_masks(np.stack([silhouettes.one_channel(frame) for frame in raw.frames]))
    except ValueError as error:
        raise Unreadable("not an aligned silhouette", str(error)) from error
    if not masks.any():
        raise Unreadable("no usable frame", f"{len(masks)} empty frames")
    return list(range(len(masks))), masks, []


def _normalise(frame: np.ndarray) -> Normalised:
    """One raw frame on the canonical grid."""
    try:
        mask, reason = silhouettes.normalise(silhouettes.to_grey(frame))
    except ValueError as error:
        return None, "not a mask", str(error)
    return mask, reason, f"{frame.shape[1]}x{frame.shape[0]} pixels"


def _normalised(raw: RawFrames[Normalised]) -> tuple[list[int], np.ndarray, list[Dropped]]:
    """Raw frames, each normalised on its own: indices of the kept ones, their masks [T, G, G], the dropped ones."""
    kept, masks, dropped = [], [], []
    for index, (name, (mask, reason, detail)) in enumerate(zip(raw.names, raw.frames, strict=True)):
        if mask is None:
            dropped.append((name, reason, detail))
        else:
            kept.append(index)
            masks.append(mask)
    return kept, np.stack(masks) if masks else np.zeros((0, 1, 1), np.uint8), dropped


def _row(ref: SequenceRef, spec: CollectionSpec, numbers: list[int], masks: np.ndarray, dropped: int) -> Row:
    coded = contours.encode(masks)
    return {
        "sequence_id": ref.sequence_id,
        "collection": spec.name,
        "split": spec.split.of(ref.subject),
        "subject": ref.subject,
        "condition": ref.condition,
        "view": ref.view,
        "modality": "silhouette",
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
