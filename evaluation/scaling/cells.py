"""The record of a finished cell of a study, and records as arrays for the fits.

A record holds plain values: JSON keeps it, and any later version of the program reads it back.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import ConfigDict, TypeAdapter

from evaluation.scaling.by_subject import BySubject
from evaluation.scaling.runs import Runs

LOSS = "loss"
PARAMETERS_RULE = (
    "Parameters N are those of the Transformer's blocks (of the whole encoder for P3D); embeddings, registers, heads "
    "and the teacher are not counted."
)


@dataclass(frozen=True, kw_only=True)
class MeasuredCell:
    """One trained and measured run of a study.

    Attributes:
        trunk: what it shares with cells of other lengths.
        parameters: by `PARAMETERS_RULE`; those of the whole encoder and of the heads stand beside it.
        unique: different sequences that it could train on.
        seen: sequences seen in training, repetitions included.
        kept: the share of tubelets that became tokens; None for an encoder without tokens.
        flop: of the training, by `kept`.
        seconds: of this run alone, without what it shares with its trunk.
        speed: FLOP per second of training over all workers; None if it was not logged.
        measures: the held-out loss as `loss`, its terms as `loss/parts` and `loss/joint`, and errors in percent.
    """

    name: str
    trunk: str
    size: str
    seed: int
    steps: int
    batch: int
    parameters: int
    encoder: int
    heads: int
    unique: int
    seen: int
    epochs: float
    kept: float | None
    flop: float
    seconds: float
    speed: float | None
    measures: Mapping[str, BySubject]

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "MeasuredCell":
        """From what `to_json` wrote; ValueError (mostly pydantic's) for anything else."""
        # Of a list of one: pydantic takes no config for a dataclass. NaN is allowed, as the loss of a diverged run.
        adapter = TypeAdapter(list[MeasuredCell], config=ConfigDict(extra="forbid", strict=True))
        (cell,) = adapter.validate_json(b"[" + (text.encode() if isinstance(text, str) else text) + b"]")
        return cell


def common_measures(cells: Sequence[MeasuredCell]) -> list[str]:
    """The names of the measures that every cell has."""
    return [name for name in cells[0].measures if all(name in cell.measures for cell in cells)] if cells else []


def runs_of(cells: Sequence[MeasuredCell], name: str = LOSS) -> Runs:
    """The cells as runs with one of their measures as the loss. UsageError for values that no law can be fitted to."""
    measures = [cell.measures[name] for cell in cells]
    common = sorted(set.intersection(*(set(one.subjects) for one in measures)))
    columns = [[one.subjects.index(subject) for subject in common] for one in measures]
    by_subject = np.array([np.array(one.values)[column] for one, column in zip(measures, columns, strict=True)])
    return Runs(
        parameters=np.array([cell.parameters for cell in cells]),
        seen=np.array([cell.seen for cell in cells]),
        unique=np.array([min(cell.unique, cell.seen) for cell in cells]),
        flop=np.array([cell.flop for cell in cells]),
        loss=np.array([one.value for one in measures]),
        by_subject=by_subject if common else None,
        subject_weight=np.array(measures[0].weights)[columns[0]] if common else None,
        trunk=np.array([cell.trunk for cell in cells]),
    )
