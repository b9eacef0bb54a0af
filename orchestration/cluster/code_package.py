"""Packs what is sent to a cluster with a job: the code of this tree, as one small zip, and nothing secret.

Files that are never sent are listed in orchestration/cluster/session.py and in .gitignore.
"""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ray._private.thirdparty.pathspec import PathSpec  # Ray's own reading of such patterns

from datasets.schema.errors import UsageError
from orchestration.cluster.session import EXCLUDES

LARGEST = 20 * 2**20  # bytes of all files: the code has less than two million, so more is data left in the tree


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package that was written."""

    files: int
    size: int  # bytes of the zip
    links: tuple[str, ...]  # symbolic links, which are not followed: their targets may be anything


def pack(root: Path, target: Path) -> Package:
    """Write the files below `root` that may be sent to the zip `target`; UsageError where they are too large.

    Equal trees give equal zips, so that Ray does not send a cluster one that it has already.
    """
    files, links = _contents(root)
    sizes = {name: (root / name).stat().st_size for name in files}
    if sum(sizes.values()) > LARGEST:
        worst = sorted(files, key=sizes.__getitem__, reverse=True)[:3]
        named = ", ".join(f"{name} ({_megabytes(sizes[name])})" for name in worst)
        raise UsageError(
            f"{root} holds {_megabytes(sum(sizes.values()))} to send, more than {_megabytes(LARGEST)}: "
            f"move data out of it or name it in .gitignore; the largest files are {named}"
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for name in files:
            package.writestr(zipfile.ZipInfo(name), (root / name).read_bytes(), zipfile.ZIP_DEFLATED)
    return Package(files=len(files), size=target.stat().st_size, links=tuple(links))


def describe(package: Package) -> str:
    """One line about a package."""
    left = f"; left out, as symbolic links: {', '.join(package.links)}" if package.links else ""
    return f"packed {package.files} files, {_megabytes(package.size)}{left}"


def _contents(root: Path) -> tuple[list[str], list[str]]:
    """Sorted names relative to the root: the files that may be sent, and symbolic links among them."""
    ignored = root / ".gitignore"
    spec = PathSpec.from_lines(
        "gitwildmatch", EXCLUDES + (ignored.read_text().splitlines() if ignored.exists() else [])
    )
    files, links = [], []
    for folder, below, names in os.walk(root):
        here = Path(folder).relative_to(root)
        # Patterns of folders match names that end in a slash.
        below[:] = [name for name in below if not spec.match_file(f"{(here / name).as_posix()}/")]
        for path in ((here / name).as_posix() for name in [*names, *below]):
            if spec.match_file(path):
                continue
            if (root / path).is_symlink():
                links.append(path)
            elif (root / path).is_file():
                files.append(path)
    return sorted(files), sorted(links)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MB"
