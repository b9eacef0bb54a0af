"""Which collections of a store a run is scored on, and what kind of stranger their subjects are to it.

Knows nothing of embeddings or of scores.
"""

from typing import Literal

from datasets import storage
from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError
from datasets.schema.protocol import ProtocolKind
from datasets.specs import custom
from datasets.specs.resolve import from_manifest
from datasets.store.reader import read_manifest
from orchestration.run import settings

ZeroShot = Literal["unseen subjects", "unseen collection", "not known"]


def zero_shot(run: settings.PretrainRun, collection: str) -> ZeroShot:
    """What makes scores on a collection zero-shot: its subjects alone were not trained on, or nothing of it was.

    Published weights saw the TRAIN split of all twelve collections. Of a run on all of a store that is not there any
    more nobody knows.
    """
    if run.start is not None and not custom.is_custom(collection):
        return "unseen subjects"
    if not run.schedule.steps:
        return "unseen collection"
    if run.data.collections is not None:
        trained_on = set(run.data.collections)
    else:
        try:
            entries = read_manifest(storage.open_place(run.shards))["collections"]
        except UsageError:
            return "not known"
        trained_on = {name for name, entry in entries.items() if "train" in entry["splits"]}
    return "unseen subjects" if collection in trained_on else "unseen collection"


def scored(
    store: storage.Place, split: str, run: settings.PretrainRun, wanted: tuple[ProtocolKind, ...] = ()
) -> list[CollectionSpec]:
    """The collections of a store with sequences of the split and a protocol, of a wanted kind if any are named."""
    manifest = read_manifest(store)
    entries = manifest["collections"]
    if split == "holdout":
        names = {subject.split("/")[0] for subject in run.data.holdout} & set(entries)
    else:
        names = {name for name, entry in entries.items() if split in entry["splits"]}
    specs = [from_manifest(manifest, name) for name in sorted(names)]
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
        print(line)
    return found


def _without_protocol(name: str) -> str:
    return (
        f"{name} has no protocol to be scored by: put `protocol` into a spec file and run the same ingest again, "
        f"with --spec {name}=<json> (docs/own-walks.md)"
    )
