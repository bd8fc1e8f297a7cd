"""Views against numpy, and the transfers that move tiles of them."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from passes.matrix_form.im2col import Window
from targets.gemm_accel.codegen.buffers import Buffer, Place
from targets.gemm_accel.codegen.transfers import (
    MAXIMUM_COORDINATES,
    MAXIMUM_DIMENSIONS,
    Transfer,
    transfers,
)
from targets.gemm_accel.codegen.views import (
    View,
    bounded,
    broadcast,
    dense_view,
    numpy_value,
    permuted,
    reshaped,
    sliced,
    without_satisfied_limits,
)
from targets.gemm_accel.codegen.windows import windowed

SHAPES = st.lists(st.sampled_from([1, 2, 3, 4, 6, 8]), min_size=1, max_size=4)


def _numbers(shape: list[int]) -> tuple[View, np.ndarray]:
    value = np.arange(math.prod(shape), dtype=np.int32)
    return dense_view(Buffer("b", value.size, "int32", Place.CONSTANT, value), shape), value.reshape(shape)


@st.composite
def moved_views(draw: st.DrawFn) -> tuple[View, np.ndarray]:
    """A view after random moves, and the array that numpy makes of the same moves."""
    view, array = _numbers(draw(SHAPES))
    for _ in range(draw(st.integers(0, 5))):
        rank = array.ndim
        axis = draw(st.integers(0, rank - 1))
        kind = draw(st.sampled_from(["permute", "reshape", "slice", "pad", "broadcast"]))
        result: View | None = None
        if kind == "permute":
            order = draw(st.permutations(range(rank)))
            result, expected = permuted(view, order), array.transpose(order)
        elif kind == "reshape":
            divisor = draw(st.sampled_from([d for d in range(1, array.size + 1) if array.size % d == 0]))
            shape = (divisor, array.size // divisor)
            result, expected = reshaped(view, shape), array.reshape(shape)
        elif kind == "slice":
            begin = draw(st.integers(0, array.shape[axis] - 1))
            step = draw(st.sampled_from([1, 2, 3, -1, -2]))
            room = (array.shape[axis] - 1 - begin if step > 0 else begin) // abs(step) + 1
            extent = draw(st.integers(1, room))
            indices = begin + step * np.arange(extent)
            result, expected = sliced(view, axis, begin, extent, step), array.take(indices, axis)
        elif kind == "pad":
            widths = [(0, 0)] * rank
            widths[axis] = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
            expected = np.pad(array, widths, constant_values=-7)
            result = bounded(view, axis, -widths[axis][0], expected.shape[axis], -7)
        elif array.size < 500:
            expected = np.broadcast_to(array, (2, *array.shape))
            result = broadcast(view, expected.shape)
        if result is not None:
            view, array = result, expected
    return view, array


@settings(max_examples=150, deadline=None, derandomize=True)
@given(moved_views())
def test_moves_of_views_are_moves_of_arrays(moved: tuple[View, np.ndarray]) -> None:
    view, array = moved
    np.testing.assert_array_equal(numpy_value(view), array)
    np.testing.assert_array_equal(numpy_value(without_satisfied_limits(view)), array)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(moved_views(), st.data())
def test_the_transfers_of_a_tile_move_exactly_its_elements(
    moved: tuple[View, np.ndarray], data: st.DataObject
) -> None:
    view, array = moved
    ranges = []
    for extent in array.shape:
        start = data.draw(st.integers(0, extent - 1))
        ranges.append((start, data.draw(st.integers(start + 1, extent))))
    tile = array[tuple(slice(*span) for span in ranges)]
    strides = [stride // tile.itemsize for stride in np.empty(tile.shape, array.dtype).strides]
    scratchpad = np.full(tile.size, 12345, np.int32)
    moves = transfers(view, ranges, strides)
    for move in moves:
        assert len(move.dimensions) <= MAXIMUM_DIMENSIONS and len(move.limits) <= MAXIMUM_COORDINATES
        _execute(view, move, scratchpad)
    np.testing.assert_array_equal(scratchpad.reshape(tile.shape), tile)
    assert sum(move.elements() for move in moves) == tile.size


def _execute(view: View, move: Transfer, scratchpad: np.ndarray) -> None:
    positions = [np.zeros((), np.int64) + start for start in move.origin]
    places = np.zeros((), np.int64) + move.scratchpad
    for dimension in move.dimensions:
        index = np.arange(dimension.count)
        positions = [p[..., None] + index * s for p, s in zip(positions, dimension.strides, strict=True)]
        places = places[..., None] + index * dimension.scratchpad_stride
    inside = np.ones(places.shape, bool)
    for coordinate, limit in zip(positions[1:], move.limits, strict=True):
        inside &= (coordinate >= 0) & (coordinate < limit)
    assert view.buffer.value is not None
    scratchpad[places] = np.where(inside, view.buffer.value[np.where(inside, positions[0], 0)], view.fill)


def _reference_windows(array: np.ndarray, window: Window, fill: int) -> np.ndarray:
    widths = [(0, 0), (0, 0), *zip(window.pads_begin, window.pads_end, strict=True)]
    padded = np.pad(array, widths, constant_values=fill)
    batch, channels, *spatial = array.shape
    outputs = window.output_extents(spatial)
    taps = []
    for tap in np.ndindex(*window.kernel):
        spans = [
            slice(k * d, k * d + (o - 1) * s + 1, s)
            for k, d, o, s in zip(tap, window.dilations, outputs, window.strides, strict=True)
        ]
        taps.append(padded[(slice(None), slice(None), *spans)])
    stacked = np.stack(taps, -1).reshape(batch, window.groups, channels // window.groups, *outputs, len(taps))
    rank = len(spatial)
    order = [1, 0, *range(3, 3 + rank), 3 + rank, 2]
    rows = batch * math.prod(outputs)
    return stacked.transpose(order).reshape(window.groups, rows, len(taps) * channels // window.groups)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 3), st.data())
def test_the_windows_of_im2col_are_a_view_of_its_source(rank: int, data: st.DataObject) -> None:
    spatial = [data.draw(st.integers(2, 6)) for _ in range(rank)]
    kernel = [data.draw(st.integers(1, min(3, extent))) for extent in spatial]
    numbers = [tuple(data.draw(st.integers(low, 2)) for _ in spatial) for low in (1, 0, 0)]
    groups = data.draw(st.sampled_from([1, 2, 4]))
    window = Window(tuple(kernel), numbers[0], (1,) * rank, numbers[1], numbers[2], groups)
    view, array = _numbers([data.draw(st.integers(1, 2)), 4, *spatial])
    result = windowed(view, window, -3)
    assert result is not None
    np.testing.assert_array_equal(numpy_value(result), _reference_windows(array, window, -3))
