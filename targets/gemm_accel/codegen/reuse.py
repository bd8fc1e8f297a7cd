"""Results that may take the place of an operand: written tile by tile where the same tile was read for the
last time."""

from collections.abc import Mapping, Sequence

from targets.gemm_accel.codegen.buffers import Buffer, Place
from targets.gemm_accel.codegen.chains import Chain
from targets.gemm_accel.codegen.kernels import Kernel
from targets.gemm_accel.codegen.views import View, merged


def places_reused(
    chains: Sequence[Chain], first: Mapping[Buffer, int], last: Mapping[Buffer, int]
) -> dict[Buffer, Buffer]:
    """For each result that may lie where an operand lies, that operand's buffer; chain i runs at moment
    i + 1.

    `first` and `last` are the moments at which each buffer is written first and read last.
    """
    reused: dict[Buffer, Buffer] = {}
    for moment, chain in enumerate(chains, start=1):
        if len(chain.kernels) > 1:
            continue  # a later kernel of the chain could still need what one overwrites
        kernel = chain.kernels[0]
        taken: set[Buffer] = set()
        for result in (view for views in kernel.stores.values() for view in views):
            if first[result.buffer] != moment or result.buffer in reused:
                continue
            for operand in kernel.views():
                source = operand.buffer
                dies = source.place is Place.INTERMEDIATE and last[source] == moment and source not in taken
                if dies and _walks_alike(operand, result) and _read_only_as(kernel, operand):
                    reused[result.buffer] = source
                    taken.add(source)
                    break
    return reused


def _walks_alike(operand: View, result: View) -> bool:
    """Whether both are whole buffers of one size, each element of one at the place of the other's."""
    return (
        operand.is_plain
        and operand.buffer.bytes == result.buffer.bytes
        and operand.buffer.element_bytes == result.buffer.element_bytes
        and operand.size == operand.buffer.size
        and operand.origin == result.origin
        and all(merged(a) == merged(b) for a, b in zip(operand.axes, result.axes, strict=True))
    )


def _read_only_as(kernel: Kernel, operand: View) -> bool:
    """Whether nothing else in the kernel reads the operand's buffer in another order."""
    heads = () if kernel.head is None else kernel.head.sources
    if any(view.buffer is operand.buffer for view in heads):
        return False
    return all(view == operand for view in kernel.views() if view.buffer is operand.buffer)
