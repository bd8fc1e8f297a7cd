"""What every command shares: progress and errors on standard error, results on standard output."""

import ctypes
import json
import math
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import IO, Any

from typer.exceptions import Abort, TyperException

from nmc.errors import NmcError

BUG_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130
TRACEBACK_VARIABLE = "NMC_TRACEBACK"
PROGRESS_SECONDS = 2.0
"""Steps that take longer are reported also where standard error is not a terminal."""


def report_errors(command: Callable[[], object]) -> int:
    """Runs a command; whatever goes wrong becomes one line on standard error and an exit code."""
    try:
        result = command()
        return result if isinstance(result, int) else 0
    except NmcError as error:
        return _fail(str(error), error.exit_code)
    except TyperException as error:
        return _fail(error.format_message(), 2)
    except (KeyboardInterrupt, Abort):
        return _fail("interrupted", INTERRUPTED_EXIT_CODE)
    except BrokenPipeError:
        # the reader of our output (`| head`) has seen enough; nothing may be left for Python to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exc()
        return _fail(
            f"this is a bug in nmc, please report it: {type(error).__name__}: {error}"
            f" (set {TRACEBACK_VARIABLE}=1 to see where)",
            BUG_EXIT_CODE,
        )


def _fail(message: str, exit_code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return exit_code


def warn(message: str) -> None:
    """One line on standard error about something the user should know but that stops nothing."""
    print(f"warning: {' '.join(message.split())}", file=sys.stderr)


def print_json(value: Mapping[str, Any]) -> None:
    """Prints one JSON object on standard output; numbers that JSON lacks become null."""
    print(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


Progress = Callable[[str], None]
"""Called with each step as it begins; `name: detail` where a step is one of several of that name."""


@contextmanager
def working() -> Iterator[Progress]:
    """Shows progress while libraries work; what they print is dropped, nmc's warnings become one line each.

    The time before the first step, when libraries are imported, is not reported.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning, module=r"nmc(\.|$)")
        try:
            if os.environ.get(TRACEBACK_VARIABLE):
                yield lambda step: None
            else:
                with _silenced() as stream:
                    yield from _progress(stream)
        finally:
            for message in dict.fromkeys(str(item.message) for item in caught):
                warn(message)


def _progress(stream: IO[str]) -> Iterator[Progress]:
    if stream.isatty():
        from rich.console import Console

        with Console(file=stream).status("starting") as status:
            yield lambda step: status.update(step)
        return
    steps = _TimedSteps(stream)
    yield steps.begin
    steps.begin("")


class _TimedSteps:
    """Prints the names that took long, once they are over; a step that fails is over with its error."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self._step, self._start = stream, "", 0.0

    def begin(self, step: str) -> None:
        name = step.partition(":")[0]
        if name == self._step:
            return
        seconds = time.monotonic() - self._start
        if self._step and seconds >= PROGRESS_SECONDS:
            print(f"{seconds:7.1f} s  {self._step}", file=self._stream, flush=True)
        self._step, self._start = name, time.monotonic()


@contextmanager
def _silenced() -> Iterator[IO[str]]:
    """Sends descriptors 1 and 2 to a temporary file, for native code too; yields the real standard error."""
    with (
        tempfile.TemporaryFile("w") as log,
        os.fdopen(os.dup(2), "w") as real,
        _moved(1, log.fileno()),
        _moved(2, log.fileno()),
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        yield real


@contextmanager
def _moved(descriptor: int, target: int) -> Iterator[None]:
    """`descriptor` leads where `target` does, until the end."""
    _flush(descriptor)
    saved = os.dup(descriptor)
    os.dup2(target, descriptor)
    try:
        yield
    finally:
        _flush(descriptor)
        os.dup2(saved, descriptor)
        os.close(saved)


def _flush(descriptor: int) -> None:
    """Writes out what Python and the C library still hold back, so that it goes where it was meant to."""
    (sys.stdout if descriptor == 1 else sys.stderr).flush()
    ctypes.CDLL(None).fflush(None)
