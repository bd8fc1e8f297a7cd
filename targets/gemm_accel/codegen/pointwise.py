"""Kernels of element-wise operations and copies: tiles of the common axes, each loaded, computed and
stored."""

from collections.abc import Callable, Sequence

from targets.gemm_accel.codegen.assembly import Assembly
from targets.gemm_accel.codegen.bands import WHOLE, Band
from targets.gemm_accel.codegen.buffers import Buffer
from targets.gemm_accel.codegen.kernels import Kernel
from targets.gemm_accel.codegen.nodes import Copy
from targets.gemm_accel.codegen.scratchpad import Scratchpad
from targets.gemm_accel.codegen.steps import Places, needs_of, run_steps, store_values
from targets.gemm_accel.codegen.tiles import balanced, counts_of, ranges_of, repeated_axes
from targets.gemm_accel.codegen.transfers import Range
from targets.gemm_accel.codegen.views import View

Fits = Callable[[Sequence[int]], bool]

RUN_BYTES = 64
"""Runs of this length use the DRAM's port fully enough."""


def emit_pointwise(assembly: Assembly, kernel: Kernel, scratchpad: Scratchpad) -> None:
    """The commands of a kernel without a head."""
    needs = needs_of(kernel)
    limit = scratchpad.limit - scratchpad.base
    tile = _tile(kernel, lambda candidate: needs.bytes(candidate) <= limit)
    places = needs.reserve(scratchpad, tile)
    for ranges in ranges_of(kernel.extents, tile):
        _emit_tile(assembly, places, ranges, WHOLE)


def pointwise_bands(
    assembly: Assembly,
    kernel: Kernel,
    scratchpad: Scratchpad,
    tile: Sequence[int],
    resident: frozenset[Buffer],
) -> Callable[[Band], None]:
    """What emits one band of a kernel without a head, as one tile."""
    places = needs_of(kernel, resident).reserve(scratchpad, tile)
    rest = [(0, extent) for extent in kernel.extents[1:]]
    return lambda band: _emit_tile(assembly, places, (band.span(kernel.extents[0]), *rest), band)


def _emit_tile(assembly: Assembly, places: Places, ranges: Sequence[Range], band: Band) -> None:
    kernel = places.needs.kernel
    assembly.layer = kernel.layer
    views = places.load_views(assembly, ranges, band)
    copies = isinstance(kernel.steps[0].node.operation, Copy)
    values = {0: views[0]} if copies else places.place_values(ranges, band)
    run_steps(assembly, places, counts_of(ranges), values, views)
    store_values(assembly, kernel, ranges, values, band)


def _tile(kernel: Kernel, fits: Fits) -> tuple[int, ...]:
    """The largest tile that fits: grown from the axis that is innermost in each view's memory, then inner
    to outer."""
    tile = [1] * len(kernel.extents)
    for view in [*(view for views in kernel.stores.values() for view in views), *kernel.views()]:
        axis = _densest_axis(view)
        if axis is not None:
            _grow(tile, axis, min(kernel.extents[axis], RUN_BYTES // view.buffer.element_bytes), fits)
    for axis in reversed(range(len(tile))):
        _grow(tile, axis, kernel.extents[axis], fits)
    return tuple(tile)


def _densest_axis(view: View) -> int | None:
    """The axis along which the elements lie next to each other."""
    strides = [abs(axis[-1].strides[0]) if axis else 0 for axis in view.axes]
    moving = [(stride, axis) for axis, stride in enumerate(strides) if stride]
    return min(moving)[1] if moving and not all(repeated_axes(view)) else None


def _grow(tile: list[int], axis: int, largest: int, fits: Fits) -> None:
    """Sets the tile's extent along an axis to the most, up to `largest`, that fits."""
    low, high = tile[axis], max(largest, tile[axis])
    while low < high:
        middle = (low + high + 1) // 2
        tile[axis] = middle
        if fits(tile):
            low = middle
        else:
            high = middle - 1
    tile[axis] = balanced(largest, low) if largest > low else low
