"""Counts the multiply-adds of a module's products, those of the accelerator and those of the host."""

from math import prod

from tvm import ir, relax

from passes.matrix_form.gemm import GEMM
from passes.rewrite import bindings_of, callee_name, shape_of

HOST_CONVOLUTIONS = ("relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv3d")


def count_macs(module: ir.IRModule) -> tuple[int, int]:
    """The multiply-adds of level 3's `main`: (on the accelerator, in all)."""
    counts = [macs_of(module, binding) for binding in bindings_of(module["main"])]
    return sum(accelerated for accelerated, _ in counts), sum(total for _, total in counts)


def macs_of(module: ir.IRModule, binding: relax.VarBinding) -> tuple[int, int]:
    """The multiply-adds of one binding, counted as `count_macs` does."""
    call = binding.value
    name = callee_name(module, call) if isinstance(call, relax.Call) else ""
    if name in (GEMM, "relax.matmul"):
        macs = prod(shape_of(binding.var)) * shape_of(call.args[0])[-1]
        return (macs if name == GEMM else 0), macs
    if name in HOST_CONVOLUTIONS:
        # weights are [outputs, inputs a group, *kernel]: each output element sums over all axes but the first
        return 0, prod(shape_of(binding.var)) * prod(shape_of(call.args[1])[1:])
    return 0, 0
