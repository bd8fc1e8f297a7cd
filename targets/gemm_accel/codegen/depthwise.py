"""Kernels that a depthwise convolution heads: of the two mappings the one that is estimated to take less time."""

from targets.gemm_accel.codegen.assembly import Assembly
from targets.gemm_accel.codegen.depthwise_mac import choose_mac_tile, emit_mac
from targets.gemm_accel.codegen.depthwise_toeplitz import choose_toeplitz, emit_toeplitz
from targets.gemm_accel.codegen.kernels import Kernel
from targets.gemm_accel.codegen.nodes import Depthwise
from targets.gemm_accel.codegen.scratchpad import Scratchpad


def emit_depthwise(assembly: Assembly, kernel: Kernel, scratchpad: Scratchpad) -> None:
    """The commands of a kernel whose head is a depthwise convolution."""
    assert kernel.head is not None and isinstance(kernel.head.operation, Depthwise)
    operation, limit = kernel.head.operation, scratchpad.limit - scratchpad.base
    mac_cycles, tile = choose_mac_tile(kernel, operation, assembly.config, limit)
    shifted = choose_toeplitz(kernel, operation, assembly.config, limit)
    if shifted is not None and shifted[0] < mac_cycles:
        emit_toeplitz(assembly, kernel, operation, scratchpad, shifted[1])
    else:
        emit_mac(assembly, kernel, operation, scratchpad, tile)
