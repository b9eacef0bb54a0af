"""Driver of synthetic walkers: Ray tasks write some walks each."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import ray

from datasets.schema.collection import Layout
from datasets.synthetic.film import Walk
from datasets.synthetic.trees import write_tree
from orchestration.cluster import session
from orchestration.cluster.progress import Progress

_WALKS = 64  # of a task


def write_trees(trees: Mapping[Path, tuple[Layout, Sequence[Walk]]], *, num_frames: int) -> int:
    """Write the walks of each folder as its layout has them, and count them. Ray must run on this machine alone."""
    session.start()
    total = sum(len(walks) for _, walks in trees.values())
    write = ray.remote(_write_some)
    running = [
        write.remote(folder.resolve(), layout, walks[start : start + _WALKS], num_frames)
        for folder, (layout, walks) in trees.items()
        for start in range(0, len(walks), _WALKS)
    ]
    with Progress("write", "walks", total) as progress:
        while running:
            (done,), running = ray.wait(running)
            progress.advance(ray.get(done))
    return total


def _write_some(folder: Path, layout: Layout, walks: Sequence[Walk], num_frames: int) -> int:
    """A Ray task."""
    return write_tree(folder, layout, walks, num_frames=num_frames)
