"""What `nmc pwl` shows of a table: its error in figures, and a drawing of it beside the function."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nmc.errors import NmcError
from nmc.files import require_directory_of, write_atomically
from nmc.pwl.functions import function_named
from nmc.pwl.segments import MAXIMUM_ENTRIES
from nmc.pwl.table import Table, fit_table

PLOT_FORMATS = ("png", "svg", "pdf")
PLOT_POINTS = 4001


def table_for(
    function: str,
    *,
    interval: tuple[float, float] | None = None,
    segments: int | None = None,
    granularity: float | None = None,
    max_error: float | None = None,
    addressing: str | None = None,
    parameters: Mapping[str, float] | None = None,
) -> Table:
    """The table that these options ask for, on the function's usual range unless told; raises TableError.

    A granularity asks for chords over segments of that width, as the compiler's option of that name does.
    """
    resolved = function_named(function, parameters)
    low, high = interval or resolved.usual_range
    return fit_table(
        resolved,
        low,
        high,
        segments=MAXIMUM_ENTRIES if segments is None else segments,
        addressing=addressing or "auto",
        mode="minimax" if granularity is None else "chord",
        granularity=granularity,
        max_error=max_error,
    )


def describe_table(table: Table) -> dict[str, Any]:
    """The table's figures as plain values; errors are absolute, over the fitted range."""
    return {
        "function": str(table.function),
        "addressing": table.addressing,
        "mode": table.mode,
        "segments": table.entries,
        "range": [table.lo, table.hi],
        "max_error": table.max_error,
        "mean_error": table.mean_error,
    }


def plot_table(table: Table, path: Path) -> None:
    """Draws function and table above, their difference below; the file's ending says the format.

    Raises NmcError for another ending, and where matplotlib is not installed.
    """
    require_directory_of(path)
    if path.suffix.removeprefix(".") not in PLOT_FORMATS:
        raise NmcError(
            f"cannot draw '{path}': its name must end in {', '.join('.' + name for name in PLOT_FORMATS)}"
        )
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise NmcError(f"--plot needs the package {error.name}; run: pip install matplotlib") from None
    x = np.linspace(table.lo, table.hi, PLOT_POINTS)
    exact, approximate = table.function(x), table(x)
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot(x, exact, label=str(table.function), linewidth=3, alpha=0.4)
    above.plot(x, approximate, label=f"{table.entries} segments, {table.addressing}", linewidth=1)
    above.legend()
    below.plot(x, approximate - exact, linewidth=0.8)
    below.set_ylabel("error")
    below.set_title(f"largest {table.max_error:.3g}, mean {table.mean_error:.3g}", fontsize="medium")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.removeprefix("."))
    write_atomically(path, buffer.getvalue())
