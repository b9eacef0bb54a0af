"""The counts of one collection in a store, added up file by file, so that memory does not limit the store.

A `Summary` takes rows and rejects in any order and in tables of any size; its `result` goes into the collection's entry
in the manifest: plain values that survive JSON unchanged. Everything is counted in Arrow, never row by row in Python.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datasets.schema.rows import MODALITIES, SPLITS

KEPT_COLUMNS = [
    *("split", "subject", "condition", "view", "modality", "labels", "num_frames", "dropped_frames", "reading"),
]
LOST_COLUMNS = ["sequence_id", "source", "frame", "reason", "detail"]

COUNTED = ("sequences", "subjects", "frames")  # what publications report, and so what is compared
# Consecutive frames from which a training clip is drawn (datasets/loading/clips.py); shorter sequences wrap around.
WINDOW = 20
# First lengths of the histogram's bins: four per octave, the same for every collection; the last bin is open.
LENGTH_STARTS = tuple(sorted({round(WINDOW * 2 ** (step / 4)) for step in range(-18, 25)}))
EXAMPLES = 3  # rejects that are listed for each reason
MOST_FREQUENT = 12  # conditions and views that are listed

_UNMERGED = 1 << 16  # lines at least, before a tally merges them


class Summary:
    """The counts of one collection. published and anonymous: see CollectionSpec."""

    def __init__(self, published: Mapping[str, int], anonymous: str) -> None:
        self._published = dict(published)
        self._anonymous = anonymous
        self._subjects = _Tally(modality=pa.string(), split=pa.string(), subject=pa.string())
        self._lengths = _Tally(modality=pa.string(), split=pa.string(), num_frames=pa.int32())
        self._conditions = _Tally(condition=pa.string())
        self._views = _Tally(view=pa.string())
        self._labels = _Tally(label=pa.string(), value=pa.string())
        self._readings = _Tally(label=pa.string(), value=pa.string())
        self._dropped_frames = 0
        self._sequences_lost = _Losses()
        self._frames_lost = _Losses()

    def add(self, kept: pa.Table, lost: pa.Table) -> None:
        """Add some rows (KEPT_COLUMNS at least) and some rejects (LOST_COLUMNS at least) of the collection.

        All dropped frames of one sequence must be in one table, or a sequence may be an example twice.
        """
        for tally in (self._subjects, self._lengths, self._conditions, self._views):
            tally.add(kept)
        self._labels.add(_label_pairs(kept["labels"]))
        self._readings.add(_label_pairs(kept["reading"]))
        self._dropped_frames += pc.sum(kept["dropped_frames"]).as_py() or 0
        self._sequences_lost.add(lost.filter(pc.is_null(lost["frame"])))
        self._frames_lost.add(lost.filter(pc.is_valid(lost["frame"])))

    def result(self) -> dict[str, object]:
        """All counts so far. Unknown ones are None: a count that is not published, subjects of an anonymous collection.

        `splits` and `modalities` hold those that have sequences; tallies begin with the most frequent value. Counts are
        over all modalities, but published ones are of silhouettes, and are compared with those alone.
        """
        subjects, lengths = self._subjects.counts(), self._lengths.counts()
        counts = self._counts(subjects, lengths)
        modalities = self._by("modality", MODALITIES, subjects, lengths)
        compared = modalities.get("silhouette", dict.fromkeys(COUNTED) if modalities else counts)
        return {
            **counts,
            "anonymous_sequences": _total(subjects.filter(self._is_anonymous(subjects))["count"]),
            "splits": self._by("split", SPLITS, subjects, lengths),
            "modalities": modalities,
            "published": {what: _against(compared[what], self._published.get(what)) for what in COUNTED},
            "lengths": _length_numbers(lengths),
            "conditions": _frequent(self._conditions),
            "views": _frequent(self._views),
            "labels": _label_numbers(self._labels.counts()),
            "readings": _label_numbers(self._readings.counts()),
            "rejected_sequences": _total(self._sequences_lost.tally.counts()["count"]),
            "reject_reasons": _sorted_tally(self._sequences_lost.tally),
            "reject_examples": self._sequences_lost.examples(),
            "dropped_frames": self._dropped_frames,
            "dropped_frame_reasons": _sorted_tally(self._frames_lost.tally),
            "dropped_frame_examples": self._frames_lost.examples(),
        }

    def _by(self, column: str, values: Sequence[str], subjects: pa.Table, lengths: pa.Table) -> dict[str, dict]:
        """The counts for each of these values of a column, where it has sequences."""
        there = set(pc.unique(lengths[column]).to_pylist())
        found = [value for value in values if value in there]
        return {one: self._counts(_where(subjects, column, one), _where(lengths, column, one)) for one in found}

    def _counts(self, subjects: pa.Table, lengths: pa.Table) -> dict[str, int | None]:
        sequences = _total(lengths["count"])
        people = pc.count_distinct(subjects.filter(pc.invert(self._is_anonymous(subjects)))["subject"]).as_py()
        return {
            "sequences": sequences,
            "subjects": people if people or not sequences else None,
            "frames": _total(pc.multiply(lengths["num_frames"], lengths["count"])),
        }

    def _is_anonymous(self, subjects: pa.Table) -> pa.ChunkedArray:
        return pc.match_substring_regex(subjects["subject"], f"^(?:{self._anonymous})$")


def length_bins() -> list[str]:
    """The names of the histogram's bins in order: `5`, `20-23`, and `1280-` for the last."""
    ends = [start - 1 for start in LENGTH_STARTS[1:]]
    closed = [str(s) if s == e else f"{s}-{e}" for s, e in zip(LENGTH_STARTS, ends, strict=False)]
    return [*closed, f"{LENGTH_STARTS[-1]}-"]


class _Tally:
    """The number of rows for each combination of values of some columns, over all tables that were added.

    It grows with the number of combinations, which are kept in Arrow: in some collections every walk has another view.
    """

    def __init__(self, **columns: pa.DataType) -> None:
        self._columns = list(columns)
        self._merged = pa.schema([*columns.items(), ("count", pa.int64())]).empty_table()
        self._added: list[pa.Table] = []
        self._lines = 0  # of what was added

    def add(self, rows: pa.Table) -> None:
        counted = rows.select(self._columns).group_by(self._columns).aggregate([([], "count_all")])
        self._added.append(counted.rename_columns([*self._columns, "count"]))
        self._lines += counted.num_rows
        if self._lines > max(_UNMERGED, self._merged.num_rows):  # so that merges are rare
            self._merge()

    def counts(self) -> pa.Table:
        """Its columns and `count`, the most frequent combination first, then by name."""
        self._merge()
        return self._merged.sort_by([("count", "descending"), *((name, "ascending") for name in self._columns)])

    def _merge(self) -> None:
        every = pa.concat_tables([self._merged, *self._added])
        counted = every.group_by(self._columns).aggregate([("count", "sum")])
        self._merged = counted.rename_columns([*self._columns, "count"])
        self._added, self._lines = [], 0


class _Losses:
    """Rejects by reason, with the first few examples of each reason in order of sequence_id."""

    def __init__(self) -> None:
        self.tally = _Tally(reason=pa.string())
        self._first: dict[str, pa.Table] = {}

    def add(self, lost: pa.Table) -> None:
        self.tally.add(lost)
        for reason in pc.unique(lost["reason"]).to_pylist():
            mine = _where(lost, "reason", reason).select(LOST_COLUMNS)
            known = self._first.get(reason, mine.slice(0, 0))
            self._first[reason] = _first_of_each_sequence(pa.concat_tables([known, mine])).slice(0, EXAMPLES)

    def examples(self) -> dict[str, list[dict[str, str | None]]]:
        """By reason, the most frequent first: sequence_id, source, frame (None: all frames) and detail."""
        return {reason: self._first[reason].drop_columns("reason").to_pylist() for reason in _sorted_tally(self.tally)}


def _first_of_each_sequence(lost: pa.Table) -> pa.Table:
    """One reject of each sequence in order of sequence_id, so that examples are not three frames of one walk."""
    ordered = lost.sort_by([(name, "ascending") for name in ("sequence_id", "frame", "source", "detail")])
    ids = ordered["sequence_id"].combine_chunks()
    return ordered.filter(pa.concat_arrays([pa.array([True]), pc.not_equal(ids[1:], ids[:-1])]))


def _where(table: pa.Table, column: str, value: str) -> pa.Table:
    return table.filter(pc.equal(table[column], value))


def _total(column: pa.ChunkedArray) -> int:
    return pc.sum(column).as_py() or 0


def _against(found: int | None, published: int | None) -> dict[str, float | None]:
    """A published count, found minus published, and found as a share of published."""
    if found is None or published is None:
        return {"count": published, "difference": None, "share": None}
    return {"count": published, "difference": found - published, "share": found / published}


def _sorted_tally(tally: _Tally) -> dict[str, int]:
    counts = tally.counts()
    return dict(zip(*(column.to_pylist() for column in counts.columns), strict=True))


def _frequent(tally: _Tally) -> dict[str, object]:
    """The number of distinct values, and the counts of the most frequent ones."""
    counts = tally.counts()
    first = counts.slice(0, MOST_FREQUENT)
    return {
        "distinct": counts.num_rows,
        "most_frequent": dict(zip(*(column.to_pylist() for column in first.columns), strict=True)),
    }


def _label_pairs(labels: pa.ChunkedArray) -> pa.Table:
    """A row for each label of each sequence: its name and its value."""
    pair = pa.struct([("key", pa.string()), ("value", pa.string())])
    pairs = pc.list_flatten(labels.cast(pa.list_(pair)))  # not .keys and .items: these forget where a slice begins
    return pa.table({"label": pc.struct_field(pairs, "key"), "value": pc.struct_field(pairs, "value")})


def _label_numbers(counts: pa.Table) -> dict[str, dict[str, int]]:
    """The count of each value of each label."""
    names = sorted(pc.unique(counts["label"]).to_pylist(), key=lambda name: (len(name), name))  # x_2 before x_10
    of_name = {name: _where(counts, "label", name) for name in names}
    return {
        name: dict(zip(mine["value"].to_pylist(), mine["count"].to_pylist(), strict=True))
        for name, mine in of_name.items()
    }


def _length_numbers(counts: pa.Table) -> dict[str, object]:
    """Lengths of sequences in frames: exact minimum, median and maximum, and a histogram without empty bins."""
    by_length = counts.group_by("num_frames").aggregate([("count", "sum")]).sort_by("num_frames")
    lengths, sequences = (column.to_numpy() for column in by_length.columns)
    total = int(sequences.sum())
    numbers: dict[str, float | None] = {"min": None, "median": None, "max": None}
    if total:
        middle = lengths[np.searchsorted(np.cumsum(sequences), [(total - 1) // 2, total // 2], side="right")]
        numbers = {"min": int(lengths[0]), "median": float(middle.mean()), "max": int(lengths[-1])}
    which = np.searchsorted(LENGTH_STARTS, lengths, side="right") - 1
    bins = np.bincount(which, weights=sequences, minlength=len(LENGTH_STARTS)).astype(int).tolist()
    return {
        **numbers,
        "window": WINDOW,
        "shorter_than_window": int(sequences[lengths < WINDOW].sum()),
        "histogram": {name: count for name, count in zip(length_bins(), bins, strict=True) if count},
    }
