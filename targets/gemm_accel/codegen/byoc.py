"""The code generator as TVM knows it: `relax.ext.gemm_accel`, which RunCodegen calls with the partitioned
functions."""

from collections.abc import Mapping, Sequence

import tvm
import tvm_ffi
from tvm import ir, relax

from targets.gemm_accel.codegen.compile_region import CompiledRegion, compile_region
from targets.gemm_accel.config import load_config
from targets.gemm_accel.runtime import register as register_runtime

HOOK = "relax.ext.gemm_accel"


def run_codegen(module: ir.IRModule, compiled: Mapping[str, CompiledRegion]) -> ir.IRModule:
    """The partitioned module with its regions replaced by one module of kind gemm_accel.

    `compiled` holds regions that were compiled already, by symbol; they are not compiled again.
    """
    register_hook(compiled)
    try:
        return relax.transform.RunCodegen()(module)
    finally:
        register_hook({})


def register_hook(compiled: Mapping[str, CompiledRegion]) -> None:
    """Makes the hook known to TVM; importing `targets.gemm_accel.codegen` does it."""

    def generate(
        functions: Sequence[relax.Function],
        options: Mapping[str, object],
        _constant_names: Mapping[relax.Expr, str],
    ) -> list[tvm_ffi.Module]:
        """One runtime module that holds the programs of all `functions`, each under its `global_symbol`.

        `options` may name an accelerator under `config`, a preset or a file. Constants are in the programs'
        own constant region, so the constants' names are not used.
        """
        register_runtime()
        symbols, programs, constants = [], [], []
        for function in functions:
            symbol = str(function.attrs["global_symbol"])
            config = load_config(str(options.get("config", "default")))
            region = compiled.get(symbol) or compile_region(function, config)
            symbols.append(symbol)
            programs.append(region.program.to_bytes())
            constants.append(region.constants)
        return [tvm_ffi.get_global_func("ffi.Module.create.gemm_accel")(symbols, programs, constants)]

    tvm.register_global_func(HOOK, generate, override=True)
