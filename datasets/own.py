"""A user's own collection: the layouts in which it may lie, and what holds of it where no spec file says more.

Everything here is data of the kind that the catalog's entries are. What a spec file adds is read in spec_file.py; this
file knows nothing of JSON.
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from datasets.catalog import CATALOG
from datasets.schema import CollectionSpec, FolderPath, Layout, Split, UsageError

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
_PICTURES = r"(?!\.)(?:.*?(?<!\d)(?P<frame>\d{1,9})(?!\d)\D*|.*)\.(?i:png|jpe?g)"
_ARRAY = r"[^.].*\.pkl"


def layouts(aligned: bool) -> tuple[Layout, ...]:
    """The trees that are understood, the deepest first: to a shallower one each folder of it would be a sequence.

    aligned: the pictures are aligned already, 64 or 128 high; arrays always are.
    """
    found = []
    for form, path in _PATHS.items():
        folder = "/".join(_EXAMPLE[: form.count("<")])
        pictures = Layout(
            name=f"{form}, pictures",
            kind="images",
            paths=(path,),
            file=_PICTURES,
            example=f"{folder}/0001.png",
            aligned=aligned,
        )
        arrays = replace(
            pictures, name=f"{form}, arrays", kind="pickle", file=_ARRAY, example=f"{folder}/walk.pkl", aligned=True
        )
        found += [pictures, arrays]
    return tuple(found)


def default(name: str) -> CollectionSpec:
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


def is_own(name: str) -> bool:
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
        if other != name and plain(other) == plain(name):
            raise UsageError(f"{name!r} is too like the collection {other}: did you mean {other}?")


def plain(name: str) -> str:
    """A name without case and punctuation."""
    return re.sub(r"[\W_]", "", name).casefold()
