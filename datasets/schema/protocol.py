"""Protocols of retrieval as data: gallery, probe sets, and what they match on."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["probe", "gallery", "neither"]
NamedBy = Literal["condition", "part", "sequence", "joined"]
ProtocolKind = Literal[
    "view-pairs", "pooled", "pooled-other-views", "cross-view-gallery", "condition-pairs", "submission"
]


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """One line of a results table: which sequences are probes, and which form their gallery.

    The names in `probe` and `gallery` are whole conditions (`by="condition"`), strings that occur somewhere in a
    condition (`by="part"`), or single sequences, as `<subject>/<condition>/<view>` (`by="sequence"`) or, as OpenGait
    writes them, `<subject>-<condition>-<view>` (`by="joined"`: never taken apart, since each may hold a `-`). None
    stands for every sequence of the test split that the other set does not name. Only where pairs of conditions are
    compared may a condition be in both: it is not compared with itself. `kinds` are those of the protocol that score
    this set; all that the protocol names for its sets, where it is empty.
    """

    name: str
    probe: frozenset[str] | None
    gallery: frozenset[str] | None
    by: NamedBy = "condition"
    kinds: tuple[ProtocolKind, ...] = ()

    def __post_init__(self) -> None:
        assert self.probe is not None or self.gallery is not None, f"{self.name} names neither probes nor gallery"
        both = (self.probe or frozenset()) & (self.gallery or frozenset())
        alone = self.kinds == ("condition-pairs",) or not both
        assert alone, f"conditions that are probe and gallery of {self.name} would find themselves: {sorted(both)}"

    def is_probe(self, subject: str, condition: str, view: str) -> bool:
        """Whether one sequence of the test split is a probe of this set; all three strings as released."""
        if self.probe is None:
            return not self._named(self.gallery, subject, condition, view)
        return self._named(self.probe, subject, condition, view)

    def is_gallery(self, subject: str, condition: str, view: str) -> bool:
        """Whether it is in the gallery. By parts of conditions a sequence can be both: then it is a probe alone."""
        if self.gallery is None:
            return not self._named(self.probe, subject, condition, view)
        named = self._named(self.gallery, subject, condition, view)
        return named and (self.by != "part" or not self.is_probe(subject, condition, view))

    def role(self, subject: str, condition: str, view: str) -> Role:
        """What one sequence of the test split is in this set: a probe, where it is both."""
        walk = (subject, condition, view)
        return "probe" if self.is_probe(*walk) else "gallery" if self.is_gallery(*walk) else "neither"

    def _named(self, names: frozenset[str], subject: str, condition: str, view: str) -> bool:
        if self.by == "part":
            return any(name in condition for name in names)
        if self.by == "condition":
            return condition in names
        return ("/" if self.by == "sequence" else "-").join((subject, condition, view)) in names


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a collection is scored: its probe sets, and against which part of their gallery probes are compared.

    - `view-pairs`: each pair (probe view, gallery view) on its own, then averaged.
    - `pooled`: one ranked list from the whole gallery.
    - `pooled-other-views`: the same without the gallery sequences of the probe's own subject and view.
    - `cross-view-gallery`: as the latter, averaged within each probe view first.
    - `condition-pairs`: each pair (probe condition, gallery condition), as the mean of its pairs of views.
    - `submission`: no score, but a file of ranked lists for whoever knows the subjects of the probes.
    """

    probe_sets: tuple[ProbeSet, ...]
    kinds: tuple[ProtocolKind, ...] = ("view-pairs",)  # of the probe sets that name none themselves
    excluded_views: frozenset[str] = frozenset()  # their sequences are neither probe nor gallery
    view_until: str = ""  # views are compared by their names up to this string, whole where it is empty

    def scored(self) -> list[tuple[ProtocolKind, ProbeSet]]:
        """Every kind with every probe set that it scores, kind by kind."""
        kinds = dict.fromkeys([*self.kinds, *(kind for one in self.probe_sets for kind in one.kinds)])
        return [(kind, one) for kind in kinds for one in self.probe_sets if kind in (one.kinds or self.kinds)]

    def compared_view(self, view: str) -> str:
        """The name under which a view is compared with others."""
        return view.split(self.view_until)[0] if self.view_until else view
