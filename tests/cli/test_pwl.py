"""`nmc pwl` reports a table's error, and draws it."""

import json

import pytest


def test_a_table_is_described_as_one_json_object(nmc) -> None:
    finished = nmc("pwl", "gelu", "--segments", 32, "--range", -6, 6, "--json")
    assert finished.code == 0
    report = json.loads(finished.out)
    assert (report["function"], report["segments"], report["range"]) == ("gelu", 32, [-6.0, 6.0])
    assert 0.0 < report["mean_error"] < report["max_error"] < 2e-3


def test_more_segments_make_the_error_smaller(nmc) -> None:
    errors = [
        json.loads(nmc("pwl", "tanh", "--segments", n, "--json").out)["max_error"] for n in (8, 32, 128)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_a_piecewise_linear_function_has_no_error(nmc) -> None:
    report = json.loads(nmc("pwl", "leaky_relu", "--param", "alpha=0.25", "--json").out)
    assert (report["function"], report["segments"], report["max_error"]) == ("leaky_relu(alpha=0.25)", 2, 0.0)


def test_a_granularity_makes_chords_of_that_width(nmc) -> None:
    report = json.loads(nmc("pwl", "tanh", "--granularity", 0.5, "--range", -8, 8, "--json").out)
    # |tanh''| <= 4 / (3 sqrt 3), and a chord over a width w errs by at most w^2 / 8 times that
    assert report["max_error"] <= 0.5**2 / 8 * 0.7699 * (1 + 1e-6)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_plot_is_written_in_the_format_of_its_name(nmc, tmp_path, ending) -> None:
    path = tmp_path / f"gelu.{ending}"
    assert nmc("pwl", "gelu", "--plot", path).code == 0
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("gelo",), "'gelo'"),
        (("gelu", "--segments", "0"), "not 0"),
        (("gelu", "--addressing", "random"), "'random'"),
        (("gelu", "--param", "beta=1"), "'beta'"),
        (("gelu", "--plot", "gelu.docx"), "gelu.docx"),
        (("gelu", "--plot", "absent/gelu.png"), "absent"),
        (("log", "--range", "-2", "-1"), "log"),
    ],
)
def test_what_cannot_be_fitted_or_drawn_is_named(nmc, arguments, says) -> None:
    finished = nmc("pwl", *arguments)
    assert (finished.code, finished.out) == (2, "")
    assert finished.err.startswith("error: ") and finished.err.count("\n") == 1
    assert says in finished.err


def test_sizes_that_exclude_each_other_are_refused(nmc) -> None:
    finished = nmc("pwl", "gelu", "--segments", 8, "--granularity", 1)
    assert finished.code == 2
    assert finished.err == "error: give one of --segments, --granularity and --max-error, not several\n"


def test_an_error_that_no_table_reaches_is_a_warning(nmc) -> None:
    finished = nmc("pwl", "gelu", "--max-error", 1e-9)
    assert finished.code == 0
    assert finished.complaints == ["warning: 256 segments are not enough for an error of 1e-09"]


def test_a_range_beyond_the_functions_domain_is_a_warning(nmc) -> None:
    finished = nmc("pwl", "rsqrt", "--range", -1, 1)
    assert finished.code == 0
    assert finished.complaints == ["warning: the table is fitted on [3.052e-05, 1], not on all of [-1, 1]"]
