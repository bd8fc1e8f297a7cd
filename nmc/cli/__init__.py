"""The command `nmc`: one module a command, each importing what it needs when it runs: help is instant."""

import sys
from collections.abc import Sequence

from nmc.cli.app import app
from nmc.cli.console import report_errors

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code: 0, 2 for bad input, 1 for a failed check or a bug of nmc."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return report_errors(lambda: app(given or ["--help"], prog_name="nmc", standalone_mode=False))
