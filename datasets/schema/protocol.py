"""Protocols of retrieval as data: gallery, probe sets, and what they match on.

datasets/schema/strict_json.py reads them from JSON by their types. So a mistake in one raises ValueError with a text
that continues the name of the key.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from datasets.schema.strict_json import Filled, Names, some

USABLE = re.compile(r"\w(?:[\w. -]*[\w.-])?")  # for names that become folders, ids and names of metrics

NamedBy = Literal["condition", "part", "sequence", "joined"]
ProtocolKind = Literal[
    "view-pairs", "pooled", "pooled-other-views", "cross-view-gallery", "condition-pairs", "submission"
]


def _check_usable(name: str) -> str:
    if not USABLE.fullmatch(name):
        raise ValueError("cannot be a name: use letters, digits, '-', '_', '.' and spaces within")
    return name


def _require_kind(protocol: object) -> object:
    """For JSON alone: code that builds a protocol may rely on the default."""
    if isinstance(protocol, dict) and "kind" not in protocol:
        raise ValueError(f"has no kind: one of {', '.join(get_args(ProtocolKind))}")
    return protocol


_Kinds = Annotated[
    tuple[ProtocolKind, ...],
    Strict(False),
    BeforeValidator(lambda kinds: [kinds] if isinstance(kinds, str) else kinds),
    Field(alias="kind"),
]


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """One line of a results table: which sequences are probes, and which are their gallery.

    The names in `probe` and `gallery` are whole conditions (`by="condition"`), strings that occur in a condition
    (`by="part"`), or single sequences: `<subject>/<condition>/<view>` (`by="sequence"`) or, as OpenGait writes them,
    `<subject>-<condition>-<view>` (`by="joined"`; such a name must not be split, since each part may hold a `-`). None
    means every sequence of the test split that the other set does not name. A condition may be in both sets for the
    kind `condition-pairs` alone, which does not compare a condition with itself. `kinds` score this set; where it is
    empty, the kinds of the protocol do.
    """

    name: Annotated[str, AfterValidator(_check_usable)]
    by: NamedBy = "condition"
    kinds: _Kinds = ()
    probe: Annotated[Names, Filled] | None = None
    gallery: Annotated[Names, Filled] | None = None

    def __post_init__(self) -> None:
        if self.probe is None and self.gallery is None:
            raise ValueError("needs a list of names as probe, gallery or both")
        both = (self.probe or frozenset()) & (self.gallery or frozenset())
        if both and self.kinds != ("condition-pairs",):
            raise ValueError(f"has {some(both)} as probe and as gallery: keep each in one of them")

    def is_probe(self, subject: str, condition: str, view: str) -> bool:
        """Whether a sequence of the test split is a probe; all three strings as released."""
        if self.probe is None:
            return not self._named(self.gallery, subject, condition, view)
        return self._named(self.probe, subject, condition, view)

    def is_gallery(self, subject: str, condition: str, view: str) -> bool:
        """Whether a sequence of the test split is in the gallery; by parts of conditions, a probe is not."""
        if self.gallery is None:
            return not self._named(self.probe, subject, condition, view)
        named = self._named(self.gallery, subject, condition, view)
        return named and (self.by != "part" or not self.is_probe(subject, condition, view))

    def _named(self, names: frozenset[str] | None, subject: str, condition: str, view: str) -> bool:
        names = names or frozenset()
        if self.by == "part":
            return any(name in condition for name in names)
        if self.by == "condition":
            return condition in names
        return ("/" if self.by == "sequence" else "-").join((subject, condition, view)) in names


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a collection is scored: its probe sets, and the part of the gallery that a probe is compared with.

    - `view-pairs`: each pair (probe view, gallery view) on its own; then the mean over the pairs.
    - `pooled`: one ranked list over the whole gallery.
    - `pooled-other-views`: the same without the gallery sequences of the probe's own subject and view.
    - `cross-view-gallery`: the same as `pooled-other-views`, averaged within each probe view first.
    - `condition-pairs`: each pair (probe condition, gallery condition), as the mean over its pairs of views.
    - `submission`: no score but a file of ranked lists, for the server that knows the subjects of the probes.
    """

    kinds: Annotated[_Kinds, Filled] = ("view-pairs",)  # of the probe sets that name none themselves
    probe_sets: Annotated[tuple[ProbeSet, ...], Strict(False), Filled]
    excluded_views: Names = frozenset()  # their sequences are neither probe nor gallery
    view_until: str = ""  # views are compared by their names up to this string; by whole names where it is empty

    def __post_init__(self) -> None:
        scored = [(kind, one.name) for kind, one in self.scored()]
        if len(set(scored)) < len(scored):
            raise ValueError("has two probe sets of one name: give each its own")
        if any(kind == "condition-pairs" and one.by != "condition" for kind, one in self.scored()):
            raise ValueError('has probe sets that must name whole conditions for the kind "condition-pairs"')

    def scored(self) -> list[tuple[ProtocolKind, ProbeSet]]:
        """Pairs of a kind and a probe set that it scores, kind by kind."""
        kinds = dict.fromkeys([*self.kinds, *(kind for one in self.probe_sets for kind in one.kinds)])
        return [(kind, one) for kind in kinds for one in self.probe_sets if kind in (one.kinds or self.kinds)]

    def compared_view(self, view: str) -> str:
        """The name by which a view is compared with others."""
        return view.split(self.view_until)[0] if self.view_until else view


ProtocolInJson = Annotated[Protocol, BeforeValidator(_require_kind)]
