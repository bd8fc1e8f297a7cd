"""The instruction dump: the commands as text, each with the layer of the model that it belongs to."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmc.errors import PackageError
from nmc.files import make_directory, write_atomically
from nmc.package import Package
from nmc.programs import NO_COMMANDS, programs_of

if TYPE_CHECKING:
    from tvm import ir

PROGRAM_TEXT = "program.txt"


def dump_text(package: Package, layer: str | None = None) -> str:
    """The commands of all regions as text, or those of one layer.

    Raises PackageError for a layer that the package does not have, naming the nearest ones, and for a package
    without commands.
    """
    regions, programs = package.manifest.regions, programs_of(package)
    if not programs:
        raise PackageError(f"'{package.manifest.model}': {NO_COMMANDS}")
    texts = {r.symbol: p.listing(layer).rstrip() for r, p in zip(regions, programs, strict=True)}
    if layer is not None and not any(texts.values()):
        raise PackageError(_unknown_layer(package, layer))
    # a line that begins with a semicolon is a comment to the assembler
    return "\n".join(f"; program of {symbol}\n{text}" for symbol, text in texts.items() if text)


def _unknown_layer(package: Package, layer: str) -> str:
    names = [item.name for item in package.manifest.layers]
    near = difflib.get_close_matches(layer, names, n=3, cutoff=0.3)
    hint = f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    if layer in names:
        return f"layer '{layer}' has no commands: it is part of another, only moves data, or runs on the CPU"
    return f"there is no layer '{layer}' in '{package.manifest.model}'{hint}"


def write_dump(directory: Path, stages: Sequence[tuple[str, "ir.IRModule"]], package: Package) -> None:
    """Writes the module after each pass as NN_pass.py, in order, and the commands as program.txt.

    Raises NmcError when the directory cannot be made or written to.
    """
    make_directory(directory)
    for number, (name, module) in enumerate(stages):
        write_atomically(directory / f"{number:02d}_{name}.py", module.script(show_meta=False).encode())
    if package.manifest.regions:
        write_atomically(directory / PROGRAM_TEXT, (dump_text(package) + "\n").encode())
