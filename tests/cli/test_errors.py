"""Whatever goes wrong is one line on standard error and an exit code, never a traceback."""

import os
import sys
import warnings

import pytest

from nmc.cli import console
from nmc.errors import CheckFailedError, ModelError


def raising(error: BaseException):
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ModelError("node 'a' is wrong"), 2, "error: node 'a' is wrong\n"),
        (ModelError("two\n  lines"), 2, "error: two lines\n"),
        (CheckFailedError("differs"), 1, "error: differs\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(error, code, line, capsys) -> None:
    assert console.report_errors(raising(error)) == code
    assert capsys.readouterr() == ("", line)


def test_an_unexpected_exception_is_named_a_bug(capsys, monkeypatch) -> None:
    monkeypatch.delenv(console.TRACEBACK_VARIABLE, raising=False)
    assert console.report_errors(raising(ZeroDivisionError("division by zero"))) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith(
        "error: this is a bug in nmc, please report it: ZeroDivisionError: division by zero"
    )
    assert "NMC_TRACEBACK=1" in error


def test_the_traceback_is_shown_on_request(capsys, monkeypatch) -> None:
    monkeypatch.setenv(console.TRACEBACK_VARIABLE, "1")
    console.report_errors(raising(ZeroDivisionError("division by zero")))
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("compile",), "MODEL.onnx"),
        (("compile", "m.onnx", "--colour", "red"), "--colour"),
        (("compile", "m.onnx", "--bits", "many"), "--bits"),
        (("transmogrify",), "transmogrify"),
        (("pwl", "gelu", "--param", "alpha"), "--param 'alpha'"),
        (("profile", "model.nmc", "--picture", "x"), "--picture"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_names_the_word(nmc, arguments, says) -> None:
    finished = nmc(*arguments)
    assert finished.code == 2
    assert finished.out == ""
    assert finished.err.startswith("error: ")
    assert finished.err.count("\n") == 1
    assert says in finished.err


def test_what_libraries_print_is_dropped_also_from_native_code(capfd) -> None:
    with console.working():
        print("library output")
        print("library warning", file=sys.stderr)
        os.write(1, b"native output\n")
        os.write(2, b"native warning\n")
        warnings.warn("a library's warning", DeprecationWarning, stacklevel=1)
    print("result")
    assert capfd.readouterr() == ("result\n", "")


def test_steps_over_two_seconds_are_reported_on_standard_error(capfd, monkeypatch) -> None:
    clock = iter([9.0, 9.0, 9.5, 9.5, 18.0, 18.0, 18.1, 18.1])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.working() as progress:
        progress("reading")
        progress("calibrating: sample 1 of 2")
        progress("calibrating: sample 2 of 2")
        progress("packing")
    assert capfd.readouterr() == ("", "    8.5 s  calibrating\n")


def test_a_step_that_fails_leaves_its_error_alone(capfd, monkeypatch) -> None:
    clock = iter([0.0, 0.0, 60.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with pytest.raises(ModelError), console.working() as progress:
        progress("calibrating")
        raise ModelError("broken")
    assert capfd.readouterr() == ("", "")


def test_output_streams_are_restored_after_a_failure(capfd) -> None:
    with pytest.raises(ModelError), console.working():
        raise ModelError("broken")
    os.write(1, b"out\n")
    os.write(2, b"err\n")
    assert capfd.readouterr() == ("out\n", "err\n")


def test_json_has_no_infinities(capsys) -> None:
    console.print_json({"snr": float("inf"), "list": [float("nan"), 1.0], "nested": {"x": (1, 2)}})
    out = capsys.readouterr().out
    assert '"snr": null' in out
    assert "Infinity" not in out and "NaN" not in out
