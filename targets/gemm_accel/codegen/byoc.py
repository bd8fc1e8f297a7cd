"""The hook by which TVM's RunCodegen has regions compiled: the global function `relax.ext.gemm_accel`."""

from collections.abc import Mapping, Sequence

import tvm_ffi
from tvm import relax

from targets.gemm_accel.codegen.compile_region import compile_region
from targets.gemm_accel.config import load_config
from targets.gemm_accel.runtime import register as register_runtime

HOOK = "relax.ext.gemm_accel"


def generate(
    functions: Sequence[relax.Function],
    options: Mapping[str, object],
    constant_names: Mapping[relax.Expr, str],
) -> list[tvm_ffi.Module]:
    """One runtime module that holds the programs of all `functions`, each under its `global_symbol`.

    `options` may name an accelerator under `config`, a preset or a file. Constants are in the programs' own
    constant region, so `constant_names` is not used.
    """
    register_runtime()
    config = load_config(str(options.get("config", "default")))
    symbols, programs, constants = [], [], []
    for function in functions:
        region = compile_region(function, config)
        symbols.append(str(function.attrs["global_symbol"]))
        programs.append(region.program.to_bytes())
        constants.append(region.constants)
    return [tvm_ffi.get_global_func("ffi.Module.create.gemm_accel")(symbols, programs, constants)]


def register_hook() -> None:
    """Makes the hook known to TVM; importing `targets.gemm_accel.codegen` does it."""
    tvm_ffi.register_global_func(HOOK, generate, override=True)
