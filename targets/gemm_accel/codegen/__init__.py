"""From a region of level 3 to a command stream. Importing this package registers the hook for TVM's
RunCodegen."""

from targets.gemm_accel.codegen.byoc import register_hook, run_codegen
from targets.gemm_accel.codegen.compile_region import CompiledRegion, compile_region

__all__ = ["CompiledRegion", "compile_region", "run_codegen"]

register_hook({})
