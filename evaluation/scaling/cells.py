"""What was measured of each run of a study, and the same as arrays for the fits.

A record is plain values, so that it can be kept as JSON and read back without the program that made it. It does not
know where it is kept, nor how a run is trained.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.scaling.heldout_loss import BySubject
from evaluation.scaling.runs import Runs

LOSS = "loss"
RULE = (
    "parameters N are those of the Transformer's blocks (of the whole encoder for P3D); embeddings, registers, heads "
    "and the teacher are not counted"
)


@dataclass(frozen=True, kw_only=True)
class MeasuredCell:
    """One run. parameters: by `RULE`; encoder and heads stand beside it.

    seen: sequences that training visited, each as often as it did; unique: the different ones that it had. flop: by
    the share of tubelets `kept` that became tokens in this run (None: no tokens). seconds: of this run alone, without
    what it shares with its trunk; speed: FLOP a second while it trained, over all workers, None where it is not known.
    measures: the loss against the bank as `loss`, its parts as `loss/parts` and `loss/joint`, and errors in percent.
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

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> "MeasuredCell":
        """From plain values."""
        lists = {
            name: {key: tuple(value) if isinstance(value, list) else value for key, value in one.items()}
            for name, one in data["measures"].items()
        }
        return cls(**{**data, "measures": {name: BySubject(**one) for name, one in lists.items()}})


def measured_in(cells: Sequence[MeasuredCell]) -> list[str]:
    """The names of all that was measured of every cell."""
    return [name for name in cells[0].measures if all(name in cell.measures for cell in cells)] if cells else []


def runs_of(cells: Sequence[MeasuredCell], name: str = LOSS) -> Runs:
    """The cells as runs with one of their measures as the loss. UsageError for values that no law can be fitted to."""
    measures = [cell.measures[name] for cell in cells]
    common = sorted(set.intersection(*(set(one.subjects) for one in measures)))
    places = [[one.subjects.index(subject) for subject in common] for one in measures]
    by_subject = np.array([np.array(one.values)[at] for one, at in zip(measures, places, strict=True)])
    return Runs(
        parameters=np.array([cell.parameters for cell in cells]),
        seen=np.array([cell.seen for cell in cells]),
        unique=np.array([min(cell.unique, cell.seen) for cell in cells]),
        flop=np.array([cell.flop for cell in cells]),
        loss=np.array([one.value for one in measures]),
        by_subject=by_subject if common else None,
        subject_weight=np.array(measures[0].weights)[places[0]] if common else None,
        trunk=np.array([cell.trunk for cell in cells]),
    )
