"""Runs the command line as a user does, in this process, and sees what reaches the two output streams."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from nmc.cli import main

PROGRESS = re.compile(r" *\d+\.\d s  \S.*")


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """The lines on standard error that are not progress, which depends on how fast the machine is."""
        return [line for line in self.err.splitlines() if not PROGRESS.fullmatch(line)]


Nmc = Callable[..., Finished]


@pytest.fixture
def nmc(capfd: pytest.CaptureFixture[str]) -> Nmc:
    """Calls the command with these arguments."""

    def run(*arguments: object) -> Finished:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Finished(code, captured.out, captured.err)

    return run
