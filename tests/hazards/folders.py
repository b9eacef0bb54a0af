"""Hazards of folders: each function plants one around the folder of a sequence of synthetic walkers.

tests/hazards/table.py holds the expected outcome.
"""

import os
import shutil
from pathlib import Path


def stray_files(folder: Path) -> None:
    """Files of no modality at every level of the tree."""
    for directory in (folder, *folder.parents[:3]):
        for name in (".DS_Store", "Thumbs.db", "readme.txt", "checksums.md5"):
            (directory / name).write_bytes(b"stray")


def no_files(folder: Path) -> None:
    """A sequence with an empty folder."""
    shutil.rmtree(folder)
    folder.mkdir()


def missing_sequence(folder: Path) -> None:
    """A view that was never released."""
    shutil.rmtree(folder)


def folder_of_another_name(folder: Path) -> None:
    """A folder whose name has none of the forms of the release."""
    shutil.copytree(folder, folder.with_name("unsorted"))


def folder_name_not_utf8(folder: Path) -> None:
    """A sequence whose name is in Latin-1."""
    shutil.copytree(folder, folder.with_name(os.fsdecode(b"m\xfcller")))


def linked_sequence(folder: Path) -> None:
    """A sequence that is a link to a folder elsewhere, as rearranged trees are made."""
    target = folder.rename(folder.parents[3] / "elsewhere")  # beside the tree
    folder.symlink_to(target, target_is_directory=True)


def linked_to_nothing(folder: Path) -> None:
    """A sequence that is a dangling link."""
    shutil.rmtree(folder)
    folder.symlink_to("gone", target_is_directory=True)


def linked_to_itself(folder: Path) -> None:
    """A sequence that is a link to itself."""
    shutil.rmtree(folder)
    folder.symlink_to(folder.name, target_is_directory=True)


def link_upwards(folder: Path) -> None:
    """A link to the folder above: following it never ends."""
    folder.with_name("again").symlink_to("..", target_is_directory=True)


def class_in_capitals(folder: Path) -> None:
    """The class capitalised and the angles with the other separator, as in an older release."""
    named = folder.parent.rename(folder.parent.with_name(folder.parent.name.capitalize()))
    (named / folder.name).rename(named / folder.name.replace("_", "-"))


def subject_of_no_list(folder: Path) -> None:
    """A subject in neither the TRAIN nor the TEST list."""
    shutil.copytree(folder, folder.parents[2] / "140" / folder.parent.name / folder.name)


def distractors(folder: Path) -> None:
    """A distractor: a walk of an unknown person, in neither the training nor the test split."""
    root = next(parent for parent in folder.parents if (parent / "train").is_dir())
    shutil.copytree(folder, root / "distractor" / "edXJefi8")


def another_number_of_labels(folder: Path) -> None:
    """A condition with an attribute more than the others: it is unknown which is which."""
    shutil.copytree(folder, folder.parent.with_name("9_1_0_0_1") / folder.name)
