"""At which place of a ranked list the first correct sequence stands: exact ranks without exact distances.

A rank needs no sorted list: it is one more than the number of sequences that are closer than the closest correct one.
Approximate distances with a margin (evaluation/screen.py) settle this for all but a few sequences; those are measured
exactly, in float64. So the ranks are those of exact arithmetic, whatever the block sizes and the device. It does not
know how a protocol groups its gallery.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.distances import Metric, check_metric, paired_distances
from evaluation.screen import Screen
from evaluation.sequences import Sequences

_PROBES = 512  # a unit of work
_PAIRS = 256  # copied at once, to be measured exactly
_GALLERY = 4096  # sequences of the gallery in memory at once, or one group


def first_match_ranks(
    sequences: Sequences,
    probes: NDArray[np.int64],
    groups: Sequence[NDArray[np.int64]],
    metric: Metric,
    most: int = 5,
) -> NDArray[np.uint8]:
    """Rank of the first correct sequence of each probe in each group of the gallery, on its own.

    Among exactly equal distances the sequence with the smaller number comes first. In memory are, beside the result:
    all probes rounded to a byte a value, and one group (or several small ones) as it is given.

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
    threads = torch.get_num_threads()
    blocks = [slice(start, start + _PROBES) for start in range(0, len(probes), _PROBES)]
    # A thread for each block of probes, not for each product: the blocks are small, and share nothing.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        screens = list(pool.map(lambda rows: Screen.of(sequences.embeddings[probes[rows]], metric, device), blocks))
        for columns, members in _chunks(groups):
            gallery = _Gallery(sequences, members, codes, metric, device)

            def rank(job: tuple[slice, Screen], gallery: _Gallery = gallery) -> NDArray[np.uint8]:
                return gallery.ranks(probes[job[0]], job[1], most)

            for rows, found in zip(blocks, pool.map(rank, zip(blocks, screens, strict=True)), strict=True):
                result[rows, columns] = found
    torch.set_num_threads(threads)
    return result


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
    """A few groups of the gallery in memory, as they are and rounded."""

    def __init__(
        self,
        sequences: Sequences,
        groups: list[NDArray[np.int64]],
        codes: NDArray[np.int64],
        metric: Metric,
        device: torch.device,
    ) -> None:
        self.sequences, self.codes, self.metric = sequences, codes, metric
        self.ends = np.cumsum([len(group) for group in groups])
        self.group = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        members = np.concatenate(groups)
        self.subjects = torch.from_numpy(codes[members]).to(device)
        self.embeddings = sequences.embeddings[members]
        self.screen = Screen.of(self.embeddings, metric, device)

    def ranks(self, probes: NDArray[np.int64], screen: Screen, most: int) -> NDArray[np.uint8]:
        """Ranks uint8 [k, groups] of k probes, by their numbers and rounded."""
        device = self.subjects.device
        same = torch.from_numpy(self.codes[probes]).to(device)[:, None] == self.subjects
        rows, columns = (index.cpu().numpy() for index in torch.nonzero(same, as_tuple=True))
        ranks = np.zeros((len(probes), len(self.ends)), dtype=np.uint8)
        if not len(rows):
            return ranks
        x = self.sequences.embeddings[probes]
        exact = _exact(x, self.embeddings, rows, columns, self.metric)
        best, best_column = np.full(ranks.shape, -np.inf), np.zeros(ranks.shape, dtype=np.int64)
        order = np.lexsort((columns, exact))[::-1]  # written last: the closest, and among equal ones the first
        cell = (rows[order], self.group[columns[order]])
        best[cell], best_column[cell] = exact[order], columns[order]
        approximate = screen.distances(self.screen)
        start = 0
        for group, end in enumerate(self.ends.tolist()):
            matched = best[:, group] > -np.inf
            if matched.any():
                here = slice(start, end)
                limit = np.where(matched, best[:, group], 0)
                reach = screen.margins + self.screen.margins[here].max() + 1e-6 * limit
                low, high = (
                    torch.from_numpy((limit + sign * reach).astype(np.float32)).to(device)[:, None] for sign in (-1, 1)
                )
                surely = approximate[:, here] < low
                count = surely.sum(dim=1).cpu().numpy()
                # Written so that a distance that is no number is measured, too.
                unsure = ~(surely | (approximate[:, here] > high) | same[:, here])
                unsure &= torch.from_numpy(matched & (count < most)).to(device)[:, None]
                row, column = (index.cpu().numpy() for index in torch.nonzero(unsure, as_tuple=True))
                column = column + start
                distance = _exact(x, self.embeddings, row, column, self.metric)
                first = (distance == limit[row]) & (column < best_column[row, group])
                closer = (distance < limit[row]) | first
                count = count + np.bincount(row[closer], minlength=len(count))
                ranks[matched, group] = np.minimum(count[matched], most) + 1
            start = end
        return ranks


def _exact(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    metric: Metric,
) -> NDArray[np.float64]:
    """Exact distances of the pairs (x[row], y[column]), a few copied at a time."""
    result = np.empty(len(rows))
    for start in range(0, len(rows), _PAIRS):
        some = slice(start, start + _PAIRS)
        result[some] = paired_distances(x[rows[some]], y[columns[some]], metric)
    return result
