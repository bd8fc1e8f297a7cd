"""The taps of a kernel fall into pieces that a FILTER can take, each tap into one, and outputs into lattices."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passes.matrix_form.im2col import Window
from targets.gemm_accel.codegen.filter_pieces import Pair, piece_weights, plan_of
from targets.gemm_accel.config import AcceleratorConfig

CONFIG = AcceleratorConfig()
ONE = (1, 1)


def window(kernel: Pair, stride: Pair = ONE, dilation: Pair = ONE) -> Window:
    return Window(kernel, stride, dilation, (0, 0), (0, 0), 1)


PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(
    kernel=st.tuples(st.integers(1, 20), st.integers(1, 20)), stride=PAIRS, dilation=PAIRS,
    tile=st.tuples(st.integers(1, 20), st.integers(1, 50)), lines=st.integers(0, 3), rows=st.sampled_from([1, 4, 16]),
)  # fmt: skip
def test_each_output_meets_every_tap_where_that_sees_its_input(
    kernel: Pair, stride: Pair, dilation: Pair, tile: Pair, lines: int, rows: int
) -> None:
    config = replace(CONFIG, rows=rows, delay_lines=lines)
    plan = plan_of(window(kernel, stride, dilation), *tile, config)
    pitches = stride[0] * plan.steps[0], stride[1] * plan.steps[1]
    seen = {}
    for piece in plan.pieces:
        high, wide = piece.kernel
        assert len(piece.taps) == high * wide <= rows and high - 1 <= lines
        for place, tap in enumerate(piece.taps):
            row, column = divmod(place, wide)
            assert tap not in seen
            seen[tap] = (piece.origin[0] + row * pitches[0], piece.origin[1] + column * pitches[1])
    taps = product(range(kernel[0]), range(kernel[1]))
    assert seen == {n: (i * dilation[0], j * dilation[1]) for n, (i, j) in enumerate(taps)}
    outputs = [
        (lattice.origin[0] + i * plan.steps[0], lattice.origin[1] + j * plan.steps[1])
        for lattice in plan.lattices(*tile)
        for i, j in product(*map(range, lattice.counts))
    ]
    assert sorted(outputs) == list(product(*map(range, tile)))
    for lattice in plan.lattices(*tile):
        short = lattice.counts[1] - 1 <= config.delay_entries
        assert short or all(piece.kernel[0] == 1 for piece in plan.pieces)


@pytest.mark.parametrize(
    ("taps", "steps", "kernels"),
    [
        (window((3, 3)), ONE, [(3, 3)]),
        (window((5, 5)), ONE, [(3, 5), (2, 5)]),
        (window((3, 9)), ONE, [(3, 5), (3, 4)]),
        (window((1, 31)), ONE, [(1, 16), (1, 15)]),
        (window((3, 3), (2, 2)), ONE, [(2, 2), (1, 2), (2, 1), (1, 1)]),
        (window((3, 3), dilation=(2, 2)), (2, 2), [(3, 3)]),
        (window((3, 3), (2, 2), (2, 2)), ONE, [(3, 3)]),
        (window((1, 2), dilation=(1, 40)), ONE, [(1, 1)] * 2),
    ],
    ids=["3x3", "5x5", "3x9", "long", "stride 2", "dilated", "as strided", "far"],
)
def test_pieces_are_few_and_as_large_as_the_array_takes(
    taps: Window, steps: Pair, kernels: list[Pair]
) -> None:
    plan = plan_of(taps, 14, 14, CONFIG)
    assert (plan.steps, [piece.kernel for piece in plan.pieces]) == (steps, kernels)


def test_longer_rows_than_a_delay_line_holds_are_filtered_one_row_of_taps_at_a_time() -> None:
    most = CONFIG.delay_entries + 1
    assert [piece.kernel for piece in plan_of(window((3, 3)), 9, most, CONFIG).pieces] == [(3, 3)]
    assert [piece.kernel for piece in plan_of(window((3, 3)), 9, most + 1, CONFIG).pieces] == [(1, 3)] * 3


def test_weights_stand_piece_by_piece() -> None:
    weights = np.arange(9)[:, None] * np.array([1, 10])
    pieces = plan_of(window((3, 3), (2, 2)), 9, 9, CONFIG).pieces
    assert piece_weights(weights, pieces)[:, 0].tolist() == [0, 2, 6, 8, 3, 5, 1, 7, 4]
    assert piece_weights(weights, pieces)[:, 1].tolist() == [0, 20, 60, 80, 30, 50, 10, 70, 40]


def test_cycles_are_the_places_that_stream_or_the_taps_that_fill() -> None:
    assert plan_of(window((3, 3)), 7, 7, CONFIG).cycles(7, 7, 1) == 9 * 9
    assert plan_of(window((3, 3)), 7, 7, CONFIG).cycles(7, 7, 2) == 2 * 9 * 9
    assert plan_of(window((3, 3)), 1, 1, CONFIG).cycles(1, 1, 1) == 9
    dilated = plan_of(window((3, 3), dilation=(2, 2)), 7, 7, CONFIG)
    assert dilated.cycles(7, 7, 1) == (4 + 2) ** 2 + 2 * (4 + 2) * (3 + 2) + (3 + 2) ** 2
