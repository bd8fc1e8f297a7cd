"""The product before a depthwise convolution: makes the patches that this reads, halo included, out of the rows of its
operand."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from targets.gemm_accel.codegen.assembly import Assembly, Matrix
from targets.gemm_accel.codegen.bands import WHOLE, Band
from targets.gemm_accel.codegen.buffers import BYTES
from targets.gemm_accel.codegen.depthwise_patches import Patches, Shape, patch_extents
from targets.gemm_accel.codegen.gemm import load_scale
from targets.gemm_accel.codegen.nodes import ColumnScale
from targets.gemm_accel.codegen.scratchpad import Scratchpad
from targets.gemm_accel.codegen.separable import Held, Separable, gemm_of, is_dense
from targets.gemm_accel.codegen.separable_choice import Sums, image_patch, operand_places
from targets.gemm_accel.codegen.steps import needs_of, run_steps
from targets.gemm_accel.codegen.tiles import Placed, balanced, counts_of, dense_strides
from targets.gemm_accel.codegen.tiling import SCALE_BYTES
from targets.gemm_accel.codegen.transfers import Range
from targets.gemm_accel.codegen.views import numpy_value, reshaped

LEAST_SHIFT = 17
"""Of a drain."""


class Before:
    """The product; the rows of its operand stay for all channels of a tile."""

    def __init__(
        self,
        assembly: Assembly,
        separable: Separable,
        tile: Shape,
        sums: Sums,
        scratchpad: Scratchpad,
        held: Held | None,
    ) -> None:
        assert separable.before is not None
        self._assembly, self._kernel, self._sums = assembly, separable.before, sums
        self._operation, self._gemm = separable.operation, gemm_of(separable.before)
        batch, _, height, width = self._operation.x.shape
        depth, element = self._gemm.a.shape[2], self._gemm.a.buffer.element_bytes
        image = reshaped(self._gemm.a, (batch, height, width, depth))
        assert image is not None, "a product was taken whose rows are no pixels"
        self._image, pixels = image, math.prod(image_patch(self._operation, tile))
        places = operand_places(self._operation, tile)
        # first of all: what is held lies at the scratchpad's near end
        self._operands = scratchpad.slots(pixels * depth * element, places)
        seen = self._inside(*((0, extent) for extent in patch_extents(self._operation, tile)))
        self.band = self._take(held) if seen == ((0, height), (0, width)) and places == 1 else WHOLE
        self._weights = scratchpad.slots(depth * tile[3] * self._gemm.b.buffer.element_bytes, 2)
        self._scales = scratchpad.slots(tile[3] * SCALE_BYTES, 2)
        self._places = needs_of(self._kernel, separable.passed).reserve(scratchpad, (1, pixels, tile[3]))
        self._bordered: dict[int, tuple[Range, ...]] = {}
        (self._zeros,) = scratchpad.slots(SCALE_BYTES, 1).addresses
        none = ColumnScale(*(np.full((1, 1), number) for number in (0, 0, LEAST_SHIFT)))
        assembly.layer = self._kernel.layer
        load_scale(assembly, none, (0, 1), self._zeros)
        self._turn = 0

    def _take(self, held: Held | None) -> Band:
        """Takes the operand from where it is held, if it is, and says so to the steps that read it, too."""
        whole, a = tuple((0, extent) for extent in self._image.shape), self._gemm.a
        if held is None or held.buffer is not a.buffer or not is_dense(a, a.shape):
            return WHOLE
        address, _ = self._operands.place(whole)
        assert address == held.address, "what is held lies elsewhere"
        return Band(places={held.buffer: (address,)})

    def prefetch(self, patches: Patches, ranges: Sequence[Range] | None) -> None:
        """Loads what the patch of a tile to come is made of: its place is free when the tile before it is done."""
        if ranges is None:
            return
        image, rows, columns, _ = patches.ranges(ranges)
        inside = self._inside(rows, columns)
        if all(first < stop for first, stop in inside):
            self._assembly.layer = self._kernel.layer
            self._operand(image, *inside)

    def _inside(self, rows: Range, columns: Range) -> tuple[Range, Range]:
        """The part of a patch that is image, counted from the image's beginning."""
        window, (_, _, height, width) = self._operation.window, self._operation.x.shape
        return _inside(rows, window.pads_begin[0], height), _inside(columns, window.pads_begin[1], width)

    def produce(self, patch: Sequence[Range], placed: Placed) -> None:
        """Makes a patch of the padded image [batch, height, width, channels] at its place."""
        inside_rows, inside_columns = self._inside(patch[1], patch[2])
        if inside_rows[0] < inside_rows[1] and inside_columns[0] < inside_columns[1]:
            self._fill_image(patch, placed, inside_rows, inside_columns)
        self._assembly.layer = self._kernel.layer
        self._fill_border(patch, placed, inside_rows, inside_columns)

    def _fill_image(
        self, patch: Sequence[Range], placed: Placed, inside_rows: Range, inside_columns: Range
    ) -> None:
        """Makes the part of a patch that is image, as many of its rows at a time as there are sums for."""
        window, (image, rows, columns, channels) = self._operation.window, patch
        operand = self._operand(image, inside_rows, inside_columns)
        weights, scale = self._place_weights(channels), self._place_scale(channels)
        _, row_bytes, pixel_bytes, _ = placed.strides
        count, width = channels[1] - channels[0], inside_columns[1] - inside_columns[0]
        step = balanced(inside_rows[1] - inside_rows[0], self._sums.before_count // (width * count))
        for first in range(*inside_rows, step):
            stop = min(first + step, inside_rows[1])
            row, column = (
                first + window.pads_begin[0] - rows[0],
                inside_columns[0] + window.pads_begin[1] - columns[0],
            )
            address = placed.address + row * row_bytes + column * pixel_bytes
            a = replace(operand, address=operand.address + (first - inside_rows[0]) * width * operand.pitch)
            self._multiply(a, weights, scale, (stop - first, width, count), replace(placed, address=address))

    def _multiply(
        self, a: Matrix, b: Matrix, scale: int, counts: tuple[int, int, int], placed: Placed
    ) -> None:
        """Some rows of pixels: the product, drained through the steps into the patch."""
        assembly, kernel, (rows, columns, channels) = self._assembly, self._kernel, counts
        sums = self._sums.before[self._turn % 2]
        self._turn += 1
        assembly.layer = kernel.layer
        assembly.gemm(a, b, rows * columns, self._gemm.a.shape[2], channels, sums, accumulate=False)
        values = {
            value: Placed(slots.place(self._turn)[0], kernel.nodes[value].dtype, ())
            for value, slots in self._places.values.items()
        }
        values = {
            value: replace(each, strides=dense_strides(counts, BYTES[each.dtype]))
            for value, each in values.items()
        }
        values |= {value: replace(placed, strides=placed.strides[1:]) for value in kernel.stores}
        assembly.drain(sums, counts, scale, kernel.nodes[0].dtype, values.get(0))
        run_steps(assembly, self._places, counts, values, ())

    def _fill_border(
        self, patch: Sequence[Range], placed: Placed, inside_rows: Range, inside_columns: Range
    ) -> None:
        """Writes the padding around the image's part of a patch, unless the patch before at this place had the same."""
        window, (_, rows, columns, channels) = self._operation.window, patch
        height, width, count = rows[1] - rows[0], columns[1] - columns[0], channels[1] - channels[0]
        # a patch that lies wholly in the padding has its image's part, which is empty, at one of its edges
        top, bottom = (min(max(edge + window.pads_begin[0] - rows[0], 0), height) for edge in inside_rows)
        left, right = (
            min(max(edge + window.pads_begin[1] - columns[0], 0), width) for edge in inside_columns
        )
        geometry = ((top, bottom), (left, right), (height, width), (count, placed.strides[1]))
        if self._bordered.get(placed.address) == geometry:
            return
        self._bordered[placed.address] = geometry
        _, row_bytes, pixel_bytes, element = placed.strides
        boxes = [((0, top), (0, width)), ((bottom, height), (0, width))]
        boxes += [((top, bottom), (0, left)), ((top, bottom), (right, width))]
        for (first, last), (begin, end) in boxes:
            if first < last and begin < end:
                address = placed.address + first * row_bytes + begin * pixel_bytes
                box = Placed(address, placed.dtype, (0, row_bytes, element))
                self._zero(box, last - first, (end - begin) * count)

    def _zero(self, placed: Placed, rows: int, columns: int) -> None:
        """Writes zeros: whatever sums there are, drained with a multiplier of 0, which waits for no load."""
        sums, most = self._sums.before[self._turn % 2], self._sums.before_count
        _, row_bytes, element = placed.strides
        wide = min(columns, most)
        for row, column in itertools.product(range(0, rows, most // wide), range(0, columns, wide)):
            part = replace(placed, address=placed.address + row * row_bytes + column * element)
            counts = (1, min(most // wide, rows - row), min(wide, columns - column))
            self._assembly.drain(sums, counts, self._zeros, placed.dtype, part, shared=True)

    def _operand(self, image: Range, rows: Range, columns: Range) -> Matrix:
        """The pixels as rows of the product, loaded unless they are there."""
        depth, element = self._gemm.a.shape[2], self._gemm.a.buffer.element_bytes
        ranges = (image, rows, columns, (0, depth))
        address, present = self._operands.place(ranges)
        if not present:
            place = Placed(address, self._gemm.a.buffer.dtype, dense_strides(counts_of(ranges), element))
            self._assembly.load(self._image, ranges, place)
        return Matrix(address, self._gemm.a.buffer.dtype, depth * element)

    def _place_weights(self, channels: Range) -> Matrix:
        address, present = self._weights.place(channels)
        view, count = self._gemm.b, channels[1] - channels[0]
        if not present:
            value = numpy_value(view)[0, :, channels[0] : channels[1]]
            constant = self._assembly.constant(np.ascontiguousarray(value))
            self._assembly.load_constant(constant, address, view.buffer.dtype, value.size)
        return Matrix(address, view.buffer.dtype, count * view.buffer.element_bytes)

    def _place_scale(self, channels: Range) -> int:
        address, present = self._scales.place(channels)
        if not present:
            load_scale(self._assembly, self._gemm.scale, channels, address)
        return address


def _inside(places: Range, before: int, extent: int) -> Range:
    """The part of a range of the padded image that is image, counted from the image's beginning."""
    first = min(max(places[0] - before, 0), extent)
    return first, max(min(places[1] - before, extent), first)
