"""Figures and pictures of tables."""

from pathlib import Path

import pytest

from nmc.pwl import TableError, fit_table
from nmc.pwl.report import plot, row, rows


def test_a_row_tells_function_addressing_range_and_errors() -> None:
    table = fit_table("exp", -8, 0, segments=16)
    assert row(table) == {
        "function": "exp",
        "addressing": "breakpoints",
        "segments": 16,
        "range": [-8.0, 0.0],
        "max_error": table.max_error,
        "mean_error": table.mean_error,
    }


def test_a_quantised_row_keeps_the_error_of_the_real_table_apart() -> None:
    table = fit_table("exp", -8, 0, segments=16)
    figures = row(table.quantise(8 / 32767, 1 / 32767))
    assert figures["table_max_error"] == table.max_error < figures["max_error"]
    assert figures["bits"] == [16, 16]


def test_rows_put_the_worst_table_first() -> None:
    tables = [fit_table("exp", -8, 0, segments=n) for n in (32, 8, 16)]
    assert [figures["segments"] for figures in rows(list(tables))] == [8, 16, 32]


@pytest.mark.parametrize("name", ["gelu", "rsqrt", "relu"])
def test_a_plot_is_a_picture(name: str) -> None:
    assert plot(fit_table(name, 0.01, 8.0), Path("table.png")).startswith(b"\x89PNG\r\n")


def test_a_plot_into_an_unknown_format_is_refused() -> None:
    with pytest.raises(TableError, match=r"table\.doc: its suffix must be one of .*png"):
        plot(fit_table("relu", -1, 1), Path("table.doc"))
