"""What benchmarks have measured: build/bench/NAME.json, a list of rows, each with the time of its measurement."""

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models import NAMES

DIRECTORY = Path("build/bench")
MEASURED = "measured"


def store(name: str, rows: Sequence[Any], chosen: Sequence[str] = (), bits: Sequence[object] = ()) -> None:
    """Writes the rows (dataclasses) of a benchmark, those of a model together and in the order of `models.NAMES`.

    With `chosen` models, and `bits` among them, only their rows are replaced; those of others, which the file holds from
    earlier runs, are named on standard error.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    replaced = [
        row
        for row in load(name)
        if (not chosen or row["model"] in chosen) and (not bits or row["bits"] in bits)
    ]
    kept = [row for row in load(name) if row not in replaced]
    for model, when in sorted({(row["model"], row[MEASURED]) for row in kept}):
        print(f"{name}.json keeps what was measured of {model} on {when}", file=sys.stderr)
    made = kept + [asdict(row) | {MEASURED: now} for row in rows]
    made.sort(key=lambda row: (*NAMES, row.get("model")).index(row.get("model")))
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    (DIRECTORY / f"{name}.json").write_text(json.dumps(made, indent=1) + "\n")


def load(name: str) -> list[dict[str, Any]]:
    """The rows of a benchmark, each with the time of its measurement; none where it was never run."""
    path = DIRECTORY / f"{name}.json"
    return list(json.loads(path.read_text())) if path.exists() else []


def parser_of(description: str | None, what: str, names: Iterable[str]) -> ArgumentParser:
    """A parser of a benchmark's arguments: any of the names of what it measures; it refuses others in one line."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    known = tuple(names)

    def one_of_them(name: str) -> str:
        # with `choices` no name at all would be an invalid one
        if name not in known:
            raise ArgumentTypeError(f"invalid choice: {name!r} (choose from {', '.join(map(repr, known))})")
        return name

    parser.add_argument(
        what, nargs="*", type=one_of_them, metavar=what.upper(), help=f"of {', '.join(known)}; all without"
    )
    return parser


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
