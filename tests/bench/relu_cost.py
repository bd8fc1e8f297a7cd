"""What activations cost in simulated cycles and energy, three ways: `python -m tests.bench.relu_cost [MODEL…]`.

- Fused: as nmc compiles them, tables in the epilogue of the kernel before.
- Dedicated unit: the same command stream without them, as if a unit of its own applied each at no cycle and no energy: what
  no hardware can beat.
- Separate pass: the stream without them, and each as a program of its own that loads, evaluates and stores the tensor.

Counted are the tables whose result has the type of their argument: a table that also converts takes the place of a
command that would be needed in any case. Energies are the configuration's: an element-wise operation an element, and for a
separate pass each byte in and out through scratchpad and DRAM.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tvm_ffi
from tvm import ir, relax

import models
from nmc.compiler import Compilation, compile_model
from nmc.options import Options
from passes.matrix_form.pwl import PWL
from passes.partition import partition
from passes.rewrite import (
    Emitter,
    bindings_of,
    callee_name,
    dtype_of,
    rebuild,
    shape_of,
    straight_line_body,
)
from passes.verify_matrix_form import accelerator_functions
from targets.gemm_accel.codegen import compile_region
from targets.gemm_accel.config import AcceleratorConfig
from targets.gemm_accel.runtime import create_module
from tests.bench.results import markdown, parser_of, store


@dataclass(frozen=True)
class Cost:
    """One function of one network; cycles and microjoules are what the function adds to the dedicated unit's nothing."""

    model: str
    function: str
    tables: int
    elements: int
    network_cycles: int
    """Of the network with this function in a dedicated unit."""
    fused_cycles: int
    separate_cycles: int
    fused_microjoules: float
    separate_microjoules: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes build/bench/relu_cost.json."""
    chosen = parser_of(__doc__, "model", models.NAMES).parse_args(arguments).model
    rows = [row for name in chosen or models.NAMES for row in measure(name)]
    print(table(rows))
    store("relu_cost", rows, chosen)


def measure(name: str) -> Iterator[Cost]:
    """A row for each function that the network's tables hold."""
    model = models.get(name)
    options = Options(shapes=dict(model.shapes), calibration=dict(model.calibration()))
    compilation = compile_model(model.onnx_path(), options)
    fused = cycles_of(compilation.partitioned, compilation.config)
    groups: dict[str, list[relax.Call]] = defaultdict(list)
    names: dict[str, set[str]] = defaultdict(set)
    for function, binding in activations(compilation):
        groups[function].append(binding.value)
        names[function].add(binding.var.name)
    for function, calls in groups.items():
        without = cycles_of(removed(compilation, names[function]), compilation.config)
        yield _cost(name, function, calls, fused, without, compilation)


def activations(compilation: Compilation) -> list[tuple[str, relax.VarBinding]]:
    """The tables whose result has the type of their argument, each with its function."""
    module = compilation.levels["quantised"]
    bindings = [
        binding
        for binding in bindings_of(module["main"])
        if isinstance(binding.value, relax.Call) and callee_name(module, binding.value) == PWL
    ]
    # tables are listed in the order of their bindings, which quantisation keeps
    return [
        (fitted.table.function.name, binding)
        for fitted, binding in zip(compilation.tables, bindings, strict=True)
        if dtype_of(binding.value.args[0]) == dtype_of(binding.var)
    ]


def removed(compilation: Compilation, names: set[str]) -> ir.IRModule:
    """The partitioned module without these tables: what reads them reads their arguments."""

    def visit(_emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        return value.args[0] if binding.var.name in names and isinstance(value, relax.Call) else value

    return partition(rebuild(compilation.levels["quantised"], visit))


def cycles_of(module: ir.IRModule, config: AcceleratorConfig) -> int:
    """The simulated cycles of all command streams of a module, one after the other."""
    return sum(
        _cycles(symbol, function, config, module)
        for symbol, function in accelerator_functions(module).items()
    )


def _cycles(symbol: str, function: relax.Function, config: AcceleratorConfig, module: ir.IRModule) -> int:
    region = compile_region(function, config, module)
    each = np.zeros((len(region.program.commands), 4), np.int64)
    totals = np.zeros(6, np.int64)
    profile = create_module(symbol, region.program.to_bytes(), bytes(region.constants))[f"{symbol}.profile"]
    profile(tvm_ffi.from_dlpack(each), tvm_ffi.from_dlpack(totals))
    return int(totals[0])


def _separate_cycles(call: relax.Call, compilation: Compilation) -> int:
    """The cycles of a program that does nothing but one table."""
    module = compilation.levels["quantised"]
    builder = relax.BlockBuilder(module)
    parameter = relax.Var("x", call.args[0].ty)
    emitter = Emitter(builder, layer="pass")
    result = emitter.emit(relax.Call(call.op, [parameter, *call.args[1:]], call.attrs))
    body = straight_line_body(builder, emitter.bindings, result)
    function = relax.Function([parameter], body, ret_ty=body.ty, is_pure=True)
    return _cycles("separate", function, compilation.config, module)


def _cost(
    model: str, function: str, calls: Sequence[relax.Call], fused: int, without: int, compilation: Compilation
) -> Cost:
    energy = compilation.config.energy
    elements = sum(int(np.prod(shape_of(call))) for call in calls)
    moved = sum(2 * int(np.prod(shape_of(call))) * np.dtype(dtype_of(call)).itemsize for call in calls)
    evaluated = elements * energy.elementwise
    separate = evaluated + moved * (energy.scratchpad_byte + energy.dram_byte)
    known: dict[tuple[object, ...], int] = {}
    total = 0
    for call in calls:
        key = (shape_of(call), dtype_of(call), call.op)
        if key not in known:
            known[key] = _separate_cycles(call, compilation)
        total += known[key]
    return Cost(
        model,
        function,
        len(calls),
        elements,
        without,
        fused - without,
        total,
        evaluated / 1e6,
        separate / 1e6,
    )


def table(rows: Sequence[Cost]) -> str:
    """The rows in Markdown; percentages are of the network's cycles with a dedicated unit."""
    header = (
        "model",
        "function",
        "tables",
        "elements",
        "network, dedicated unit",
        "fused adds",
        "separate pass adds",
        "fused µJ",
        "separate µJ",
    )
    return markdown(header, [_cells(row) for row in rows])


def _cells(row: Cost) -> tuple[str, ...]:
    return (
        row.model,
        row.function,
        str(row.tables),
        f"{row.elements:,}",
        f"{row.network_cycles:,}",
        f"{row.fused_cycles:,} ({row.fused_cycles / row.network_cycles:.1%})",
        f"{row.separate_cycles:,} ({row.separate_cycles / row.network_cycles:.1%})",
        f"{row.fused_microjoules:.2f}",
        f"{row.separate_microjoules:.2f}",
    )


if __name__ == "__main__":
    main()
