"""The collections of a store on which a run is evaluated, and in what sense its results on them are zero-shot."""

import logging
from collections.abc import Iterable

from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError
from datasets.schema.protocol import ProtocolKind
from datasets.specs import custom
from datasets.store.reader import Store
from evaluation.reports.results import ZeroShot
from orchestration.run.settings import PretrainRun

logger = logging.getLogger(__name__)


def zero_shot(run: PretrainRun, names: Iterable[str]) -> dict[str, ZeroShot]:
    """In what sense results on each collection are zero-shot: its test subjects are unseen, or the whole collection.

    Published weights saw the TRAIN split of all twelve collections. Of a run on all of a store that does not exist any
    more it is not known.
    """
    found: dict[str, ZeroShot] = {}
    trained_on = _trained_on(run)
    for name in names:
        if run.start is not None and not custom.is_custom(name):
            found[name] = "unseen subjects"
        elif trained_on is None:
            found[name] = "not known"
        else:
            found[name] = "unseen subjects" if name in trained_on else "unseen collection"
    return found


def _trained_on(run: PretrainRun) -> set[str] | None:
    """The collections that a run was trained on; None where its store does not exist any more."""
    if not run.schedule.steps:
        return set()
    if run.data.collections is not None:
        return set(run.data.collections)
    try:
        entries = Store.open(run.shards).collections
    except UsageError:
        return None
    return {name for name, entry in entries.items() if "train" in entry["splits"]}


def scored(store: Store, split: str, run: PretrainRun, wanted: tuple[ProtocolKind, ...] = ()) -> list[CollectionSpec]:
    """The collections of a store with sequences of the split and a protocol, of a wanted kind if any are named."""
    entries = store.collections
    if split == "holdout":
        names = {subject.split("/")[0] for subject in run.data.holdout} & set(entries)
    else:
        names = {name for name, entry in entries.items() if split in entry["splits"]}
    specs = list(store.specs(sorted(names)).values())
    unscored = [_without_protocol(spec.name) for spec in specs if spec.protocol is None and custom.is_custom(spec.name)]
    kinds = {spec.name: {kind for kind, _ in spec.protocol.scored()} for spec in specs if spec.protocol is not None}
    found = [spec for spec in specs if spec.name in kinds and (not wanted or kinds[spec.name] & set(wanted))]
    if not found:
        other = "test" if split == "holdout" else "holdout"
        declared = sorted(set().union(*kinds.values()))
        fix = f"its protocols are of the kinds {', '.join(declared)}" if kinds else f"try --split {other}"
        if any(custom.is_custom(name) for name in entries):
            fix += ", or let a spec file say who is tested and how (docs/own-walks.md)"
        nothing = f"{store} has nothing to score in the split {split!r} of this run: {fix}"
        raise UsageError(unscored[0] if unscored else nothing)
    split_otherwise = [
        f"{spec.name} is split by {spec.partition}: compare its results with others on that partition alone"
        for spec in found
        if spec.partition
    ]
    for line in unscored + split_otherwise:
        logger.warning(line)
    return found


def _without_protocol(name: str) -> str:
    return (
        f"{name} has no protocol to be scored by: put `protocol` into a spec file and run the same ingest again, "
        f"with --spec {name}=<json> (docs/own-walks.md)"
    )
