"""`nmc run`: a package runs on the samples of a file."""

from pathlib import Path
from typing import Annotated

import typer

from nmc.cli import arguments
from nmc.cli.console import print_json, working

Input = Annotated[
    Path,
    typer.Option("--input", "-i", metavar="DATA.npz", help="One array an input, with a leading sample axis."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="OUT.npz",
        help="Where the outputs go, with the same axis.",
        show_default=False,
    ),
]


def run(
    package: arguments.PackageFile,
    data: Input,
    output: Output = None,
    json: arguments.Json = False,
) -> None:
    """Run a package on every sample of a file and write or describe its outputs."""
    from nmc.files import require_directory_of

    if output is not None:
        require_directory_of(output)
    with working() as progress:
        from nmc.data import checked_samples, write_npz
        from nmc.executable import load
        from nmc.summary import describe_outputs

        progress("opening the package")
        executable = load(package)
        samples = checked_samples(arguments.read_samples(data) or {}, executable.inputs, f"'{data}'")
        outputs = executable.run_samples(samples, progress)
        if output is not None:
            write_npz(output, outputs)
        description, count = describe_outputs(outputs), len(next(iter(outputs.values())))
    if json:
        written = str(output) if output else None
        print_json({"samples": count, "output_file": written, "outputs": description})
        return
    for name, figures in description.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
    if output is not None:
        from nmc.text import samples_text

        print(f"{samples_text(count)} written to {output}")
