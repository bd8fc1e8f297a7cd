"""The Typer application: which commands there are and which module holds each."""

import typer

from nmc.cli.check import check
from nmc.cli.compile import compile_command
from nmc.cli.dump import dump
from nmc.cli.ops import ops
from nmc.cli.profile import profile
from nmc.cli.pwl import pwl
from nmc.cli.run import run

app = typer.Typer(
    name="nmc",
    help="Compile ONNX models for an accelerator whose one compute unit is a GEMM array, and run them.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> None:
    if show:
        from nmc import __version__

        typer.echo(f"nmc {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


app.command("compile", short_help="Compile an ONNX model to a package.")(compile_command)
app.command(short_help="Run a package on every sample of a file.")(run)
app.command(short_help="Compare a model at every level with onnxruntime.")(check)
app.command(short_help="Print a package's commands, each with its layer.")(dump)
app.command(short_help="Show where a package's simulated cycles go.")(profile)
app.command(short_help="List the operators: where each runs, and why.")(ops)
app.command(short_help="Fit a table of line segments; report its error.")(pwl)
