"""What README.md and docs/ say of the code and of each other, as far as a program can tell."""

import ast
import re
from pathlib import Path

import pytest

from orchestration.cluster.session import ROOT

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
ROOMS = ("jobs", "orchestration", "datasets", "model", "evaluation")


def wings() -> dict[str, str]:
    """The first line of each room's and wing's docstring, by its folder as the README writes it."""
    files = [file for room in ROOMS for file in (ROOT / room).rglob("__init__.py")]
    return {f"{file.parent.relative_to(ROOT)}/": first_line(file) for file in files}


def first_line(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


def missing_files(page: Path) -> list[str]:
    """Targets of relative links, and source files named in code font, that do not exist."""
    text = page.read_text()
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    named = re.findall(rf"`((?:{'|'.join(ROOMS)}|tests|benchmarks|docs)/[\w/.-]+\.\w+)`", text)
    lost = [link for link in links if link and not (page.parent / link).exists()]
    return lost + [name for name in named if not (ROOT / name).exists()]


def test_the_readme_lists_every_wing_in_the_words_of_its_package() -> None:
    rows = re.findall(r"^\| `([a-z0-9_/]+/)` \| (.+) \|$", README.read_text(), re.MULTILINE)
    assert dict(rows) == wings()


def test_the_readme_lists_every_job() -> None:
    jobs = {file.stem for file in (ROOT / "jobs").glob("*.py") if 'if __name__ == "__main__"' in file.read_text()}
    assert set(re.findall(r"^\| `(\w+)", README.read_text(), re.MULTILINE)) >= jobs


def test_the_readme_fits_on_two_pages() -> None:
    assert README.read_text().count("\n") <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page: Path) -> None:
    assert missing_files(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](b.md#c) [d](https://example.org/e) `model/encoder.py` `model/moved.py`")
    assert missing_files(page) == ["b.md", "model/moved.py"]


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    assert [page.name for page in PAGES if f"({page.name})" not in index and page.name != "README.md"] == []
