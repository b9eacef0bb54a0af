"""A small selection of walks of each collection: subjects of both official lists, and probes with their gallery.

A collection that has no cast here has the one that is derived from its entry (datasets/synthetic/generic_cast.py).
"""

from collections.abc import Callable, Iterator
from itertools import groupby, islice, product

from datasets.catalog import registry
from datasets.schema.collection import CollectionSpec
from datasets.schema.protocol import ProbeSet
from datasets.synthetic import scenes
from datasets.synthetic.film import Walk
from datasets.synthetic.generic_cast import cast_from


def cast_of(spec: CollectionSpec) -> Iterator[Walk]:
    """The walks of a collection, each a sequence."""
    return CASTS[spec.name]() if spec.name in CASTS else cast_from(spec)


def _casia_b() -> Iterator[Walk]:
    conditions = ("nm-01", "nm-02", "nm-05", "bg-01", "cl-01")
    for name in product(_subjects("CASIA-B", 3, 5), conditions, ("054", "090")):
        yield scenes.casia_b(*name)


def _casia_e() -> Iterator[Walk]:
    conditions = ("H-scene1-nm-1", "L-scene1-nm-2", "H-scene2-nm-1", "L-scene3-bg-1", "L-scene3_s-cl-2")
    views = ("045", "090", "270")  # the last is left out of the evaluation
    for name in product(_subjects("CASIA-E", 3, 5), conditions, views):
        yield scenes.casia_e(*name)


def _ccgr() -> Iterator[Walk]:
    """Subjects of one to four digits; of those to test on what CCGR-MINI puts into its gallery, and probes."""
    for name in product(_subjects("CCGR", 4, 0), ("NM1", "BGCL1"), ("90_3.avi", "22_5_1.avi", "over.avi")):
        yield scenes.ccgr(*name)
    mini = _probe_sets("CCGR")[0]
    for subject in _subjects("CCGR", 0, 6):
        names: set[tuple[str, ...]] = {(subject, *name) for name in product(("NM1", "NM2"), ("0_2.avi", "90_3.avi"))}
        names |= {tuple(name.split("/")) for name in mini.gallery or () if name.startswith(f"{subject}/")}
        for walk in sorted(names):
            yield scenes.ccgr(*walk)


def _ccpg() -> Iterator[Walk]:
    conditions = ("U0_D0", "U0_D0_BG", "U0_D3", "U1_D0", "U1_D1", "U2_D2", "U3_D3")
    for name in product(_subjects("CCPG", 2, 5), conditions, ("01_0", "08_1")):
        yield scenes.ccpg(*name)


def _d_gait() -> Iterator[Walk]:
    subjects = [*_subjects("D-Gait", 2, 3, "D"), *_subjects("D-Gait", 2, 3, "N")]
    for name in product(subjects, ("nm", "cl", "bg-cl"), ("A1-front", "D2-back")):
        yield scenes.d_gait(*name)


def _gait3d() -> Iterator[Walk]:
    """Of each test subject the official probe, and two walks that other cameras saw."""
    (probes,) = _probe_sets("Gait3D")
    official = {
        subject: (condition, view) for subject, condition, view in (key.split("/") for key in probes.probe or ())
    }
    for subject in _subjects("Gait3D", 6, 6):
        condition, view = official.get(subject, ("camid0_videoid2", "seq0"))
        yield scenes.gait3d(subject, condition, view)
        camera = int(condition.split("_")[0].removeprefix("camid"))
        for step in (9, 20):
            yield scenes.gait3d(subject, f"camid{(camera + step) % 39}_videoid10", f"seq{step % 2}")


def _gaitlu_1m() -> Iterator[Walk]:
    for number in range(24):
        yield scenes.gaitlu_1m(number)


def _grew() -> Iterator[Walk]:
    """Two walks each to train on, two of the gallery and two whose subject is hidden; numbers repeat between them."""
    for subject in ("00001", "00002", "00003", "00004", "00005", "00006"):
        known, hidden = f"{subject}train", f"{subject}test"
        for number in "12":
            yield scenes.grew(known, "00", number, known, f"train/{subject}")
            yield scenes.grew(subject, f"0{number}", number, hidden, f"test/gallery/{subject}")
            yield scenes.grew("probe", "03", f"{int(number) + 2}", hidden, "test/probe")


def _ou_mvlp() -> Iterator[Walk]:
    for name in product(_subjects("OU-MVLP", 2, 5), ("00", "01"), ("000", "075", "270")):
        yield scenes.ou_mvlp(*name)


def _ragar() -> Iterator[Walk]:
    for number, subject in enumerate(_subjects("RAGAR", 4, 6)):
        conditions = [f"{count}_{(number + count) % 2}_{number % 3}_{number // 2 % 2}" for count in (1, 2)]
        for name in product(conditions, ("000", "090")):
            yield scenes.ragar(subject, *name)


def _scoliosis1k() -> Iterator[Walk]:
    """Three of each class, which follow each other by number, to train and to test on."""
    split = registry.find("Scoliosis1K").split
    for part in (split.train, split.test):
        walks = map(scenes.scoliosis1k, sorted(part))
        for _, of_class in groupby(walks, key=lambda walk: walk.condition):
            yield from islice(of_class, 3)


def _sustech1k() -> Iterator[Walk]:
    conditions = ("00-nm", *(f"01-{covariate}" for covariate in ("nm", "bg", "cl", "cr", "ub", "uf", "oc", "nt")))
    for name in product(_subjects("SUSTech1K", 2, 5), conditions, ("045", "000-far")):
        yield scenes.sustech1k(*name)


def _probe_sets(collection: str) -> tuple[ProbeSet, ...]:
    protocol = registry.find(collection).protocol
    return protocol.probe_sets if protocol else ()


def _subjects(collection: str, train: int, test: int, start: str = "") -> list[str]:
    """The first subjects of both official lists whose names start so."""
    split = registry.find(collection).split
    known, new = ([one for one in sorted(part) if one.startswith(start)] for part in (split.train, split.test))
    return known[:train] + new[:test]


CASTS: dict[str, Callable[[], Iterator[Walk]]] = {
    "CASIA-B": _casia_b,
    "CASIA-E": _casia_e,
    "CCGR": _ccgr,
    "CCPG": _ccpg,
    "D-Gait": _d_gait,
    "GREW": _grew,
    "Gait3D": _gait3d,
    "GaitLU-1M": _gaitlu_1m,
    "OU-MVLP": _ou_mvlp,
    "RAGAR": _ragar,
    "SUSTech1K": _sustech1k,
    "Scoliosis1K": _scoliosis1k,
}
