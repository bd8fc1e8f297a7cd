"""From a region of level 3 to a command stream."""

from targets.gemm_accel.codegen.compile_region import CompiledRegion, compile_region

__all__ = ["CompiledRegion", "compile_region"]
