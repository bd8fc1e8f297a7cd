"""The instruction dump: the commands as text, each with the layer of the model that it belongs to."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmc.errors import PackageError
from nmc.files import make_directory, write_atomically
from nmc.fused_layers import with_fused
from nmc.manifest import Border, Region
from nmc.package import Package
from nmc.programs import NO_COMMANDS, programs_of
from targets.gemm_accel.program import Program

if TYPE_CHECKING:
    from tvm import ir

PROGRAM_TEXT = "program.txt"


def dump_text(package: Package, layer: str | None = None) -> str:
    """The commands of all regions as text, or those of one layer, which has with it what runs as part of it.

    Raises PackageError for a layer that the package does not have, naming the nearest ones, and for a package
    without commands.
    """
    regions, programs = package.manifest.regions, programs_of(package)
    if not programs:
        raise PackageError(f"'{package.manifest.model}': {NO_COMMANDS}")
    texts = [program.listing(_chosen(program, layer)).rstrip() for program in programs]
    if layer is not None and not any(texts):
        raise PackageError(_unknown_layer(package, layer))
    border = package.manifest.border
    return "\n".join(
        f"{_heading(program, region, border)}\n{text}"
        for region, program, text in zip(regions, programs, texts, strict=True)
        if text
    )


def _chosen(program: Program, layer: str | None) -> frozenset[str] | None:
    if layer is None:
        return None
    return with_fused(zip(program.commands, program.layers, strict=True), layer)


def _heading(program: Program, region: Region, border: Border | None) -> str:
    """What lies where in the DRAM of a program, as comments of the assembler; by the user's names where they cross its
    border.
    """
    end = program.constant_bytes + program.arena_bytes
    lines = [f"program of {region.symbol}"]
    lines.append(f"DRAM below {program.constant_bytes:#x}: constants; below {end:#x}: the arena")
    for what, tensors, crossing in (
        ("input", program.inputs, border.inputs if border else ()),
        ("output", program.outputs, border.outputs if border else ()),
    ):
        names = [user.name for user in crossing] or [tensor.name for tensor in tensors]
        for name, tensor in zip(names, tensors, strict=True):
            lines.append(
                f"{what} {name} at {tensor.dram:#x}: {tensor.type.name.lower()} {list(tensor.shape)}"
            )
    return "\n".join(f"; {line}" for line in lines)


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
