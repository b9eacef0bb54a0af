"""The hazards of released gait data, each with its expected outcome.

A hazard is planted in the folder of one sequence of a sound tree of synthetic walkers (pictures.py, arrays.py and
folders.py in this folder). All other sequences of the tree must come out as they do without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.hazards import arrays, folders, pictures


@dataclass(frozen=True)
class Hazard:
    """A hazard, the layout in which it is planted, and the outcome of its sequence.

    - `unchanged`: a row with the same silhouettes, bit for bit;
    - `similar`: a row with nearly the same silhouettes;
    - `shortened`: a row without some frames, the others bit for bit; each file of a missing frame is a reject with one
      of `reasons`;
    - `rejected`: no row, and one reject with the one of `reasons`;
    - `absent`: neither a row nor a reject.
    """

    plant: Callable[[Path], None]
    collection: str
    layout: str
    outcome: Literal["unchanged", "similar", "shortened", "rejected", "absent"]
    reasons: tuple[str, ...] = ()
    stray: str = ""  # the reason of a reject for another folder, which the hazard adds
    added: tuple[str, str] = ("", "")  # the id of a row that the hazard adds, and its split

    @property
    def name(self) -> str:
        """The name of the hazard in test reports."""
        return self.plant.__name__


_RAW, _ALIGNED = ("CASIA-B", "released"), ("GREW", "released")  # pictures
_ARRAY, _ONE_OF_MANY = ("CASIA-B", "opengait"), ("CCPG", "opengait")  # pickles
_NAMED = ("CCPG", "released")  # pictures whose names may have any form
_UNRECOGNISED = "unrecognised folder"
_EXCHANGED = "body and background seem exchanged"

IN_PICTURES = (
    Hazard(pictures.black_frames, *_RAW, "shortened", ("nearly empty frame",) * 2),
    Hazard(pictures.specks_alone, *_RAW, "shortened", ("nearly empty frame",)),
    Hazard(pictures.black_sequence, *_RAW, "rejected", ("no usable frame",)),
    Hazard(pictures.zero_one_masks, *_RAW, "unchanged"),
    Hazard(pictures.zero_one_masks, *_ALIGNED, "unchanged"),
    Hazard(pictures.sixteen_bits, *_RAW, "unchanged"),
    Hazard(pictures.sixteen_bits, *_ALIGNED, "unchanged"),
    Hazard(pictures.three_channels, *_RAW, "unchanged"),
    Hazard(pictures.three_channels, *_ALIGNED, "unchanged"),
    Hazard(pictures.opaque_alpha, *_RAW, "unchanged"),
    Hazard(pictures.grey_edges, *_RAW, "unchanged"),
    Hazard(pictures.grey_edges, *_ALIGNED, "unchanged"),
    Hazard(pictures.one_bit, *_RAW, "unchanged"),
    Hazard(pictures.palette, *_RAW, "unchanged"),
    Hazard(pictures.jpeg_frames, *_RAW, "similar"),
    Hazard(pictures.jpeg_named_png, *_RAW, "similar"),
    Hazard(pictures.truncated_picture, *_RAW, "shortened", ("damaged image",)),
    Hazard(pictures.truncated_picture, *_ALIGNED, "shortened", ("damaged image",)),
    Hazard(pictures.truncated_picture, "CASIA-E", "released", "shortened", ("damaged image",)),
    Hazard(pictures.garbled_picture, *_RAW, "shortened", ("damaged image",)),
    Hazard(pictures.empty_file, *_RAW, "shortened", ("empty file",)),
    Hazard(pictures.page_named_png, *_RAW, "shortened", ("HTML page",)),
    Hazard(pictures.gif_named_png, *_RAW, "shortened", ("not a picture",)),
    Hazard(pictures.finder_companion, *_RAW, "unchanged"),
    Hazard(pictures.finder_companion, "CCPG", "released", "unchanged", ("not a picture",)),
    Hazard(pictures.picture_too_large, *_RAW, "shortened", ("picture too large",)),
    Hazard(pictures.frame_of_another_size, *_RAW, "similar"),
    Hazard(pictures.frame_of_another_size, *_ALIGNED, "rejected", ("frames of several sizes",)),
    Hazard(pictures.frames_of_fifty, *_ALIGNED, "rejected", ("not an aligned silhouette",)),
    Hazard(pictures.one_frame, *_RAW, "shortened"),
    Hazard(pictures.unpadded_numbers, *_RAW, "unchanged"),
    Hazard(pictures.folder_named_like_a_frame, *_RAW, "shortened", ("not a file",)),
    Hazard(pictures.dangling_link, *_RAW, "shortened", ("not a file",)),
    Hazard(pictures.link_to_itself, *_RAW, "shortened", ("not a file",)),
    Hazard(pictures.link_to_a_pipe, *_RAW, "shortened", ("not a file",)),
    Hazard(pictures.linked_frame, *_RAW, "unchanged"),
    Hazard(pictures.name_not_utf8, "CCPG", "released", "unchanged"),
    Hazard(pictures.damaged_and_name_not_utf8, "CCPG", "released", "shortened", ("damaged image",)),
    Hazard(pictures.white_background, *_RAW, "rejected", (_EXCHANGED,)),
    Hazard(pictures.white_background, *_ALIGNED, "rejected", (_EXCHANGED,)),
    Hazard(pictures.nearly_opaque_alpha, *_RAW, "unchanged"),
    Hazard(pictures.nearly_opaque_alpha, *_ALIGNED, "unchanged"),
    Hazard(pictures.alpha_of_one_pixel, *_RAW, "unchanged"),
    Hazard(pictures.alpha_against_the_colours, *_RAW, "rejected", ("alpha contradicts the colours",)),
    Hazard(pictures.cut_out_photograph, *_RAW, "unchanged"),
    Hazard(pictures.turned_by_exif, *_RAW, "similar"),
    Hazard(pictures.labels_zero_and_two, *_RAW, "unchanged"),
    Hazard(pictures.labels_zero_and_two, *_ALIGNED, "unchanged"),
    Hazard(pictures.labels_zero_and_a_hundred, *_RAW, "unchanged"),
    Hazard(pictures.a_thousand_in_sixteen_bits, *_RAW, "unchanged"),
    Hazard(pictures.void_at_the_border, *_RAW, "unchanged"),
    Hazard(pictures.line_at_one_side, *_RAW, "unchanged"),
    Hazard(pictures.third_label, *_RAW, "rejected", ("not a mask",)),
    Hazard(pictures.third_label, *_ALIGNED, "rejected", ("not an aligned silhouette",)),
    Hazard(pictures.dark_palette, *_RAW, "unchanged"),
    Hazard(pictures.over_a_photograph, *_RAW, "rejected", ("not a mask",)),
    Hazard(pictures.over_a_photograph, *_ALIGNED, "rejected", ("not an aligned silhouette",)),
    Hazard(pictures.photographs, *_RAW, "rejected", ("not a mask",)),
    Hazard(pictures.photographs, *_ALIGNED, "rejected", ("not an aligned silhouette",)),
    Hazard(pictures.confidence_in_the_name, *_NAMED, "unchanged"),
    Hazard(pictures.box_in_the_name, *_NAMED, "unchanged"),
    Hazard(pictures.box_before_the_number, *_NAMED, "unchanged"),
    Hazard(pictures.copy_of_a_frame, *_NAMED, "unchanged", ("copy",)),
    Hazard(pictures.copy_as_jpeg, "D-Gait", "released", "unchanged", ("copy",)),
    Hazard(pictures.another_frame_of_one_number, *_NAMED, "rejected", ("two frames of one number",)),
    Hazard(pictures.somebody_far_away, *_RAW, "unchanged"),
    Hazard(pictures.somebody_beside, *_RAW, "rejected", ("several bodies",)),
    Hazard(pictures.white_inside_a_dark_frame, *_RAW, "rejected", ("not a walking body",)),
    Hazard(pictures.outlines, *_RAW, "rejected", ("not a walking body",)),
    Hazard(pictures.lying, *_RAW, "rejected", ("not a walking body",)),
)

IN_ARRAYS = (
    Hazard(arrays.in_a_list, "GaitLU-1M", "released", "unchanged"),
    Hazard(arrays.channel_first, "GaitLU-1M", "released", "unchanged"),
    Hazard(arrays.channel_last, "GaitLU-1M", "released", "unchanged"),
    Hazard(arrays.list_of_frames, *_ONE_OF_MANY, "unchanged"),
    Hazard(arrays.zero_one_array, "GaitLU-1M", "released", "unchanged"),
    Hazard(arrays.truth_values, *_ARRAY, "unchanged"),
    Hazard(arrays.floats, *_ARRAY, "unchanged"),
    Hazard(arrays.grey_array, *_ARRAY, "unchanged"),
    Hazard(arrays.missing_frames, *_ONE_OF_MANY, "shortened", ("missing frame",) * 2),
    Hazard(arrays.missing_frames_in_an_array, *_ONE_OF_MANY, "shortened", ("missing frame",) * 2),
    Hazard(arrays.nan_values, *_ARRAY, "rejected", ("not an aligned silhouette",)),
    Hazard(arrays.no_frame_in_the_array, *_ARRAY, "rejected", ("no frames",)),
    Hazard(arrays.something_else_pickled, *_ARRAY, "rejected", ("not an array of frames",)),
    Hazard(arrays.array_of_fifty, *_ARRAY, "rejected", ("not an aligned silhouette",)),
    Hazard(arrays.cut_to_44_columns, "Gait3D", "opengait", "similar"),
    Hazard(arrays.twice_as_fine, "Gait3D", "opengait", "similar"),
    Hazard(arrays.carried_code, "GaitLU-1M", "released", "rejected", ("unreadable pickle",)),
    Hazard(arrays.truncated_array, *_ARRAY, "rejected", ("unreadable pickle",)),
    Hazard(arrays.empty_array_file, *_ARRAY, "rejected", ("empty file",)),
    Hazard(arrays.pipe_named_like_an_array, *_ARRAY, "rejected", ("not a file",)),
    Hazard(arrays.two_arrays, *_ARRAY, "rejected", ("several arrays",)),
    Hazard(arrays.other_modalities_missing, *_ONE_OF_MANY, "unchanged"),
    Hazard(arrays.other_modalities_missing, "CCGR", "released", "unchanged"),
    Hazard(arrays.other_modalities_missing, "Gait3D", "opengait", "unchanged"),
    Hazard(arrays.white_background_array, *_ARRAY, "rejected", (_EXCHANGED,)),
    Hazard(arrays.labels_in_an_array, *_ARRAY, "unchanged"),
    Hazard(arrays.time_last, *_ARRAY, "unchanged"),
    Hazard(arrays.lying_frames, *_ARRAY, "unchanged"),
    Hazard(arrays.three_equal_channels, "GaitLU-1M", "released", "unchanged"),
    Hazard(arrays.three_unequal_channels, "GaitLU-1M", "released", "rejected", ("not an array of frames",)),
    Hazard(arrays.time_in_the_middle, *_ARRAY, "rejected", ("unknown order of axes",)),
    Hazard(arrays.somebody_beside_in_an_array, *_ARRAY, "rejected", ("several bodies",)),
    Hazard(arrays.silhouettes_missing, "CCGR", "released", "rejected", ("no frames",)),
    Hazard(arrays.silhouettes_missing, "Gait3D", "opengait", "rejected", ("no frames",)),
)

IN_FOLDERS = (
    Hazard(folders.stray_files, *_RAW, "unchanged"),
    Hazard(folders.stray_files, *_ARRAY, "unchanged"),
    Hazard(folders.no_files, *_RAW, "rejected", ("no frames",)),
    Hazard(folders.no_files, *_ARRAY, "rejected", ("no frames",)),
    Hazard(folders.missing_sequence, *_RAW, "absent"),
    Hazard(folders.folder_of_another_name, *_RAW, "unchanged", stray=_UNRECOGNISED),
    Hazard(folders.folder_name_not_utf8, "RAGAR", "opengait", "unchanged", stray="name is not UTF-8"),
    Hazard(folders.linked_sequence, *_RAW, "unchanged"),
    Hazard(folders.linked_to_nothing, *_RAW, "rejected", ("no frames",)),
    Hazard(folders.linked_to_itself, *_RAW, "rejected", ("no frames",)),
    Hazard(folders.link_upwards, *_RAW, "unchanged", stray=_UNRECOGNISED),
    Hazard(folders.class_in_capitals, "Scoliosis1K", "released", "unchanged"),
    Hazard(folders.subject_of_no_list, "CCGR", "released", "unchanged", added=("CCGR/140/BGCL1/90_3.avi", "none")),
    Hazard(folders.distractors, *_ALIGNED, "unchanged", added=("GREW/distractor/distractor/edXJefi8", "none")),
    Hazard(folders.another_number_of_labels, "RAGAR", "opengait", "unchanged", stray=_UNRECOGNISED),
)

HAZARDS = IN_PICTURES + IN_ARRAYS + IN_FOLDERS
