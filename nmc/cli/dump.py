"""`nmc dump`: the instructions of a package as text."""

from typing import Annotated

import typer

from nmc.cli import arguments
from nmc.cli.console import working

Layer = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only the commands of this layer.", show_default=False)
]


def dump(package: arguments.PackageFile, layer: Layer = None) -> None:
    """Print the command stream, each command with the layer of the model that it belongs to."""
    with working():
        from nmc.dump import dump_text
        from nmc.package import read_package

        text = dump_text(read_package(package), layer)
    print(text)
