"""Custom collections, which the catalog does not have: their layouts, and their spec where no spec file is given."""

import re
from collections.abc import Iterable
from dataclasses import replace

from datasets.catalog.registry import CATALOG
from datasets.schema.collection import CollectionSpec, FolderPath, Layout, Split
from datasets.schema.errors import UsageError
from datasets.schema.protocol import USABLE
from datasets.schema.rows import MODALITIES, Modality

UNNAMED = "none"  # condition or view, where the tree has no folder for it
NOT_STATED = "not stated"

_FOLDER = r"[^/.][^/]*"  # folders of programs (caches, version control) begin with a dot
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

_FRAME = r"(?!\.)(?P<stem>.*)"
_PICTURES = rf"{_FRAME}\.(?i:png|jpe?g|bmp|tiff?|webp)"
_LABEL_MAPS = rf"{_FRAME}\.(?i:png|bmp|tiff?)"  # JPEG would smear one label into another
_JOINTS = rf"{_FRAME}\.(?i:txt|json)"
_ARRAY = r"[^.].*\.(?i:pkl|pickle|npy|npz)(?i:\.gz)?"


def layouts(aligned: bool, modality: Modality | None = None) -> tuple[Layout, ...]:
    """The layouts of custom collections, the deepest first, since a shallower one would match parts of a deeper tree.

    aligned: whether the pictures are aligned, 64 or 128 pixels high; arrays always are. modality: None for all.
    """
    modalities = MODALITIES if modality is None else (modality,)
    return tuple(layout for one in modalities for form in _PATHS for layout in _of_modality(one, form, aligned))


def _of_modality(modality: Modality, form: str, aligned: bool) -> tuple[Layout, Layout]:
    """The layouts of one modality and depth: a file for each frame, and an array for each walk."""
    folder = "/".join(_EXAMPLE[: form.count("<")])
    skeletons, of_what = modality == "skeleton", "" if modality == "silhouette" else f" of {modality}"
    frames = Layout(
        name=f"{form}, {'text files' if skeletons else 'pictures'}{of_what}",
        kind="joints" if skeletons else "images",
        paths=(_PATHS[form],),
        file=_JOINTS if skeletons else _LABEL_MAPS if modality == "parsing" else _PICTURES,
        example=f"{folder}/0001.{'json' if skeletons else 'png'}",
        aligned=aligned,
        may_be_raw=modality == "lidar",
        modality=modality,
    )
    name, example = f"{form}, arrays{of_what}", f"{folder}/walk.pkl"
    array = replace(frames, name=name, kind="pickle", file=_ARRAY, example=example, aligned=True, may_be_raw=True)
    return frames, array


def default_spec(name: str) -> CollectionSpec:
    """The spec of a custom collection without a spec file: raw masks, and every subject in the train split."""
    return CollectionSpec(
        name=name,
        title=name,
        citation=NOT_STATED,
        access=NOT_STATED,
        layouts=layouts(aligned=False),
        split=Split(train=frozenset(), test=frozenset(), others="train"),
    )


def is_frame(file: str) -> bool:
    """Whether a file of this name can be a frame, or the array of a walk, in a custom collection."""
    return re.fullmatch(_PICTURES, file) is not None or re.fullmatch(_ARRAY, file) is not None


def is_custom(name: str) -> bool:
    """Whether a collection is not in the catalog."""
    return name not in CATALOG


def check_name(name: str, others: Iterable[str] = ()) -> None:
    """UsageError for a name with unusable characters, or one that differs from another only in case or punctuation.

    others: names in use beside those of the catalog.
    """
    if not USABLE.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a collection: use letters, digits, '-', '_', '.' and spaces within"
        )
    for other in (*CATALOG, *others):
        if other != name and normalize_name(other) == normalize_name(name):
            raise UsageError(f"{name!r} is too similar to the collection {other}: did you mean {other}?")


def normalize_name(name: str) -> str:
    """A name without case and punctuation."""
    return re.sub(r"[\W_]", "", name).casefold()
