"""Kernels that a depthwise convolution heads: of the mappings the one that is estimated to take less time."""

from functools import lru_cache

from targets.gemm_accel.codegen.assembly import Assembly
from targets.gemm_accel.codegen.depthwise_block_choice import BlockMapping, choose_blocks
from targets.gemm_accel.codegen.depthwise_blocks import emit_blocks
from targets.gemm_accel.codegen.depthwise_mac import choose_mac_tile, emit_mac
from targets.gemm_accel.codegen.depthwise_patches import Shape
from targets.gemm_accel.codegen.depthwise_toeplitz import Mapping, choose_toeplitz, emit_toeplitz
from targets.gemm_accel.codegen.kernels import Kernel
from targets.gemm_accel.codegen.nodes import Depthwise
from targets.gemm_accel.codegen.scratchpad import Scratchpad
from targets.gemm_accel.config import AcceleratorConfig


def emit_depthwise(assembly: Assembly, kernel: Kernel, scratchpad: Scratchpad) -> None:
    """The commands of a kernel whose head is a depthwise convolution."""
    assert kernel.head is not None and isinstance(kernel.head.operation, Depthwise)
    operation = kernel.head.operation
    _, mapping = choose_depthwise(kernel, assembly.config, scratchpad.limit - scratchpad.base)
    if isinstance(mapping, BlockMapping):
        emit_blocks(assembly, kernel, operation, scratchpad, mapping)
    elif isinstance(mapping, Mapping):
        emit_toeplitz(assembly, kernel, operation, scratchpad, mapping)
    else:
        emit_mac(assembly, kernel, operation, scratchpad, mapping)


@lru_cache(maxsize=16)
def choose_depthwise(
    kernel: Kernel, config: AcceleratorConfig, space: int
) -> tuple[float, BlockMapping | Mapping | Shape]:
    """The estimated cycles in `space` bytes of the scratchpad, and the mapping by gemms or the tile by
    multiply-accumulates that takes so few; remembered, as a kernel is looked at with each of its neighbours."""
    assert kernel.head is not None and isinstance(kernel.head.operation, Depthwise)
    operation = kernel.head.operation
    best: tuple[float, BlockMapping | Mapping | Shape] = choose_mac_tile(kernel, operation, config, space)
    for other in (
        choose_toeplitz(kernel, operation, config, space),
        choose_blocks(kernel, operation, config, space),
    ):
        if other is not None and other[0] < best[0]:
            best = other
    return best
