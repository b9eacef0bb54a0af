"""HTML pages of one file: templates that escape what they print, the style sheet, and pictures as part of the page.

Pages load and run nothing: the policy in their heads (page.html.j2) allows inline styles and pictures that lie in them.
"""

import base64
import functools
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from datasets.reports.text import MISSING, path_of, percent, printable


def render(template: Path, **values: object) -> str:
    """A page from a template, which may extend `page.html.j2` and include what lies beside it or in this folder.

    Every printed value is escaped and printable; a name that the template uses and `values` lacks is an error.
    """
    return _environment(template.parent).get_template(template.name).render(**values)


def png(picture: bytes) -> str:
    """The address of a PNG that lies in the page itself."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


@functools.cache
def _environment(folder: Path) -> Environment:
    templates = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else printable(str(value)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., str]] = {"number": _number, "percent": percent, "path": path_of, "png": png}
    templates.filters.update(filters)
    return templates


def _number(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"
