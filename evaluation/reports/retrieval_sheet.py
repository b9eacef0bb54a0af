"""Retrieval sheets: the silhouettes of some probes, each with its ranked gallery beside it, right and wrong marked.

They show what a number hides: who is taken for whom, in which clothes and from which side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from evaluation.figures import blank
from evaluation.retrieval.nearest import RankedGallery
from evaluation.retrieval.sequences import Sequences

RIGHT, WRONG, PROBE = (46, 139, 87), (196, 48, 48), (120, 120, 120)  # frames, red, green and blue of 255
PAPER, GROUND, BODY, INK = 255, 240, 40, "#333333"  # grey values, and the colour of letters
PROBE_FRAMES, GALLERY_FRAMES = 6, 2
SCALE = 2  # pixels of the sheet for one of a mask
BORDER, GAP, MARGIN = 6, 14, 20  # pixels: of a frame, between two, around everything
TITLE, HEADING, CAPTION = 44, 44, 60  # pixels of height
_LETTER = 8.6  # pixels of width of a letter in a caption, rather too wide
_DPI = 150  # of `blank`

Frames = Callable[[int], NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Probes under one heading."""

    heading: str
    rows: Sequence[RankedGallery]


def retrieval_sheet(title: str, groups: Sequence[Group], sequences: Sequences, frames_of: Frames, path: Path) -> None:
    """Draw each probe in a row of its own: PROBE_FRAMES of it, then GALLERY_FRAMES of each gallery sequence it has.

    Frames are the middles of equal stretches of time, since walks often begin and end at the edge of the picture; of a
    walk with fewer frames all are drawn. A gallery sequence of the probe's subject has a green border and a tick in its
    caption, another one a red border and a cross. Captions name subject, condition, view and distance, and the rank of
    the first match.

    Args:
        title: above all.
        groups: the rows, with a heading each; a group without rows keeps its heading.
        sequences: the names of the sequences.
        frames_of: the masks of a sequence by its number, uint8 [T, H, W] of 0 and 1, all of one height and width.
        path: its suffix chooses the format.

    Raises:
        ValueError: no rows, masks of several sizes, or a suffix that matplotlib cannot write.
        OSError: the folder does not exist or cannot be written.
    """
    rows = [row for group in groups for row in group.rows]
    if not rows:
        raise ValueError("no probes to draw")
    height, width = (SCALE * one for one in frames_of(rows[0].probe).shape[1:])
    most = max(len(row.gallery) for row in rows)
    step, first = GALLERY_FRAMES * width + 2 * BORDER + GAP, PROBE_FRAMES * width + 2 * BORDER + 2 * GAP
    tall = height + 2 * BORDER + CAPTION
    size = TITLE + len(groups) * HEADING + len(rows) * tall + MARGIN, 2 * MARGIN + first + max(most * step, 2 * step)
    picture = np.full((*size, 3), PAPER, dtype=np.uint8)
    figure = blank(width=size[1] / _DPI, height=size[0] / _DPI)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.text(MARGIN, MARGIN, title, fontsize=11, color=INK, va="top")
    top = TITLE
    for group in groups:
        axes.text(MARGIN, top + HEADING - 12, group.heading, fontsize=9, color=INK, weight="bold")
        top += HEADING
        for row in group.rows:
            walks = [(row.probe, PROBE_FRAMES, PROBE), *_gallery(row)]
            lefts = [MARGIN, *(MARGIN + first + index * step for index in range(len(row.gallery)))]
            for (number, count, colour), left in zip(walks, lefts, strict=True):
                tiles = _tiles(frames_of(number), count, (height // SCALE, width // SCALE))
                _paste(picture, tiles, count * width, colour, top, left)
            below = top + height + 2 * BORDER + 3
            _captions(axes, row, sequences, lefts, below, (step - GAP, first - 2 * GAP))
            top += tall
    axes.imshow(picture, interpolation="nearest", aspect="auto", extent=(0, size[1], size[0], 0))
    axes.set_axis_off()
    figure.savefig(path)


def _gallery(row: RankedGallery) -> list[tuple[int, int, tuple[int, int, int]]]:
    """Of each gallery sequence of a row: its number, the number of its frames, the colour around them."""
    colours = (RIGHT if right else WRONG for right in row.right)
    return [(number, GALLERY_FRAMES, colour) for number, colour in zip(row.gallery.tolist(), colours, strict=True)]


def _tiles(masks: NDArray[np.uint8], count: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """At most `count` frames beside each other, grey [SCALE * H, SCALE * W * frames]."""
    if masks.shape[1:] != shape:
        raise ValueError(f"expected masks of {shape[0]} x {shape[1]} pixels like the first ones, got {masks.shape}")
    frames = np.unique(((np.arange(count) + 0.5) / count * len(masks)).astype(int))
    grey = np.where(np.hstack(list(masks[frames])), np.uint8(BODY), np.uint8(GROUND))
    return grey.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def _paste(
    picture: NDArray[np.uint8], tiles: NDArray[np.uint8], width: int, colour: tuple[int, int, int], top: int, left: int
) -> None:
    """Put the frames of a walk, left in a box of `width` pixels with a border, into the picture at a corner."""
    height = len(tiles)
    picture[top : top + height + 2 * BORDER, left : left + width + 2 * BORDER] = colour
    inside = picture[top + BORDER : top + BORDER + height, left + BORDER : left + BORDER + width]
    inside[:] = PAPER
    inside[:, : tiles.shape[1]] = tiles[:, :, None]


def _captions(
    axes: Axes, row: RankedGallery, sequences: Sequences, lefts: list[int], top: int, widths: tuple[int, int]
) -> None:
    """Below each walk of a row, its names; below the probe also the rank of the first match."""
    narrow, wide = (int(width / _LETTER) for width in widths)
    where = "no match in the gallery"
    if row.first_right:
        hidden = "" if row.first_right <= len(row.gallery) else ", not shown"
        where = f"first match: rank {row.first_right:,}{hidden}"
    lines = [_named(row.probe, "probe", sequences, wide) + [where]]
    for rank, (number, right, distance) in enumerate(zip(row.gallery, row.right, row.distances, strict=True), 1):
        mark = f"{'✓' if right else '✗'} {rank}:"
        lines.append(_named(number, mark, sequences, narrow) + [f"distance {distance:.3g}"])
    colours = [INK, *(tuple(np.array(RIGHT if right else WRONG) / 255) for right in row.right)]
    for left, texts, colour in zip(lefts, lines, colours, strict=True):
        # Names are other people's: a dollar sign in them must not start a formula.
        axes.text(left, top, "\n".join(texts), fontsize=6.5, color=colour, va="top", linespacing=1.15, parse_math=False)


def _named(number: int, mark: str, sequences: Sequences, most: int) -> list[str]:
    """Two lines that name a walk, `most` letters long at most."""
    condition, view = sequences.conditions[number], sequences.views[number]
    lines = f"{mark} {sequences.subjects[number]}", f"{condition}  {view}"
    return [line if len(line) <= most else f"{line[: most // 2 - 1]}…{line[-(most - most // 2) :]}" for line in lines]
