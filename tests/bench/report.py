"""One page of all that the benchmarks of accuracy measure: `python -m tests.bench.report [--measure]`.

With --measure it runs them all, which takes about an hour on one core; else it reads the JSON that they wrote to
build/bench. It writes report.html and report.json there, and says of each table by which command and when it was measured,
and which tables are missing.
"""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tests.bench import comparisons, fidelity, granularity, relu_cost, tables
from tests.bench.results import DIRECTORY, MEASURED, load


@dataclass(frozen=True)
class Section:
    """One benchmark: its module's name, which is that of its JSON, and how its rows are read and printed."""

    name: str
    title: str
    text: str
    row: Callable[..., Any]
    table: Callable[[Any], str]
    measure: Callable[[Sequence[str]], None]

    @property
    def command(self) -> str:
        """What measures it."""
        return f"python -m tests.bench.{self.name}"


SECTIONS = (
    Section(
        "tables",
        "Tables of line segments",
        "The largest error on the range in real numbers, before the entries are rounded, beside the least that any segments "
        "of this addressing can have, and beside published substitutes. Uniform tables of 256 keep an "
        "entry for arguments on each side of the range, where the function goes on along a known line.",
        tables.Row,
        tables.table,
        tables.main,
    ),
    Section(
        "fidelity",
        "What models keep",
        "Whole test sets on the simulated accelerator, against onnxruntime in floats.",
        fidelity.Fidelity,
        fidelity.table,
        fidelity.main,
    ),
    Section(
        "granularity",
        "Accuracy by granularity",
        "Chords of one width, as NeuralMatrix has them, beside the default fit with as many segments; nothing is retrained. "
        "At most 256 chords a table: where a range needs more, the outer two are longer.",
        granularity.Row,
        granularity.table,
        granularity.main,
    ),
    Section(
        "comparisons",
        "Comparison with other methods",
        "nmc runs its integers. onnxruntime quantises statically to 16 and 8 bits, min-max, its functions in floats. The "
        "other methods replace functions only and compute everything else in floats, without retraining.",
        comparisons.Row,
        comparisons.table,
        comparisons.main,
    ),
    Section(
        "relu_cost",
        "What activations cost",
        "Simulated cycles of the default accelerator, and energies of its configuration, that each function adds to a "
        "network in which a unit of its own would compute it at no cost.",
        relu_cost.Cost,
        relu_cost.table,
        relu_cost.main,
    ),
)

STYLE = (
    "body{font-family:sans-serif;max-width:75em;margin:2em auto;padding:0 1em}table{border-collapse:collapse;margin:1em 0}"
    "td,th{border:1px solid #bbb;padding:.2em .6em;text-align:right}td:first-child,th:first-child{text-align:left}"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes build/bench/report.html and report.json, and prints which tables are missing."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="run all benchmarks of accuracy first")
    if parser.parse_args(arguments).measure:
        for section in SECTIONS:
            section.measure(())
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    measured = {section.name: load(section.name) for section in SECTIONS}
    (DIRECTORY / "report.html").write_text(page(measured))
    (DIRECTORY / "report.json").write_text(json.dumps(as_json(measured), indent=1) + "\n")
    for section in SECTIONS:
        if not measured[section.name]:
            print(f"not measured yet: {section.title}; run {section.command}")
    print(DIRECTORY / "report.html")


def as_json(measured: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Each benchmark's command and rows, by its name."""
    return {
        section.name: {
            "title": section.title,
            "command": section.command,
            "rows": measured[section.name],
        }
        for section in SECTIONS
    }


def page(measured: dict[str, list[dict[str, Any]]]) -> str:
    """The page, for the rows of each benchmark by its name."""
    title = "nmc: accuracy"
    body = "\n".join(_section(section, measured[section.name]) for section in SECTIONS)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def _section(section: Section, rows: list[dict[str, Any]]) -> str:
    head = f"<h2>{escape(section.title)}</h2>\n<p>{escape(section.text)}</p>\n"
    if not rows:
        return f"{head}<p>Not measured yet: run <code>{section.command}</code>.</p>"
    times = sorted({row[MEASURED] for row in rows})
    span = times[0] if len(times) == 1 else f"{times[0]} to {times[-1]}"
    made = [section.row(**{name: value for name, value in row.items() if name != MEASURED}) for row in rows]
    return f"{head}<p><code>{section.command}</code>, measured {span}</p>\n{as_html(section.table(made))}"


def as_html(markdown: str) -> str:
    """A Markdown table in HTML."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines()]
    header, _, *rows = lines
    made = [_line("th", header), *(_line("td", row) for row in rows)]
    return "<table>\n" + "\n".join(made) + "\n</table>"


def _line(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


if __name__ == "__main__":
    main()
