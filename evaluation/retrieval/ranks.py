"""Exact ranks of the first correct sequence in a ranked list, mostly from approximate distances.

A rank needs no sorted list: it is one more than the number of sequences that are closer than the closest correct one.
Approximate distances with an error bound (evaluation/distances/screening.py) decide this for all but a few sequences;
those few are compared by exact distances in float64. So the ranks are those of exact arithmetic, whatever the block
sizes and the device.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.distances.metric import Metric, check_metric, paired_distances
from evaluation.distances.screening import Columns, Screen, empty_values
from evaluation.retrieval.sequences import Sequences

_PROBES = 512  # probes of one task of a thread
_PAIRS = 8  # pairs whose exact distances are computed at once
_GALLERY = 4096  # sequences of the gallery in memory at once, or one group


def first_match_ranks(
    sequences: Sequences,
    probes: NDArray[np.int64],
    groups: Sequence[NDArray[np.int64]],
    metric: Metric,
    max_rank: int = 5,
) -> NDArray[np.uint8]:
    """Rank of the first correct sequence of each probe in each group of the gallery, on its own.

    Among exactly equal distances the sequence with the smaller number comes first. Memory beside the result and
    `sequences`: all probes and one group (or several small ones), rounded to a byte a value.

    Args:
        sequences: the test set.
        probes: numbers of n sequences.
        groups: ascending numbers of the sequences of each of G groups.
        metric: see `distances`.
        max_rank: ranks up to this are distinguished; `max_rank` + 1 stands for all that are further down.

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
    # Allocated in one piece: the allocator would keep many small ones after they are freed.
    values = empty_values(len(probes), sequences.embeddings.shape, metric, device)

    def screen(rows: slice) -> Screen:
        return Screen.of(sequences.embeddings, probes[rows], metric, device, values[:, rows])

    threads = torch.get_num_threads()
    with _threads(threads) as pool:
        screens = list(pool.map(screen, blocks))
        for columns, members in _chunks(groups):
            gallery = _Gallery(sequences, members, codes, metric, device, threads)

            def rank(job: tuple[slice, Screen], gallery: _Gallery = gallery) -> NDArray[np.uint8]:
                return gallery.ranks(probes[job[0]], job[1], max_rank)

            for rows, found in zip(blocks, pool.map(rank, zip(blocks, screens, strict=True)), strict=True):
                result[rows, columns] = found
            del gallery, rank  # free this part of the gallery before the next one is read
    return result


@contextmanager
def _threads(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of as many threads as torch uses; within each, torch uses one.

    Blocks are small and independent: threads that each take a block wait for each other less than threads that share
    every product.
    """
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def _chunks(groups: Sequence[NDArray[np.int64]]) -> Iterator[tuple[slice, list[NDArray[np.int64]]]]:
    """Consecutive groups of _GALLERY sequences together at most (a larger group alone), and their columns."""
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
        self.by_subject = np.argsort(codes[self.members], kind="stable")
        self.columns = Columns(Screen.of(sequences.embeddings, self.members, metric, device))
        # Buffers for distances, one for each thread. Allocated anew for every block of probes, they would grow the
        # process by several times their size.
        self.buffers: SimpleQueue[Tensor] = SimpleQueue()
        for _ in range(threads):
            self.buffers.put(torch.empty((_PROBES, len(self.members)), dtype=torch.float32, device=device))

    def ranks(self, probes: NDArray[np.int64], screen: Screen, max_rank: int) -> NDArray[np.uint8]:
        """Ranks uint8 [k, groups] of k probes, by their numbers and rounded; k is at most _PROBES."""
        ranks = np.zeros((len(probes), len(self.bounds)), dtype=np.uint8)
        rows, columns = self._matches(probes)
        if not len(rows):
            return ranks
        with self._buffer() as buffer:
            distance = screen.distances(self.columns, buffer)
            for group, here in enumerate(self.bounds):
                pairs = slice(*np.searchsorted(columns, [here.start, here.stop]))
                if pairs.stop > pairs.start:
                    right = rows[pairs], columns[pairs] - here.start
                    reach = screen.margins + self.columns.margins[here].max()
                    matched = np.unique(right[0])
                    count = self._count(probes, self.members[here], distance[:, here], right, reach, max_rank)
                    ranks[matched, group] = np.minimum(count[matched], max_rank) + 1
        return ranks

    @contextmanager
    def _buffer(self) -> Iterator[Tensor]:
        buffer = self.buffers.get()
        try:
            yield buffer
        finally:
            self.buffers.put(buffer)

    def _matches(self, probes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of a probe and a member of the same subject, by their positions, in the order of the members."""
        sorted_codes, wanted = self.codes[self.members[self.by_subject]], self.codes[probes]
        first, end = (np.searchsorted(sorted_codes, wanted, side=side) for side in ("left", "right"))
        number = end - first
        rows = np.repeat(np.arange(len(probes)), number)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
        columns = self.by_subject[np.repeat(first, number) + within]
        order = np.argsort(columns, kind="stable")
        return rows[order], columns[order]

    def _count(
        self,
        probes: NDArray[np.int64],
        members: NDArray[np.int64],
        distance: Tensor,
        right: tuple[NDArray[np.int64], NDArray[np.int64]],
        reach: NDArray[np.float64],
        max_rank: int,
    ) -> NDArray[np.int64]:
        """Number of members before the first correct one of each probe, [k]; `max_rank` stands for more, too.

        distance: approximate [k, l], each off by `reach` [k] at most; those of the pairs `right` are overwritten.
        """
        where = tuple(torch.from_numpy(index).to(distance.device) for index in right)
        closest = torch.full((len(distance),), torch.inf, device=distance.device)
        closest.scatter_reduce_(0, where[0], distance[where], "amin")
        distance[where] = torch.inf
        # For most probes the nearest incorrect member decides: it is surely closer, or surely not.
        nearest = distance.amin(dim=1).double().cpu().numpy()
        matched = np.isin(np.arange(len(probes)), right[0])
        best = np.where(matched, closest.double().cpu().numpy(), 0)
        both = 2 * reach + 1e-6 * np.abs(best)
        low, high = best - both, best + both
        missed = (nearest < low) & (max_rank == 1)
        unsettled = matched & ~missed & ~(nearest > high)  # NaN distances are unsettled: they are computed exactly
        count = np.where(missed, 1, 0)
        rows = np.flatnonzero(unsettled)
        if len(rows):
            index = np.cumsum(unsettled) - 1
            kept = unsettled[right[0]]
            pairs = index[right[0][kept]], right[1][kept]
            limits = low[rows], high[rows]
            some = distance[torch.from_numpy(rows).to(distance.device)]
            count[rows] = self._count_exactly(probes[rows], members, some, pairs, limits, max_rank)
        return count

    def _count_exactly(
        self,
        probes: NDArray[np.int64],
        members: NDArray[np.int64],
        distance: Tensor,
        right: tuple[NDArray[np.int64], NDArray[np.int64]],
        limits: tuple[NDArray[np.float64], NDArray[np.float64]],
        max_rank: int,
    ) -> NDArray[np.int64]:
        """The same for unsettled probes: distances between their limits are computed exactly."""
        low, high = (torch.from_numpy(limit.astype(np.float32)).to(distance.device)[:, None] for limit in limits)
        surely = distance < low
        closer = surely.sum(dim=1, dtype=torch.int32)
        unsure = ~(surely | (distance > high)) & (closer < max_rank)[:, None]
        rows, columns = (index.cpu().numpy() for index in torch.nonzero(unsure, as_tuple=True))
        wrong = self.codes[probes[rows]] != self.codes[members[columns]]
        rows, columns = rows[wrong], columns[wrong]
        needed = np.isin(right[0], rows)
        row, column = right[0][needed], right[1][needed]
        exact = self._exact(probes[row], members[column])
        order = np.lexsort((column, exact))[::-1]  # written last: the closest, and the first of equal ones
        nearest, first = np.empty(len(probes)), np.empty(len(probes), dtype=np.int64)
        nearest[row[order]], first[row[order]] = exact[order], column[order]
        exact = self._exact(probes[rows], members[columns])
        before = (exact < nearest[rows]) | ((exact == nearest[rows]) & (columns < first[rows]))
        return closer.cpu().numpy().astype(np.int64) + np.bincount(rows[before], minlength=len(probes))

    def _exact(self, probes: NDArray[np.int64], members: NDArray[np.int64]) -> NDArray[np.float64]:
        """Exact distances of pairs of sequences, read a few at a time."""
        embeddings, result = self.sequences.embeddings, np.empty(len(probes))
        for start in range(0, len(probes), _PAIRS):
            some = slice(start, start + _PAIRS)
            result[some] = paired_distances(embeddings[probes[some]], embeddings[members[some]], self.metric)
        return result
