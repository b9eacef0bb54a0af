"""Reads one walk from a folder of silhouettes as input of an encoder, without a store: for a first look at own data.

It reads and normalises as ingest does; where ingest would write a reject, it raises an error.
"""

from pathlib import Path

import numpy as np

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.ingest.layouts import Root, SequenceRef, frame_files
from datasets.ingest.sequence_to_row import ingest_sequence
from datasets.preprocessing.encoder_input import to_input
from datasets.schema.errors import UsageError
from datasets.specs import custom
from datasets.storage import open_place

_NAME = "walk"


def read_walk(folder: str | Path, aligned: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The frames of a folder, uint8 0/1 [T, HEIGHT, WIDTH], and their numbers, float32 [T].

    folder: masks as pictures, or one array of a walk. aligned: whether the pictures are aligned already, 64 or 128
    pixels high. UsageError for a folder without a walk.
    """
    spec, place = custom.default_spec(_NAME), open_place(folder)
    try:
        layout = next((one for one in custom.layouts(aligned, "silhouette") if frame_files(place, one)), None)
    except OSError as error:
        raise UsageError(f"{place} cannot be read: {error.strerror or error}") from error
    if layout is None:
        raise UsageError(
            f"{place} holds no silhouettes: give a folder of PNG or JPEG masks, or of one array (.npy, .pkl)"
        )
    ref = SequenceRef(_NAME, _NAME, "", _NAME, custom.UNNAMED, custom.UNNAMED, {})
    made = ingest_sequence(Root(spec, place, layout, 0), ref)
    if made.row is None:
        raise UsageError(f"{place} holds no walk: {made.rejects[0]['reason']}, {made.rejects[0]['detail']}")
    frames = to_input(codec.decode(contours_of(made.row)))
    return frames, np.asarray(made.row["frame_numbers"], dtype=np.float32)
