"""A page of HTML from sections of text, tables and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nmc import __version__
from nmc.files import write_atomically

TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class Grid:
    """A table: texts come first and are left-aligned, numbers after them are right-aligned."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1


@dataclass(frozen=True)
class Section:
    """A heading, a sentence that says how to read what follows, and a picture or a table."""

    heading: str
    text: str
    picture: str = ""
    """An SVG element."""
    table: Grid | None = None


def render(title: str, subtitle: str, figures: Sequence[tuple[str, str]], sections: Sequence[Section]) -> str:
    """The page; `figures` are the headline numbers as (number, what it is)."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((Path(__file__).parent / TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        title=title, subtitle=subtitle, figures=figures, sections=sections, version=__version__
    )


def write_page(path: Path, page: str) -> None:
    """Writes a page whole or not at all."""
    write_atomically(path, page.encode())
