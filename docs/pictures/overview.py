"""python -m docs.pictures.overview --release <folder>: draws docs/pictures/overview.png from synthetic walkers.

Silhouettes of a probe, the tubelets that become its tokens, and the gallery as the released encoder ranks it.
"""

import argparse
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from datasets.catalog.registry import find
from datasets.ingest.read_walk import read_walk
from datasets.synthetic import scenes
from datasets.synthetic.trees import write_tree
from evaluation.figures import PALETTE, blank
from model.release import load_release
from model.tokens import TUBELET_HEIGHT, TUBELET_WIDTH, tokenise

SUBJECTS = [f"{number:03d}" for number in range(75, 87)]
PROBE = ("080", "nm-05", "054")  # from another side than the gallery
GALLERY = ("nm-01", "090")
SHOWN = 5  # of the gallery
RIGHT, WRONG = "#2e8b57", "#c43030"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", required=True)
    parser.add_argument("--out", default="docs/pictures/overview.png")
    arguments = parser.parse_args()
    names = [PROBE, *product(SUBJECTS, GALLERY[:1], GALLERY[1:])]
    with tempfile.TemporaryDirectory() as made:
        write_tree(Path(made), find("CASIA-B").layouts[0], [scenes.casia_b(*name) for name in names], num_frames=30)
        walks = [read_walk(Path(made).joinpath(*name)) for name in names]
    embeddings = load_release(arguments.release).embed(walks)
    distances = np.linalg.norm(embeddings[1:] - embeddings[:1], axis=1).mean(axis=1)
    ranked = np.argsort(distances)[:SHOWN]
    figure = blank(12, 1.8)
    panels = figure.subplots(1, 3, width_ratios=(4, 4, 6))
    _frames(panels[0], walks[0][0][:8:2], "silhouettes of a walk")
    _tokens(panels[1], walks[0])
    _ranking(panels[2], [(walks[1 + one][0][10], SUBJECTS[one]) for one in ranked])
    figure.savefig(arguments.out)


def _frames(axes: Axes, frames: np.ndarray, title: str) -> None:
    """Frames uint8 [T, H, W] side by side."""
    axes.imshow(1 - np.hstack(list(frames)), cmap="gray", vmin=0, vmax=1.1, interpolation="nearest")
    axes.set_title(title, fontsize=11)
    axes.set_axis_off()


def _tokens(axes: Axes, walk: tuple[np.ndarray, np.ndarray]) -> None:
    """The tubelets that a contour crosses, in the colour of their body part of eight."""
    frames, numbers = walk[0][:8], walk[1][:8]
    tokens, kept = tokenise(torch.from_numpy(frames)[None], torch.from_numpy(numbers)[None])
    pale = 0.15 * frames[::2]
    _frames(axes, pale, f"contour tokens: {kept:.0%} of the tubelets")
    steps = torch.unique(tokens.time)
    for time, row, column in zip(tokens.time, tokens.row, tokens.column, strict=True):
        left = int((steps == time).nonzero()) * frames.shape[2] + int(column) * TUBELET_WIDTH - 0.5
        top, colour = int(row) * TUBELET_HEIGHT - 0.5, PALETTE[int(row) // 2 % len(PALETTE)]
        size = (TUBELET_WIDTH, TUBELET_HEIGHT)
        axes.add_patch(Rectangle((left, top), *size, facecolor=colour, edgecolor="white", lw=0.4))


def _ranking(axes: Axes, gallery: list[tuple[np.ndarray, str]]) -> None:
    """The gallery from the nearest on; green: of the probe's subject."""
    gap = np.zeros((gallery[0][0].shape[0], 8), np.uint8)
    _frames(axes, np.hstack([np.hstack([frame, gap]) for frame, _ in gallery])[None], "the gallery, nearest first")
    height, width = gallery[0][0].shape
    for place, (_, subject) in enumerate(gallery):
        colour = RIGHT if subject == PROBE[0] else WRONG
        left = place * (width + gap.shape[1])
        axes.add_patch(Rectangle((left - 0.5, -0.5), width, height, fill=False, edgecolor=colour, lw=2.5))
        axes.text(
            left + width / 2, height + 6, f"{place + 1}. subject {subject}", ha="center", fontsize=8, color=colour
        )


if __name__ == "__main__":
    main()
