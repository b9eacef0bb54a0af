"""Labels and orders: which class a row has, which rows a step visits, the same for any number of workers."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datasets.loading import corpus
from datasets.loading.clips import ClipSettings
from datasets.loading.corpus import write_map
from datasets.loading.labelled import LabelledLoader, PKSampler, RoundRobinSampler
from datasets.loading.labels import MISSING, Label, class_indices, collections_with, labels_of, subjects_of
from datasets.schema.errors import UsageError
from datasets.store.reader import Store
from datasets.store.selection import Selection, training_tables


def rows_of(*labels: dict[str, str], subjects: str = "", collection: str = "X") -> pa.Table:
    who = list(subjects) or [str(number) for number in range(len(labels))]
    return pa.table(
        {
            "collection": pa.array([collection] * len(labels)),
            "subject": pa.array(who),
            "labels": pa.array([list(one.items()) for one in labels], pa.map_(pa.string(), pa.string())),
        }
    )


def test_classes_are_those_of_the_published_evaluator() -> None:
    rows = rows_of({"scoliosis": "positive"}, {"scoliosis": "negative"}, {"view": "x"})
    (label,) = labels_of("scoliosis", rows)
    assert label == Label("scoliosis", ("negative", "neutral", "positive"), ("positive",))
    assert class_indices([label], rows)[:, 0].tolist() == [2, 0, MISSING]
    rows = rows_of({"depression": "depressed"}, {"depression": "normal"})
    assert class_indices(labels_of("depression", rows), rows)[:, 0].tolist() == [1, 0]


def test_attributes_are_numbered_and_a_missing_one_is_no_class() -> None:
    rows = rows_of(
        {"attribute_2": "10", "attribute_10": "0"}, {"attribute_2": "9", "attribute_1": "1"}, {"attribute_10": "1"}
    )
    labels = labels_of("attributes", rows)
    assert [(one.name, one.classes) for one in labels] == [("attribute_2", ("9", "10")), ("attribute_10", ("0", "1"))]
    assert class_indices(labels, rows).tolist() == [[1, 0], [0, MISSING], [MISSING, 1]]  # attribute_1 has one class
    assert class_indices(labels, rows_of({"attribute_2": "11"})).tolist() == [[MISSING, MISSING]]


def test_people_are_of_their_collection() -> None:
    rows = pa.concat_tables([rows_of({}, {}, subjects="ab", collection=name) for name in "XY"])
    (label,) = labels_of("identification", rows)
    assert label.classes == ("X/a", "X/b", "Y/a", "Y/b")
    assert class_indices([label], rows)[:, 0].tolist() == [0, 1, 2, 3]
    assert collections_with("identification", rows) == ["X", "Y"]
    assert collections_with("scoliosis", rows) == []


def test_strange_and_lonely_classes_are_mistakes() -> None:
    with pytest.raises(UsageError, match="'scoliosis' has the value 'Severe', which is none of negative, neutral"):
        labels_of("scoliosis", rows_of({"scoliosis": "Severe"}, {"scoliosis": "negative"}))
    with pytest.raises(UsageError, match="fewer than two classes of scoliosis"):
        labels_of("scoliosis", rows_of({"scoliosis": "negative"}, {"scoliosis": "negative"}))
    with pytest.raises(UsageError, match="fewer than two subjects"):
        labels_of("identification", rows_of({}, {}, subjects="aa"))


def test_batches_are_whole_people() -> None:
    who = np.repeat([7, 3, -1, 5, 9, 11], [5, 2, 9, 4, 6, 4])
    sampler = PKSampler(who, batch=8, each=4, seed=1)
    seen = Counter()
    for step in range(2):  # five people, two a step: an epoch of two steps
        rows = sampler.at(step)
        grouped = who[rows].reshape(2, 4)
        assert (grouped == grouped[:, :1]).all() and grouped.min() > 0
        for one in rows.reshape(2, 4):
            assert len(set(one.tolist())) == min(4, (who == who[one[0]]).sum())  # again for want of others
        seen.update(grouped[:, 0].tolist())
    assert max(seen.values()) == 1 and len(seen) == 4
    assert sampler.at(1).tolist() == PKSampler(who, batch=8, each=4, seed=1).at(1).tolist()
    assert sampler.at(1).tolist() != PKSampler(who, batch=8, each=4, seed=2).at(1).tolist()
    assert (sampler.epoch(1), sampler.epoch(2)) == (0.0, 1.0)
    with pytest.raises(UsageError, match=r"set --schedule.batch to at most 20"):
        PKSampler(who, batch=24, each=4, seed=1)


def test_the_sequences_of_a_person_depend_on_nobody_else() -> None:
    who = np.repeat([0, 1, 2], [5, 6, 7])
    more = np.append(who, [0, 0])  # of one person two more
    rows, others = (PKSampler(one, batch=12, each=4, seed=1).at(2) for one in (who, more))
    assert sorted(rows[who[rows] > 0].tolist()) == sorted(others[more[others] > 0].tolist())


def test_classes_take_turns_however_rare() -> None:
    rare, frequent = np.arange(3), np.arange(3, 40)
    sampler = RoundRobinSampler([rare, frequent], batch=10, seed=1)
    visited = np.concatenate([sampler.at(step) for step in range(12)])
    assert np.isin(visited, rare).sum() == 60 and all(np.isin(sampler.at(step), rare).sum() == 5 for step in range(5))
    assert Counter(visited[np.isin(visited, rare)].tolist()) == dict.fromkeys(range(3), 20)
    others = visited[np.isin(visited, frequent)]
    assert len(set(others[:37].tolist())) == 37  # a permutation, and then another
    plain = RoundRobinSampler([np.arange(40)], batch=10, seed=1)
    assert sorted(np.concatenate([plain.at(step) for step in range(4)]).tolist()) == list(range(40))
    assert plain.epoch(6) == 1.5


def test_ranks_share_out_what_one_would_see(store: Path, tmp_path: Path) -> None:
    there = Store.open(store)
    write_map(training_tables(there, Selection(collections=("CASIA-B",))), there.specs(["CASIA-B"]), tmp_path)
    sequences = corpus.Corpus(tmp_path)
    rows = sequences.described()
    labels = class_indices(labels_of("identification", rows), rows)
    sampler = PKSampler(labels[:, 0], batch=16, each=4, seed=0)

    def loader(rank: int, ranks: int) -> LabelledLoader:
        return LabelledLoader(sequences, labels, sampler, ClipSettings(frames=4), 16, 0, rank, ranks)

    whole, halves = loader(0, 1).at(3), [loader(rank, 2).at(3) for rank in range(2)]
    for name in ("clips", "times", "labels"):
        joined = np.concatenate([getattr(one, name) for one in halves])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    assert whole.clips.shape == (16, 4, 64, 44) and set(np.unique(whole.clips)) == {0, 1}
    assert (np.unique(whole.labels[:, 0], return_counts=True)[1] == 4).all()
    assert [one.step for one in loader(0, 1).steps(2, 5)] == [2, 3, 4]
    named = [subjects_of(rows)[row].split("/")[1] for row in sampler.at(3)]
    assert [sorted(set(subjects_of(rows)))[label].split("/")[1] for label in whole.labels[:, 0]] == named
