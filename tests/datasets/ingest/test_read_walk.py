"""A folder of silhouettes as input of an encoder."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

from datasets.contours import codec
from datasets.contours.codec import contours_of
from datasets.ingest.read_walk import read_walk
from datasets.preprocessing.encoder_input import to_input
from datasets.schema.errors import UsageError
from datasets.store.reader import Store


def test_a_folder_gives_what_its_row_in_a_store_holds(walks: Path, store: Path) -> None:
    (row,) = [one for one in Store.open(store).rows().to_pylist() if one["source"] == "001/nm-01/090"]
    frames, numbers = read_walk(walks / "CASIA-B/001/nm-01/090")
    np.testing.assert_array_equal(frames, to_input(codec.decode(contours_of(row))))
    assert numbers.tolist() == row["frame_numbers"]


def test_arrays_and_aligned_pictures_are_taken_as_they_are(tmp_path: Path) -> None:
    masks = np.zeros((3, 64, 64), np.uint8)
    masks[:, 5:60, 20:40] = 255
    (tmp_path / "array").mkdir()
    (tmp_path / "array/walk.pkl").write_bytes(pickle.dumps(masks))
    (tmp_path / "pictures").mkdir()
    for number, mask in enumerate(masks):
        cv2.imwrite(str(tmp_path / f"pictures/{number}.png"), mask)
    for frames, _ in (read_walk(tmp_path / "array"), read_walk(tmp_path / "pictures", aligned=True)):
        np.testing.assert_array_equal(frames, masks[:, :, 10:54] > 0)


def test_a_folder_without_a_walk_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no silhouettes: give a folder of PNG or JPEG masks"):
        read_walk(tmp_path)
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((240, 320), np.uint8))
    with pytest.raises(UsageError, match="holds no walk: no usable frame, 1 nearly empty frame"):
        read_walk(tmp_path)
