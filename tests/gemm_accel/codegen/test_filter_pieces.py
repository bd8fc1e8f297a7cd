"""The taps of a kernel fall into pieces that a FILTER can take, each tap into one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passes.matrix_form.im2col import Window
from targets.gemm_accel.codegen.filter_pieces import ZERO, filter_cycles, piece_weights, pieces_of
from targets.gemm_accel.config import AcceleratorConfig

CONFIG = AcceleratorConfig()


def window(
    kernel: tuple[int, int], stride: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1)
) -> Window:
    return Window(kernel, stride, dilation, (0, 0), (0, 0), 1)


PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(
    kernel=st.tuples(st.integers(1, 20), st.integers(1, 20)), stride=PAIRS, dilation=PAIRS,
    columns=st.integers(1, 50), lines=st.integers(0, 3), rows=st.sampled_from([1, 4, 16]),
)  # fmt: skip
def test_every_tap_is_in_one_piece_that_sees_its_input(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    columns: int,
    lines: int,
    rows: int,
) -> None:
    config = replace(CONFIG, rows=rows, delay_lines=lines)
    seen = {}
    for piece in pieces_of(window(kernel, stride, dilation), columns, config):
        high, wide = piece.kernel
        assert len(piece.taps) == high * wide <= rows
        assert high == 1 or (high - 1 <= lines and columns - 1 <= config.delay_entries)
        for place, tap in enumerate(piece.taps):
            row, column = divmod(place, wide)
            if tap != ZERO:
                assert tap not in seen
                seen[tap] = (piece.origin[0] + row * stride[0], piece.origin[1] + column * stride[1])
    taps = [(i, j) for i in range(kernel[0]) for j in range(kernel[1])]
    assert seen == {n: (i * dilation[0], j * dilation[1]) for n, (i, j) in enumerate(taps)}


@pytest.mark.parametrize(
    ("taps", "kernels"),
    [
        (window((3, 3)), [(3, 3)]),
        (window((5, 5)), [(3, 5), (2, 5)]),
        (window((1, 31)), [(1, 16), (1, 15)]),
        (window((3, 3), (2, 2)), [(2, 2), (1, 2), (2, 1), (1, 1)]),
        (window((3, 3), dilation=(2, 2)), [(1, 5)] * 3),
        (window((1, 3), dilation=(1, 12)), [(1, 13), (1, 1)]),
        (window((1, 3), dilation=(1, 40)), [(1, 1)] * 3),
    ],
    ids=["3x3", "5x5", "long", "stride 2", "dilated", "far", "farther"],
)
def test_pieces_are_few_and_as_large_as_the_array_takes(taps: Window, kernels: list[tuple[int, int]]) -> None:
    assert [piece.kernel for piece in pieces_of(taps, 14, CONFIG)] == kernels


def test_longer_rows_than_a_delay_line_holds_are_filtered_one_row_of_taps_at_a_time() -> None:
    most = CONFIG.delay_entries + 1
    assert [piece.kernel for piece in pieces_of(window((3, 3)), most, CONFIG)] == [(3, 3)]
    assert [piece.kernel for piece in pieces_of(window((3, 3)), most + 1, CONFIG)] == [(1, 3)] * 3


def test_weights_stand_piece_by_piece_with_zeros_between_dilated_taps() -> None:
    weights = np.arange(1, 7)[:, None] * np.array([1, 10])
    pieces = pieces_of(window((2, 3), dilation=(1, 2)), 9, CONFIG)
    assert piece_weights(weights, pieces)[:, 0].tolist() == [1, 0, 2, 0, 3, 4, 0, 5, 0, 6]
    assert piece_weights(weights, pieces)[:, 1].tolist() == [10, 0, 20, 0, 30, 40, 0, 50, 0, 60]


def test_cycles_are_the_places_that_stream_or_the_taps_that_fill() -> None:
    pieces = pieces_of(window((3, 3)), 7, CONFIG)
    assert filter_cycles(pieces, 7, 7, 32, 1, CONFIG) == 2 * 9 * 9
    assert filter_cycles(pieces, 7, 7, 20, 2, CONFIG) == 2 * 2 * 9 * 9
    assert filter_cycles(pieces_of(window((3, 3)), 1, CONFIG), 1, 1, 16, 1, CONFIG) == 9
    assert filter_cycles(pieces_of(window((1, 2)), 1, CONFIG), 1, 1, 16, 1, CONFIG) == 2
