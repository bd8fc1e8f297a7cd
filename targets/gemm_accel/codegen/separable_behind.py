"""The product behind a depthwise convolution: adds up what the channels of a tile contribute, block by block."""

import math
from collections.abc import Sequence

import numpy as np

from targets.gemm_accel.codegen.assembly import Assembly, Matrix
from targets.gemm_accel.codegen.bands import WHOLE, Band, stays_in_band
from targets.gemm_accel.codegen.depthwise_patches import Shape
from targets.gemm_accel.codegen.gemm import load_scale
from targets.gemm_accel.codegen.scratchpad import Scratchpad
from targets.gemm_accel.codegen.separable import Held, Separable, gemm_of, is_dense
from targets.gemm_accel.codegen.separable_choice import Sums, weight_places
from targets.gemm_accel.codegen.steps import needs_of, run_steps, store_values
from targets.gemm_accel.codegen.tiles import Placed, counts_of, dense_strides
from targets.gemm_accel.codegen.tiling import SCALE_BYTES
from targets.gemm_accel.codegen.transfers import Range
from targets.gemm_accel.codegen.views import numpy_value


class Behind:
    """The product of all tiles, one after the other."""

    def __init__(
        self,
        assembly: Assembly,
        separable: Separable,
        tile: Shape,
        sums: Sums,
        scratchpad: Scratchpad,
        band: Band,
    ) -> None:
        kernel = separable.behind_image
        assert kernel is not None, "a separable convolution without a product behind"
        self._assembly, self._kernel, self._sums = assembly, kernel, sums.behind
        self._gemm = gemm_of(kernel)
        (self._value,) = separable.depthwise.stores
        outputs, weight = self._gemm.b.shape[2], self._gemm.b.buffer.element_bytes
        places = weight_places(separable, tile, assembly.config)
        self._operands = scratchpad.slots(math.prod(tile) * self._gemm.a.buffer.element_bytes, 2)
        self._weights = scratchpad.slots(tile[3] * outputs * weight, places)
        self._scales = scratchpad.slots(outputs * SCALE_BYTES, 1)
        held = all(stays_in_band(view, 0, 1) for view in kernel.views() if view.buffer in band.places)
        self._band = band if held else WHOLE
        needs = needs_of(kernel, frozenset(self._band.places))
        self._places = needs.reserve(scratchpad, (*tile[:3], outputs), results_far=True)
        self._turn = 0

    def held(self) -> Held | None:
        """The result of the last tile, if there is one alone and it is whole and dense."""
        stored = [(value, view) for value, views in self._kernel.stores.items() for view in views]
        if len(stored) != 1 or not is_dense(stored[0][1], self._kernel.extents):
            return None
        ((value, view),) = stored
        return Held(view.buffer, self._places.values[value].addresses[0])

    def place(self, ranges: Sequence[Range]) -> dict[int, Placed]:
        """Where the depthwise convolution leaves a block of channels of a tile."""
        address, _ = self._operands.place(tuple(ranges))
        buffer = self._gemm.a.buffer
        return {
            self._value: Placed(address, buffer.dtype, dense_strides(counts_of(ranges), buffer.element_bytes))
        }

    def emit(self, ranges: Sequence[Range]) -> None:
        """The product of a block of channels; behind the last of a tile all is drained through the steps and stored."""
        (_, channels, outputs), (first, stop) = self._gemm.b.shape, ranges[3]
        self._assembly.layer = self._kernel.layer
        weights, placed = self._place_weights(ranges[3]), self.place(ranges)[self._value]
        _, rows, columns, count = counts_of(ranges)
        a = Matrix(placed.address, placed.dtype, placed.strides[2])
        sums = self._sums[self._turn % len(self._sums)]
        self._assembly.gemm(a, weights, rows * columns, count, outputs, sums, accumulate=first > 0)
        if stop == channels:
            self._finish(ranges, sums)
            self._turn += 1

    def _finish(self, ranges: Sequence[Range], sums: int) -> None:
        """Drains the sums of a tile through the steps, and stores what they leave."""
        assembly, kernel, outputs = self._assembly, self._kernel, self._gemm.b.shape[2]
        part = (*ranges[:3], (0, outputs))
        _, rows, columns, _ = counts_of(part)
        scale = self._place_scale()
        views = self._places.load_views(assembly, part, self._band)
        values = self._places.place_values(part)
        assembly.layer = kernel.layer
        assembly.drain(sums, (rows, columns, outputs), scale, kernel.nodes[0].dtype, values.get(0))
        run_steps(assembly, self._places, counts_of(part), values, views)
        store_values(assembly, kernel, part, values)

    def _place_weights(self, channels: Range) -> Matrix:
        view = self._gemm.b
        address, present = self._weights.place(channels)
        if not present:
            value = np.ascontiguousarray(numpy_value(view)[0, channels[0] : channels[1]])
            self._assembly.load_constant(
                self._assembly.constant(value), address, view.buffer.dtype, value.size
            )
        return Matrix(address, view.buffer.dtype, view.shape[2] * view.buffer.element_bytes)

    def _place_scale(self) -> int:
        address, present = self._scales.place(())
        if not present:
            load_scale(self._assembly, self._gemm.scale, (0, self._gemm.b.shape[2]), address)
        return address
