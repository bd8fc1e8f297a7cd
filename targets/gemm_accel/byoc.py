"""The code generator as TVM knows it: `relax.ext.gemm_accel`, which RunCodegen calls with the partitioned functions."""

from collections.abc import Mapping, Sequence
from typing import Any

import tvm
from tvm import ir, relax

from targets.gemm_accel.codegen import CompiledRegion, compile_region
from targets.gemm_accel.config import load_config
from targets.gemm_accel.runtime import create_module

HOOK = "relax.ext.gemm_accel"


def run_codegen(module: ir.IRModule, compiled: Mapping[str, CompiledRegion]) -> ir.IRModule:
    """The partitioned module with its regions replaced by modules of kind gemm_accel.

    `compiled` holds regions that were compiled already, by symbol; they are not compiled again.
    """
    _register(compiled)
    try:
        return relax.transform.RunCodegen()(module)
    finally:
        _register({})


def _register(compiled: Mapping[str, CompiledRegion]) -> None:
    def generate(
        functions: Sequence[relax.Function], options: Mapping[str, Any], _constants: Any
    ) -> list[Any]:
        """One runtime module a function; the option `config` names the accelerator."""
        modules = []
        for function in functions:
            symbol = str(function.attrs["global_symbol"])
            region = compiled.get(symbol) or compile_region(
                function, load_config(str(options.get("config", "default")))
            )
            modules.append(create_module(symbol, region.program.to_bytes(), region.constants))
        return modules

    tvm.register_global_func(HOOK, generate, override=True)


_register({})
