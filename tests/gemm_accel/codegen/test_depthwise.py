"""A depthwise convolution computes what its body computes, whatever its window, its tiles and the array."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tvm import relax

from passes.matrix_form.im2col import Window
from passes.rewrite import Emitter, shape_of
from targets.gemm_accel import isa
from targets.gemm_accel.codegen import CompiledRegion
from targets.gemm_accel.config import AcceleratorConfig
from tests.gemm_accel.codegen.support import SMALL, Draw, assert_equal_to_bodies

DEFAULT = AcceleratorConfig()
WINDOWS = {
    "3x3": Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 8),
    "5x5": Window((5, 5), (1, 1), (1, 1), (2, 2), (2, 2), 8),
    "stride 2": Window((3, 3), (2, 2), (1, 1), (0, 0), (1, 1), 8),
    "stride 3, dilated": Window((3, 2), (3, 3), (2, 2), (2, 1), (2, 0), 8),
    "dilated by rows": Window((3, 3), (1, 1), (3, 1), (3, 1), (3, 1), 8),
    "dilated by columns": Window((2, 3), (1, 1), (1, 7), (0, 7), (1, 7), 8),
    "one row": Window((1, 4), (1, 1), (1, 1), (0, 2), (0, 1), 8),
    "longer than a column of cells": Window((1, 18), (1, 1), (1, 1), (0, 8), (0, 9), 8),
}


def _compiled(
    window: Window,
    size: tuple[int, int],
    config: AcceleratorConfig,
    dtype: str = "int16",
    fill: int = 3,
    residual: bool = True,
) -> CompiledRegion:
    """A depthwise convolution padded with `fill`, a table and perhaps a residual, compared with their bodies."""

    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        matrix = draw.im2col(p[0], window, fill)
        weights = draw.constant((window.groups, shape_of(matrix)[2], 1), "int16")
        product = draw.gemm(matrix, weights, "int16")
        outputs = window.output_extents(size)
        image = emitter.emit(relax.op.reshape(product, [1, window.groups, *outputs]))
        result = draw.pwl(image, "int16")
        return draw.add(result, p[1], "int16") if residual else result

    parameters = [
        ((1, window.groups, *size), dtype),
        ((1, window.groups, *window.output_extents(size)), "int16"),
    ]
    return assert_equal_to_bodies(parameters[: 1 + residual], body, config)


def _filters(region: CompiledRegion) -> list[isa.Filter]:
    return [command for command in region.program.commands if isinstance(command, isa.Filter)]


@pytest.mark.parametrize("window", WINDOWS.values(), ids=list(WINDOWS))
@pytest.mark.parametrize(
    "config", [SMALL, DEFAULT, replace(DEFAULT, delay_lines=0), replace(DEFAULT, delay_entries=4)],
    ids=["small", "default", "without delay lines", "short delay lines"],
)  # fmt: skip
def test_a_depthwise_convolution_is_exact_whatever_its_window(
    window: Window, config: AcceleratorConfig
) -> None:
    region = _compiled(window, (17, 18), config)
    assert _filters(region) and not any(isinstance(command, isa.Gemm) for command in region.program.commands)


@pytest.mark.parametrize(("dtype", "fill"), [("int8", -3), ("int32", 0), ("int32", 5)])
def test_pixels_of_any_type_are_exact(dtype: str, fill: int) -> None:
    _compiled(WINDOWS["stride 2"], (16, 15), DEFAULT, dtype, fill, residual=False)


@pytest.mark.parametrize("size", [(3, 7), (7, 5), (4, 4), (2, 2), (1, 40)], ids=str)
def test_small_and_narrow_images_are_exact(size: tuple[int, int]) -> None:
    _compiled(WINDOWS["3x3"], size, DEFAULT)


def test_all_channels_of_a_tile_are_filtered_by_one_command() -> None:
    commands = _filters(_compiled(WINDOWS["3x3"], (9, 10), DEFAULT))
    assert {(command.kernel, command.counts[2]) for command in commands} == {((3, 3), 8)}
    assert sum(command.counts[0] * command.counts[1] for command in commands) == 9 * 10


def test_what_a_stride_skips_never_streams() -> None:
    """The taps of 3 × 3 at stride 2 fall into four phases, each of which sees every second row and column."""
    commands = _filters(_compiled(WINDOWS["stride 2"], (17, 19), DEFAULT, residual=False))
    assert {command.kernel for command in commands} == {(1, 1), (1, 2), (2, 1), (2, 2)}
    pixel = 8 * 2
    assert {command.a_pitches[1] for command in commands} == {2 * pixel}


def test_a_dilated_kernel_is_filtered_as_one_without_holes() -> None:
    """Outputs two rows and columns apart are filtered together: a row of taps after the other would see 960 places, a tap
    after the other 2304."""
    window = Window((3, 3), (1, 1), (2, 2), (2, 2), (2, 2), 8)
    commands = _filters(_compiled(window, (16, 16), DEFAULT))
    assert {command.kernel for command in commands} == {(3, 3)}
    streamed = sum((c.counts[0] + 2) * (c.counts[1] + 2) for c in commands)
    assert streamed < 3 * 16 * 16
