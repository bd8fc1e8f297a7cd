"""`nmc pwl`: how well a table of line segments stands for a function."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nmc.cli import arguments
from nmc.cli.console import print_json, warn, working
from nmc.errors import NmcError

Name = Annotated[str, typer.Argument(metavar="FUNCTION", help="gelu, tanh, rsqrt, …", show_default=False)]
Segments = Annotated[int | None, typer.Option(metavar="N", help="Segments of the table.", show_default=False)]
Granularity = Annotated[
    float | None, typer.Option(metavar="G", help="Chords over segments this wide.", show_default=False)
]
MaxError = Annotated[
    float | None,
    typer.Option(metavar="E", help="As few segments as keep the error below this.", show_default=False),
]
Range = Annotated[
    tuple[float, float] | None,
    typer.Option(
        "--range",
        metavar="A B",
        help="Where to fit. Default: the function's usual range.",
        show_default=False,
    ),
]
Addressing = Annotated[
    str | None,
    typer.Option(
        metavar="uniform|octave|breakpoints|blocks|octave-blocks",
        help="Default: what suits the function.",
        show_default=False,
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--param", metavar="NAME=VALUE", help="A parameter of the function. Repeatable.", show_default=False
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw function, table and error (png, svg, pdf).", show_default=False),
]


def pwl(
    function: Name,
    segments: Segments = None,
    granularity: Granularity = None,
    max_error: MaxError = None,
    interval: Range = None,
    addressing: Addressing = None,
    param: Parameters = None,
    plot: Plot = None,
    json: arguments.Json = False,
) -> None:
    """Fit a piecewise-linear table and report its error; draw it with --plot."""
    from nmc.files import require_directory_of, write_atomically

    parameters = _parameters(param)
    if sum(value is not None for value in (segments, granularity, max_error)) > 1:
        raise NmcError("give one of --segments, --granularity and --max-error, not several")
    if plot is not None:
        require_directory_of(plot)
    with working() as progress:
        from nmc.pwl.functions import function_named
        from nmc.pwl.report import plot as draw
        from nmc.pwl.report import row
        from nmc.pwl.segments import DEFAULT_ENTRIES
        from nmc.pwl.table import fit_table

        progress("fitting")
        resolved = function_named(function, parameters)
        low, high = interval or resolved.usual_range
        table = fit_table(
            resolved,
            low,
            high,
            segments=DEFAULT_ENTRIES if segments is None else segments,
            addressing=addressing or "auto",
            mode="minimax" if granularity is None else "chord",
            granularity=granularity,
            max_error=max_error,
        )
        if plot is not None:
            progress("drawing")
            write_atomically(plot, draw(table, plot))
    if (table.lo, table.hi) != (low, high):
        warn(
            f"the table is fitted on [{table.lo:.4g}, {table.hi:.4g}], not on all of [{low:.4g}, {high:.4g}]"
        )
    if max_error is not None and table.max_error > max_error:
        warn(f"{table.entries} segments are not enough for an error of {max_error:g}")
    if json:
        print_json(row(table))
        return
    for name, value in row(table).items():
        print(f"{name.replace('_', ' '):<15} {_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_text(item) for item in value)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _parameters(given: list[str] | None) -> dict[str, float]:
    parameters: dict[str, float] = {}
    for text in given or ():
        name, _, value = text.partition("=")
        try:
            parameters[name] = float(value)
        except ValueError:
            raise NmcError(
                f"--param '{text}' is not of the form NAME=VALUE with a number, as in alpha=0.1"
            ) from None
    return parameters
