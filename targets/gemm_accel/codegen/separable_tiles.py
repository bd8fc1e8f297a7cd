"""A depthwise convolution with the products around it, tile by tile: what lies between them never leaves the chip.

A tile is some rows and columns of the image with all channels. The product before makes, a block of channels at a time,
the patch that the tile's depthwise convolution reads, halo included; the product behind
adds up what its result contributes.
"""

from collections.abc import Callable
from functools import partial

from targets.gemm_accel.codegen.assembly import Assembly
from targets.gemm_accel.codegen.bands import WHOLE
from targets.gemm_accel.codegen.depthwise import emit_drain, emit_filters, prepare_tiles
from targets.gemm_accel.codegen.depthwise_patches import Shape
from targets.gemm_accel.codegen.kernels import depthwise_shape
from targets.gemm_accel.codegen.scratchpad import Scratchpad
from targets.gemm_accel.codegen.separable import Held, Separable
from targets.gemm_accel.codegen.separable_before import Before
from targets.gemm_accel.codegen.separable_behind import Behind
from targets.gemm_accel.codegen.separable_choice import image_tiles, sums_of
from targets.gemm_accel.codegen.steps import needs_of
from targets.gemm_accel.codegen.tiles import ranges_of


def emit_separable(
    assembly: Assembly,
    separable: Separable,
    tile: Shape,
    scratchpad: Scratchpad,
    held: Held | None = None,
) -> Held | None:
    """The commands of all kernels. What the separable convolution before has left at the near end of the scratchpad need not
    be loaded; returned is what this one leaves at the far end, if that is a whole tensor."""
    operation, passed = separable.operation, separable.passed
    sums = sums_of(separable, tile, assembly.config)
    assert sums is not None, "a tile was chosen whose sums do not fit"
    before = None if separable.before is None else Before(assembly, separable, tile, sums, scratchpad, held)
    taken = WHOLE if before is None else before.band
    behind = None if separable.behind is None else Behind(assembly, separable, tile, sums, scratchpad, taken)
    produce = None if before is None else before.produce
    needs = needs_of(separable.depthwise, passed if behind else frozenset())
    tiles = prepare_tiles(assembly.config, needs, operation, scratchpad, tile, sums.depthwise, produce)
    order = list(ranges_of(depthwise_shape(operation), tile))
    late: Callable[[], None] | None = None
    for number, ranges in enumerate(order):
        if before is not None:
            # one patch ahead, so that the array need not wait for what the last drain still writes
            for near in order[number : number + 2]:
                tiles.patches.place(assembly, near)
            if ranges[3][0] == 0:
                following = (each for each in order[number:] if each[:3] != ranges[:3])
                before.prefetch(tiles.patches, next(following, None))
        emit_filters(assembly, tiles, ranges, number)
        if late is not None:
            # while the array filters what comes next, these channels have been drained
            late()
            late = None
        if behind is None:
            emit_drain(assembly, tiles, ranges, number)
            continue
        emit_drain(assembly, tiles, ranges, number, behind.place(ranges))
        late = partial(behind.emit, ranges)
    if late is not None:
        late()
    return None if behind is None or image_tiles(operation, tile) > 1 else behind.held()
