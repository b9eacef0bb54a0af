"""Another partition of a collection: a published alternative by its name, or a JSON file as OpenGait writes them.

Such a file names the subjects of TRAIN_SET and TEST_SET, and may name sequences as PROBE_SET or GALLERY_SET.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Self

from pydantic import model_validator

from datasets.schema import strict_json
from datasets.schema.collection import CollectionSpec
from datasets.schema.errors import UsageError
from datasets.schema.protocol import ProbeSet, Protocol
from datasets.schema.strict_json import Filled, Names, some
from datasets.specs.spec_file import LEFT_OUT, SplitForm


class PartitionForm(SplitForm):
    """A partition file."""

    PROBE_SET: Annotated[Names, Filled] = LEFT_OUT
    GALLERY_SET: Annotated[Names, Filled] = LEFT_OUT

    @model_validator(mode="after")
    def _check_probes(self) -> Self:
        if both := (self.PROBE_SET or frozenset()) & (self.GALLERY_SET or frozenset()):
            raise ValueError(f"has sequences in PROBE_SET and in GALLERY_SET ({some(both)}): keep each in one of them")
        return self

    def probe_set(self, name: str) -> ProbeSet | None:
        """The probes and the gallery that the file names; None where it names neither."""
        if self.PROBE_SET is None and self.GALLERY_SET is None:
            return None
        return ProbeSet(name=name, probe=self.PROBE_SET, gallery=self.GALLERY_SET, by="joined")


def with_partition(spec: CollectionSpec, partition: str) -> CollectionSpec:
    """A collection split by another partition; probes and gallery are replaced where the file names any.

    partition: a name among `other_splits`, or the path of a JSON file. UsageError where it is neither, or for any
    mistake in the file.
    """
    if partition in spec.other_splits:
        return replace(spec, split=spec.other_splits[partition], partition=partition)
    if spec.other_splits and not Path(partition).exists():
        raise UsageError(
            f"{spec.name} has no published partition {partition!r}, and there is no such file: give one of "
            f"{', '.join(spec.other_splits)}, a JSON file, or nothing for the official one"
        )
    form = strict_json.read(PartitionForm, partition, f"--partition {spec.name}=<json>")
    return replace(spec, split=form.split(), protocol=_protocol(spec.protocol, form), partition=Path(partition).name)


def _protocol(protocol: Protocol | None, form: PartitionForm) -> Protocol | None:
    """The protocol with the probes and the gallery that a file names, where it names any."""
    before = protocol or Protocol(probe_sets=(), kinds=("pooled",))
    others = tuple(one for one in before.probe_sets if one.kinds)  # scored by other kinds: no such file replaces them
    replaced = [one.name for one in before.probe_sets if not one.kinds]
    probe_set = form.probe_set(replaced[0] if len(replaced) == 1 else "partition")
    return replace(before, probe_sets=(probe_set, *others)) if probe_set else protocol
