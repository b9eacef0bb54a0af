"""A user's own collection: the layouts in which it may lie, and what holds of it where no spec file says more.

Everything here is data of the kind that the catalog's entries are. What a spec file adds is read in spec_file.py; this
file knows nothing of JSON.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from datasets.catalog.registry import CATALOG
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split
from datasets.schema.errors import UsageError
from datasets.schema.rows import MODALITIES, Modality

UNNAMED = "none"  # the condition or the view of a tree that has no folder for it
NOT_STATED = "not stated"
USABLE = re.compile(r"\w(?:[\w. -]*[\w.-])?")  # for names that become folders, ids and names of metrics

_FOLDER = r"[^/.][^/]*"  # what begins with a dot was put there by some program
_PATHS = {
    "<subject>/<condition>/<view>": FolderPath(
        pattern=rf"(?P<subject>{_FOLDER})/(?P<condition>{_FOLDER})/(?P<view>{_FOLDER})"
    ),
    "<subject>/<condition>": FolderPath(
        pattern=rf"(?P<subject>{_FOLDER})/(?P<condition>{_FOLDER})",
        view=UNNAMED,
    ),
    "<subject>": FolderPath(pattern=rf"(?P<subject>{_FOLDER})", condition=UNNAMED, view=UNNAMED),
}
_EXAMPLE = ("001", "normal", "front")

# The number of a frame is the last run of digits in its name; a longer one is a time and does not fit the schema, so
# that such frames are in order of name, as those without digits.
_FRAME = r"(?!\.)(?:.*?(?<!\d)(?P<frame>\d{1,9})(?!\d)\D*|.*)"
_PICTURES = rf"{_FRAME}\.(?i:png|jpe?g)"
_LABEL_MAPS = rf"{_FRAME}\.(?i:png)"  # JPEG would smear one label into another
_JOINTS = rf"{_FRAME}\.(?i:txt|json)"
_ARRAY = r"[^.].*\.pkl"


def layouts(aligned: bool, modality: Modality | None = None) -> tuple[Layout, ...]:
    """The trees that are understood, the deepest first: to a shallower one each folder of it would be a sequence.

    aligned: the pictures are aligned already, 64 or 128 high; arrays always are. modality: of this one; of all if None.
    """
    some = MODALITIES if modality is None else (modality,)
    return tuple(layout for one in some for form in _PATHS for layout in _of_modality(one, form, aligned))


def _of_modality(modality: Modality, form: str, aligned: bool) -> tuple[Layout, Layout]:
    """The trees of one modality and depth: with a file a frame, and with an array a walk."""
    folder = "/".join(_EXAMPLE[: form.count("<")])
    skeletons, of_what = modality == "skeleton", "" if modality == "silhouette" else f" of {modality}"
    frames = Layout(
        name=f"{form}, {'text files' if skeletons else 'pictures'}{of_what}",
        kind="joints" if skeletons else "images",
        paths=(_PATHS[form],),
        file=_JOINTS if skeletons else _LABEL_MAPS if modality == "parsing" else _PICTURES,
        example=f"{folder}/0001.{'json' if skeletons else 'png'}",
        aligned=aligned,
        modality=modality,
    )
    name, example = f"{form}, arrays{of_what}", f"{folder}/walk.pkl"
    return frames, replace(frames, name=name, kind="pickle", file=_ARRAY, example=example, aligned=True)


def default_spec(name: str) -> CollectionSpec:
    """What holds of a collection of which nothing is said: raw masks, and every subject to train on."""
    return CollectionSpec(
        name=name,
        title=name,
        citation=NOT_STATED,
        access=NOT_STATED,
        layouts=layouts(aligned=False),
        split=Split(train=frozenset(), test=frozenset(), others="train"),
    )


def is_frame(file: str) -> bool:
    """Whether a file of this name is a frame of one's own, or the array of a walk."""
    return re.fullmatch(_PICTURES, file) is not None or re.fullmatch(_ARRAY, file) is not None


def is_custom(name: str) -> bool:
    """Whether a collection is a user's own, and not one of the catalog."""
    return name not in CATALOG


def check_name(name: str, others: Iterable[str] = ()) -> None:
    """UsageError for a name that cannot be used, or that only case or punctuation tell from another collection's.

    others: the names in use beside those of the catalog.
    """
    if not USABLE.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a collection: use letters, digits, '-', '_', '.' and spaces within"
        )
    for other in (*CATALOG, *others):
        if other != name and normalize_name(other) == normalize_name(name):
            raise UsageError(f"{name!r} is too like the collection {other}: did you mean {other}?")


def normalize_name(name: str) -> str:
    """A name without case and punctuation."""
    return re.sub(r"[\W_]", "", name).casefold()
