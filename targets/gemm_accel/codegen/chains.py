"""Chains: consecutive kernels that run band by band and pass their results on in the scratchpad.

Softmax and layer normalisation are such chains: each of their kernels works on rows, but no two of them can
be one kernel, as each needs a whole row of the one before.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from targets.gemm_accel.codegen.assembly import Assembly
from targets.gemm_accel.codegen.bands import Band, stays_in_band
from targets.gemm_accel.codegen.buffers import Buffer, Place
from targets.gemm_accel.codegen.depthwise_patches import Shape
from targets.gemm_accel.codegen.gemm import banded_bytes, gemm_bands
from targets.gemm_accel.codegen.kernels import Kernel, buffers_read
from targets.gemm_accel.codegen.nodes import Copy, Gemm
from targets.gemm_accel.codegen.pointwise import pointwise_bands
from targets.gemm_accel.codegen.scratchpad import Scratchpad, aligned
from targets.gemm_accel.codegen.separable import Separable
from targets.gemm_accel.codegen.separable_choice import separable_of
from targets.gemm_accel.codegen.steps import needs_of
from targets.gemm_accel.codegen.tiles import Placed
from targets.gemm_accel.codegen.views import View, dense_view
from targets.gemm_accel.config import AcceleratorConfig

MOST_BANDS = 64
SMALL_OPERAND = 8
"""A product may be part of a chain when its constant operand, read in every band, takes no more than this
part of the chain's space."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Kernels that run in `count` bands. `passed` are the buffers that stay on chip between them, of which
    those of `stored` are written to the DRAM too; `shared` are read by several and loaded once a band. A
    `separable` convolution has tiles instead, those of the mapping beside it."""

    kernels: tuple[Kernel, ...]
    count: int = 1
    passed: frozenset[Buffer] = frozenset()
    stored: frozenset[Buffer] = frozenset()
    shared: frozenset[Buffer] = frozenset()
    separable: tuple[Separable, Shape] | None = None

    @property
    def resident(self) -> frozenset[Buffer]:
        """All buffers whose bands lie on chip."""
        return self.passed | self.shared

    def place_count(self, buffer: Buffer) -> int:
        """How many places a resident buffer takes turns in: two while the DRAM is part of the traffic."""
        return 2 if self.count > 1 and (buffer in self.shared or buffer in self.stored) else 1

    def resident_bytes(self) -> int:
        """The scratchpad that the resident buffers take."""
        return sum(self.place_count(b) * aligned(b.bytes // self.count) for b in self.resident)


def emit_chain(assembly: Assembly, chain: Chain, scratchpad: Scratchpad) -> None:
    """The commands of a chain of several kernels."""
    places = {
        buffer: scratchpad.slots(buffer.bytes // chain.count, chain.place_count(buffer)).addresses
        for buffer in sorted(chain.resident, key=_first_use(chain.kernels))
    }
    runners = [_bands_of(assembly, chain, kernel, scratchpad) for kernel in chain.kernels]
    for number in range(chain.count):
        band = Band(number, chain.count, places, chain.stored)
        for buffer in places:
            if buffer in chain.shared:
                assembly.layer = chain.kernels[0].layer
                flat, span = dense_view(buffer, (buffer.size,)), band.span(buffer.size)
                place = Placed(band.address(buffer), buffer.dtype, (buffer.element_bytes,))
                assembly.load(flat, (span,), place)
        for emit in runners:
            emit(band)


def _first_use(kernels: Sequence[Kernel]) -> Callable[[Buffer], int]:
    """The position of a buffer among all views of the kernels."""
    order = list(dict.fromkeys(view.buffer for kernel in kernels for view in _views(kernel)))
    return order.index


def _bands_of(
    assembly: Assembly, chain: Chain, kernel: Kernel, scratchpad: Scratchpad
) -> Callable[[Band], None]:
    extents = band_extents(kernel, chain.count)
    if kernel.head is None:
        return pointwise_bands(assembly, kernel, scratchpad, extents, chain.resident)
    return gemm_bands(assembly, kernel, scratchpad, extents[1], chain.resident)


def band_axis(kernel: Kernel) -> int:
    """The axis of a kernel that bands divide: the rows."""
    return 0 if kernel.head is None else 1


def band_extents(kernel: Kernel, count: int) -> tuple[int, ...]:
    """The extents of one band of a kernel."""
    axis = band_axis(kernel)
    return tuple(e // count if i == axis else e for i, e in enumerate(kernel.extents))


def chains_of(kernels: Sequence[Kernel], config: AcceleratorConfig, space: int) -> list[Chain]:
    """The kernels in order as chains, each as long as its bands fit into `space` bytes of the scratchpad."""
    users = _Users(
        Counter(buffer for kernel in kernels for buffer in buffers_read(kernel)),
        Counter(buffer for kernel in kernels for buffer in _buffers_written(kernel)),
    )
    result: list[Chain] = []
    first = 0
    while first < len(kernels):
        separable = separable_of(kernels[first : first + 3], users.are_two, config, space)
        if separable is not None:
            result.append(Chain(separable[0].kernels, passed=separable[0].passed, separable=separable))
            first += len(separable[0].kernels)
            continue
        chain, length = Chain((kernels[first],)), 2
        while first + length <= len(kernels):
            longer = _chain(kernels[first : first + length], users, config, space)
            if longer is None:
                break
            chain, length = longer, length + 1
        result.append(chain)
        first += len(chain.kernels)
    return result


@dataclass(frozen=True)
class _Users:
    """How many kernels read and write each buffer."""

    readers: Mapping[Buffer, int]
    writers: Mapping[Buffer, int]

    def are_two(self, buffer: Buffer) -> bool:
        """Whether one kernel writes the buffer and one reads it, and nothing else."""
        return buffer.place is Place.INTERMEDIATE and self.writers[buffer] == 1 and self.readers[buffer] == 1


def _chain(kernels: Sequence[Kernel], users: _Users, config: AcceleratorConfig, space: int) -> Chain | None:
    """The kernels as a chain with the number of bands that takes least time; None where they are none."""
    if not all(_has_rows(kernel) for kernel in kernels):
        return None
    if any(len(views) > 1 for kernel in kernels for views in kernel.stores.values()):
        return None
    written = list(map(_buffers_written, kernels))
    passed = frozenset().union(*written) & frozenset().union(*map(buffers_read, kernels))
    if not buffers_read(kernels[-1]) & frozenset().union(*written[:-1]):
        return None
    if any(users.writers[buffer] > 1 for buffer in passed):
        return None
    inside = Counter(buffer for kernel in kernels for buffer in buffers_read(kernel))
    stored = frozenset(b for b in passed if b.place is Place.OUTPUT or users.readers[b] > inside[b])
    rows = math.gcd(*(kernel.extents[band_axis(kernel)] for kernel in kernels))
    best: tuple[float, Chain] | None = None
    for count in (n for n in range(1, min(rows, MOST_BANDS) + 1) if rows % n == 0):
        if not all(_in_band(kernel, buffer, count) for buffer in passed for kernel in kernels):
            continue
        chain = Chain(tuple(kernels), count, passed, stored, _shared(kernels, passed, count))
        if _bytes(chain, space) > space or not _sums_fit(chain, config):
            continue
        cycles = _overhead(chain, config)
        if best is None or cycles < best[0]:
            best = (cycles, chain)
    return None if best is None else best[1]


def _has_rows(kernel: Kernel) -> bool:
    """Whether a kernel can run in bands: element-wise, or a product with a constant for all groups."""
    if kernel.head is None:
        return bool(kernel.extents) and not isinstance(kernel.steps[0].node.operation, Copy)
    operation = kernel.head.operation
    return isinstance(operation, Gemm) and operation.b.buffer.value is not None and kernel.extents[0] == 1


def _views(kernel: Kernel) -> list[View]:
    """All views of a kernel that bands divide."""
    heads = [kernel.head.operation.a] if kernel.head and isinstance(kernel.head.operation, Gemm) else []
    return [*heads, *kernel.views(), *(view for views in kernel.stores.values() for view in views)]


def _buffers_written(kernel: Kernel) -> set[Buffer]:
    return {view.buffer for views in kernel.stores.values() for view in views}


def _in_band(kernel: Kernel, buffer: Buffer, count: int) -> bool:
    axis = band_axis(kernel)
    views = [view for view in _views(kernel) if view.buffer is buffer]
    return all(stays_in_band(view, axis, count) for view in views) and _rows_are_dense(kernel, buffer)


def _rows_are_dense(kernel: Kernel, buffer: Buffer) -> bool:
    """Whether a product reads and leaves rows of the buffer as its commands want them."""
    if kernel.head is None or not isinstance(kernel.head.operation, Gemm):
        return True
    views = [kernel.head.operation.a, *kernel.stores.get(0, ())]
    return all(not v.axes[2] or v.axes[2][-1].strides[0] == 1 for v in views if v.buffer is buffer)


def _shared(kernels: Sequence[Kernel], passed: frozenset[Buffer], count: int) -> frozenset[Buffer]:
    """What more than one view reads and no kernel of the chain writes."""
    written = frozenset().union(*map(_buffers_written, kernels))
    uses = Counter(view.buffer for kernel in kernels for view in {id(v): v for v in _views(kernel)}.values())
    candidates = [b for b, n in uses.items() if n > 1 and b not in written and b.place is not Place.CONSTANT]
    return frozenset(b for b in candidates if all(_in_band(kernel, b, count) for kernel in kernels))


def _bytes(chain: Chain, space: int) -> int:
    """The scratchpad that a chain needs; more than `space` where a product's constant is too large."""
    total = chain.resident_bytes()
    for kernel in chain.kernels:
        total += needs_of(kernel, chain.resident).bytes(band_extents(kernel, chain.count))
        if kernel.head is not None:
            operand, rest = banded_bytes(kernel, chain.count, chain.resident)
            total += operand + rest if operand * SMALL_OPERAND <= space else space
    return total


def _sums_fit(chain: Chain, config: AcceleratorConfig) -> bool:
    sums = [math.prod(band_extents(k, chain.count)) for k in chain.kernels if k.head is not None]
    return all(2 * each <= config.accumulator_entries for each in sums)


def _overhead(chain: Chain, config: AcceleratorConfig) -> float:
    """Cycles beside the work itself: each command waits for the one before, the first load and the last
    store wait for nobody."""
    commands = sum(len(kernel.nodes) for kernel in chain.kernels)
    inside = {b for b in chain.passed if b not in chain.stored}
    moved = {view.buffer for kernel in chain.kernels for view in _views(kernel)} - inside
    beats = sum(buffer.bytes for buffer in moved) / config.dram_bytes_per_cycle
    return chain.count * commands * (config.rows + config.columns - 1) + beats / chain.count
