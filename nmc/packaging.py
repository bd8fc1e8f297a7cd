"""Puts what the compiler produced into a package."""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path
from typing import Any

from tvm import ir, relax

from nmc import manifest
from nmc.compiler import Compilation
from nmc.errors import NmcError
from nmc.frontend import TensorSpec
from nmc.macs import count_macs
from nmc.options import Options
from nmc.package import Package, sealed
from passes.linearise import FittedTable
from passes.matrix_form.gemm import GEMM
from passes.matrix_form.host import DEQUANTISE, QUANTISE
from passes.rewrite import bindings_of, callee_name, layer_of, shape_of
from targets.cpu.build import machine_code
from targets.cpu.processor import package_features, package_target
from targets.gemm_accel import isa
from targets.gemm_accel.codegen import run_codegen


def package_of(compilation: Compilation) -> Package:
    """The package of a compilation: the command streams, and host code only where there is any.

    Warns of what the user should know: missing calibration data, and products that run on the CPU.
    """
    heavy = [str(item) for item in compilation.fallback if item.heavy]
    for message in (*compilation.warnings, *heavy):
        warnings.warn(message, stacklevel=2)
    on_accelerator = compilation.options.target == "gemm-accel"
    regions = list(compilation.regions.values()) if on_accelerator else []
    programs = [region.program.to_bytes() for region in regions]
    constants = [bytes(region.constants) for region in regions]
    return sealed(
        Package(
            manifest=_manifest(compilation, programs, constants),
            program=b"".join(programs),
            constants=b"".join(constants),
            host=_host_library(compilation),
        )
    )


def _manifest(
    compilation: Compilation, programs: Sequence[bytes], constants: Sequence[bytes]
) -> manifest.Manifest:
    from nmc import __version__

    on_accelerator = compilation.options.target == "gemm-accel"
    return manifest.Manifest(
        nmc_version=__version__,
        model=compilation.imported.name,
        model_sha256=compilation.imported.source_hash,
        target=compilation.options.target,
        options=_options(compilation.options),
        inputs=_tensors(compilation.inputs),
        outputs=_tensors(compilation.outputs),
        accelerator=_accelerator(compilation) if on_accelerator else None,
        border=compilation.border if on_accelerator else None,
        host_features=package_features() if _has_host_code(compilation) else (),
        regions=_regions(compilation, programs, constants) if on_accelerator else (),
        layers=_layers(compilation),
        products=products_of(compilation.deepest),
        tables=tuple(_table(table) for table in compilation.tables),
        fallback=tuple(compilation.fallback),
        offload=_offload(compilation),
        members={},
    )


def _tensors(specs: Sequence[TensorSpec]) -> tuple[manifest.PackageTensor, ...]:
    return tuple(
        manifest.PackageTensor(spec.name, tuple(spec.shape), spec.dtype, spec.index_limit, spec.is_mask)
        for spec in specs
    )


def _regions(
    compilation: Compilation, programs: Sequence[bytes], constants: Sequence[bytes]
) -> tuple[manifest.Region, ...]:
    program_ends = list(accumulate(map(len, programs)))
    constant_ends = list(accumulate(map(len, constants)))
    return tuple(
        manifest.Region(
            symbol=symbol,
            program_offset=program_ends[index] - len(programs[index]),
            program_bytes=len(programs[index]),
            constants_offset=constant_ends[index] - len(constants[index]),
            constants_bytes=len(constants[index]),
            arena_bytes=int(region.arena_bytes),
            arena_lower_bound=int(region.arena_lower_bound),
        )
        for index, (symbol, region) in enumerate(compilation.regions.items())
    )


def _accelerator(compilation: Compilation) -> manifest.Accelerator:
    config = compilation.config
    return manifest.Accelerator(isa.ISA_VERSION, config.hash.hex(), asdict(config))


def _options(options: Options) -> dict[str, Any]:
    """The options that shaped the result; arrays by the names of the inputs they were for."""
    return {
        "bits": options.bits,
        "max_loss": options.max_loss,
        "calibration_method": options.calibration_method,
        "config": options.config,
        "level": options.level,
        "pwl_segments": options.pwl_segments,
        "pwl_granularity": options.pwl_granularity,
        "pwl_max_error": options.pwl_max_error,
        "pwl_weighted": options.pwl_weighted,
        "shapes": {name: list(shape) for name, shape in options.shapes.items()},
        "bound": sorted(options.binds),
        "calibration_samples": None if options.calibration is None else _count(options.calibration),
    }


def _count(samples: Any) -> int:
    return len(next(iter(samples.values()), ()))


def _table(fitted: FittedTable) -> manifest.Table:
    table = fitted.table
    return manifest.Table(
        layer=fitted.layer,
        function=str(table.function),
        addressing=table.addressing,
        segments=table.entries,
        fitted_range=(float(table.lo), float(table.hi)),
        seen_range=(float(fitted.seen.low), float(fitted.seen.high)),
        outside_share=fitted.outside,
        max_error=float(table.max_error),
        mean_error=float(table.mean_error),
        seen_error=float(table.seen_error),
        error_steps=float(table.seen_error) / fitted.step,
    )


def _offload(compilation: Compilation) -> manifest.Offload:
    """Operations of the last level by where they run; conversions at the border are not operations of the model."""
    module = compilation.deepest
    calls = [b.value for b in bindings_of(module["main"]) if isinstance(b.value, relax.Call)]
    operations = sum(callee_name(module, call) not in (QUANTISE, DEQUANTISE) for call in calls)
    macs_accelerated, macs_total = count_macs(module)
    if compilation.options.target == "cpu":
        return manifest.Offload(0, operations, 0, macs_total)
    return manifest.Offload(operations - len(compilation.fallback), operations, macs_accelerated, macs_total)


def _layers(compilation: Compilation) -> tuple[manifest.Layer, ...]:
    """The layers of the last level in order, each once."""
    operators = compilation.imported.operators
    bindings = bindings_of(compilation.deepest["main"])
    names = dict.fromkeys(
        layer_of(binding.var) for binding in bindings if isinstance(binding.value, relax.Call)
    )
    return tuple(manifest.Layer(name, operators.get(name, "")) for name in names)


def products_of(module: ir.IRModule) -> tuple[manifest.Product, ...]:
    """The products of level 3 that run on the accelerator, in order."""
    products = []
    for binding in bindings_of(module["main"]):
        if isinstance(binding.value, relax.Call) and callee_name(module, binding.value) == GEMM:
            groups, rows, columns = shape_of(binding.var)
            depth = shape_of(binding.value.args[0])[-1]
            products.append(manifest.Product(layer_of(binding.var), groups, rows, depth, columns))
    return tuple(products)


def _has_host_code(compilation: Compilation) -> bool:
    """Whether the host does more than convert what crosses the border of one command stream."""
    return compilation.options.target == "cpu" or compilation.border is None


def _host_library(compilation: Compilation) -> bytes | None:
    """The shared library of what the host computes, which holds the command streams too; None where that is nothing."""
    if not _has_host_code(compilation):
        return None
    if compilation.options.target == "cpu":
        return _library(compilation.deepest)
    return _library(run_codegen(compilation.partitioned, compilation.regions))


def _library(module: ir.IRModule) -> bytes:
    executable = machine_code(module, package_target())
    with tempfile.TemporaryDirectory(prefix="nmc-") as directory:
        path = Path(directory) / "host.so"
        try:
            executable.export_library(str(path))
        except (OSError, RuntimeError) as error:
            raise NmcError(
                f"the code that runs on the CPU cannot be linked: {error}; install a C++ compiler (g++)"
            ) from error
        return path.read_bytes()
