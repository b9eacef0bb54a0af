"""At which place of a ranked list the first correct sequence stands: exact ranks without exact distances.

A rank needs no sorted list: it is one more than the number of sequences that are closer than the closest correct one.
Approximate distances with a margin (evaluation/screen.py) settle this for all but a few sequences; those are measured
exactly, in float64. So the ranks are those of exact arithmetic, whatever the block sizes and the device. It does not
know how a protocol groups its gallery.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.distances import Metric, check_metric, paired_distances
from evaluation.screen import Screen, empty_values
from evaluation.sequences import Sequences

_PROBES = 256  # a unit of work
_PAIRS = 16  # copied at once, to be measured exactly
_GALLERY = 4096  # sequences of the gallery in memory at once, or one group


def first_match_ranks(
    sequences: Sequences,
    probes: NDArray[np.int64],
    groups: Sequence[NDArray[np.int64]],
    metric: Metric,
    most: int = 5,
) -> NDArray[np.uint8]:
    """Rank of the first correct sequence of each probe in each group of the gallery, on its own.

    Among exactly equal distances the sequence with the smaller number comes first. In memory are, beside the result and
    what `sequences` holds: all probes and one group (or several small ones), rounded to a byte a value.

    Args:
        sequences: the test set.
        probes: numbers of n sequences.
        groups: ascending numbers of the sequences of each of G groups.
        metric: see `distances`.
        most: ranks up to this are told apart; `most` + 1 stands for all that are further down.

    Returns:
        uint8 [n, G], 0 where the group has no sequence of the probe's subject.

    Raises:
        UsageError: unknown metric.
    """
    check_metric(metric)
    result = np.zeros((len(probes), len(groups)), dtype=np.uint8)
    if not len(probes):
        return result
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _, codes = np.unique(sequences.subjects, return_inverse=True)
    blocks = [slice(start, start + _PROBES) for start in range(0, len(probes), _PROBES)]
    # In one piece: many small ones would stay with the process when they are not needed any more.
    values = empty_values(len(probes), sequences.embeddings.shape, metric, device)

    def screen(rows: slice) -> Screen:
        return Screen.of(sequences.embeddings, probes[rows], metric, device, values[:, rows])

    threads = torch.get_num_threads()
    with _threads(threads) as pool:
        screens = list(pool.map(screen, blocks))
        for columns, members in _chunks(groups):
            gallery = _Gallery(sequences, members, codes, metric, device, threads)

            def rank(job: tuple[slice, Screen], gallery: _Gallery = gallery) -> NDArray[np.uint8]:
                return gallery.ranks(probes[job[0]], job[1], most)

            for rows, found in zip(blocks, pool.map(rank, zip(blocks, screens, strict=True)), strict=True):
                result[rows, columns] = found
            del gallery, rank  # before the next one is read
    return result


@contextmanager
def _threads(threads: int) -> Iterator[ThreadPoolExecutor]:
    """As many threads as torch has, for a block each and not for a product: blocks are small, and share nothing."""
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def _chunks(groups: Sequence[NDArray[np.int64]]) -> Iterator[tuple[slice, list[NDArray[np.int64]]]]:
    """Neighbouring groups, together not above _GALLERY sequences unless one is alone, and their columns."""
    start = size = 0
    for end, group in enumerate(groups):
        if end > start and size + len(group) > _GALLERY:
            yield slice(start, end), list(groups[start:end])
            start, size = end, 0
        size += len(group)
    if size:
        yield slice(start, len(groups)), list(groups[start:])


class _Gallery:
    """A few groups of the gallery in memory, rounded."""

    def __init__(
        self,
        sequences: Sequences,
        groups: list[NDArray[np.int64]],
        codes: NDArray[np.int64],
        metric: Metric,
        device: torch.device,
        threads: int,
    ) -> None:
        self.sequences, self.codes, self.metric = sequences, codes, metric
        ends = np.cumsum([len(group) for group in groups]).tolist()
        self.bounds = [slice(end - len(group), end) for end, group in zip(ends, groups, strict=True)]
        self.members = np.concatenate(groups)
        self.subjects = torch.from_numpy(codes[self.members]).to(device)
        self.screen = Screen.of(sequences.embeddings, self.members, metric, device)
        # Rooms for distances, one for each thread that asks at a time. Made anew for every block of probes, they would
        # grow the process by several times their size.
        self.rooms: SimpleQueue[Tensor] = SimpleQueue()
        for _ in range(threads):
            self.rooms.put(torch.empty((_PROBES, len(self.members)), dtype=torch.float32, device=device))

    def ranks(self, probes: NDArray[np.int64], screen: Screen, most: int) -> NDArray[np.uint8]:
        """Ranks uint8 [k, groups] of k probes, by their numbers and rounded; k is at most _PROBES."""
        room = self.rooms.get()
        try:
            return self._ranks(probes, screen, most, room)
        finally:
            self.rooms.put(room)

    def _ranks(self, probes: NDArray[np.int64], screen: Screen, most: int, room: Tensor) -> NDArray[np.uint8]:
        same = torch.from_numpy(self.codes[probes]).to(self.subjects.device)[:, None] == self.subjects
        ranks = np.zeros((len(probes), len(self.bounds)), dtype=np.uint8)
        if not same.any():
            return ranks
        approximate = screen.distances(self.screen, room)
        for group, here in enumerate(self.bounds):
            right = same[:, here]
            matched = right.any(dim=1).cpu().numpy()
            if matched.any():
                reach = screen.margins + self.screen.margins[here].max()
                count, unsure = _screened(approximate[:, here], right, torch.from_numpy(reach), most)
                count += self._closer(probes, here, right, unsure)
                ranks[matched, group] = np.minimum(count[matched], most) + 1
        return ranks

    def _closer(self, probes: NDArray[np.int64], here: slice, right: Tensor, unsure: Tensor) -> NDArray[np.int64]:
        """How many of the unsure sequences come before the first correct one, by exact distances, [k]."""
        closer = np.zeros(len(probes), dtype=np.int64)
        rows = torch.nonzero(unsure.any(dim=1))[:, 0]
        if not len(rows):
            return closer
        asked, known = probes[rows.cpu().numpy()], self.members[here]
        nearest, place = np.empty(len(rows)), np.empty(len(rows), dtype=np.int64)  # of the first correct one
        row, column = _nonzero(right[rows])
        distance = self._exact(asked[row], known[column])
        order = np.lexsort((column, distance))[::-1]  # written last: the closest, and the first of equal ones
        nearest[row[order]], place[row[order]] = distance[order], column[order]
        row, column = _nonzero(unsure[rows])
        distance = self._exact(asked[row], known[column])
        before = (distance < nearest[row]) | ((distance == nearest[row]) & (column < place[row]))
        closer[rows.cpu().numpy()] = np.bincount(row[before], minlength=len(rows))
        return closer

    def _exact(self, probes: NDArray[np.int64], members: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact distances of pairs of sequences, read a few at a time as they are needed."""
        embeddings, result = self.sequences.embeddings, np.empty(len(probes))
        for start in range(0, len(probes), _PAIRS):
            some = slice(start, start + _PAIRS)
            result[some] = paired_distances(embeddings[probes[some]], embeddings[members[some]], self.metric)
        return result


def _screened(distance: Tensor, right: Tensor, reach: Tensor, most: int) -> tuple[NDArray[np.int64], Tensor]:
    """How many sequences are surely closer than the first correct one, [k], and which ones may or may not be [k, l].

    distance: approximate [k, l], each off by `reach` [k] at most, and so is that of the correct sequences `right`.
    Where more than `most` - 1 are surely closer nothing more needs to be known, and nothing is unsure.
    """
    row, column = torch.nonzero(right, as_tuple=True)
    best = torch.full((len(distance),), torch.inf, device=distance.device)
    best.scatter_reduce_(0, row, distance[row, column], "amin")
    both = 2 * reach.to(best) + 1e-6 * best.abs()
    low, high = (torch.where(right.any(dim=1), best + sign * both, -torch.inf)[:, None] for sign in (-1, 1))
    surely = distance < low
    count = surely.sum(dim=1)
    # Written so that a distance that is no number is measured, too.
    unsure = ~(surely | (distance > high) | right) & (count < most)[:, None]
    return count.cpu().numpy(), unsure


def _nonzero(mask: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of what is true."""
    row, column = torch.nonzero(mask, as_tuple=True)
    return row.cpu().numpy(), column.cpu().numpy()
