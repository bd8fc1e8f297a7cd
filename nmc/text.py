"""How the reports write numbers and tables for people."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

COLUMNS_OF_A_FILE = 120
"""Width of what is not printed on a terminal."""


def console() -> Console:
    """Standard output, on which names with brackets in them are just text."""
    plain = Console(highlight=False, markup=False, soft_wrap=True)
    if plain.is_terminal:
        return plain
    return Console(highlight=False, markup=False, soft_wrap=True, width=COLUMNS_OF_A_FILE)


def table(texts: tuple[str, ...], numbers: tuple[str, ...], last: tuple[str, ...] = ()) -> Table:
    """A table whose columns are texts that may wrap, then numbers, then texts that may wrap."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in texts:
        made.add_column(heading, overflow="fold")
    for heading in numbers:
        made.add_column(heading, justify="right", no_wrap=True)
    for heading in last:
        made.add_column(heading, overflow="fold")
    return made


def bytes_text(count: int) -> str:
    """A size in bytes, KiB or MiB."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < 1024**2 else f"{count / 1024**2:.1f} MiB"


def seconds_text(seconds: float) -> str:
    """A duration in seconds, ms or µs, to three digits."""
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1.0:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def samples_text(count: int) -> str:
    """How many samples there are."""
    return "1 sample" if count == 1 else f"{count} samples"


def count_text(count: int) -> str:
    """A count, in thousands (k) or millions (M) where it is large."""
    if count < 10_000:
        return f"{count}"
    return f"{count / 1e3:.1f} k" if count < 1_000_000 else f"{count / 1e6:.2f} M"
