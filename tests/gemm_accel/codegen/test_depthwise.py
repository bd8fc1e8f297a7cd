"""All mappings of a depthwise convolution compute what its body computes; the fastest one is taken."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from tvm import relax

from passes.matrix_form.im2col import Window
from passes.rewrite import Emitter, shape_of
from targets.gemm_accel import isa
from targets.gemm_accel.codegen import CompiledRegion
from targets.gemm_accel.config import AcceleratorConfig
from tests.gemm_accel.codegen.support import SMALL, Draw, assert_equal_to_bodies

WINDOWS = {
    "3x3": Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1), 8),
    "5x5": Window((5, 5), (1, 1), (1, 1), (2, 2), (2, 2), 8),
    "stride 2": Window((3, 3), (2, 2), (1, 1), (0, 0), (1, 1), 8),
    "stride 3, dilated": Window((3, 2), (3, 3), (2, 2), (2, 1), (2, 0), 8),
    "dilated by rows": Window((3, 3), (1, 1), (3, 1), (3, 1), (3, 1), 8),
    "one row": Window((1, 4), (1, 1), (1, 1), (0, 2), (0, 1), 8),
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


def _kinds(region: CompiledRegion) -> set[str]:
    return {type(command).__name__ for command in region.program.commands}


@pytest.mark.parametrize("window", WINDOWS.values(), ids=list(WINDOWS))
@pytest.mark.parametrize("config", [SMALL, AcceleratorConfig()], ids=["small", "default"])
def test_a_depthwise_convolution_is_exact_whatever_its_window(
    window: Window, config: AcceleratorConfig
) -> None:
    region = _compiled(window, (17, 18), config)
    if config is not SMALL and window.strides == (1, 1):
        assert "Gemm" in _kinds(region) and "Mac" not in _kinds(region)


def test_wide_pixels_pass_the_array_in_two_halves() -> None:
    assert "Gemm" in _kinds(_compiled(WINDOWS["3x3"], (16, 16), AcceleratorConfig(), "int32"))


def test_single_pixels_are_left_to_the_diagonal_cells() -> None:
    assert "Mac" in _kinds(_compiled(WINDOWS["3x3"], (2, 2), AcceleratorConfig()))


@pytest.fixture
def only_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves blocks of outputs as the only mapping."""
    module = "targets.gemm_accel.codegen.depthwise"
    monkeypatch.setattr(f"{module}.choose_toeplitz", lambda *_: None)
    monkeypatch.setattr(f"{module}.choose_mac_tile", lambda *_: (math.inf, (1, 1, 1, 1)))


@pytest.mark.parametrize("window", WINDOWS.values(), ids=list(WINDOWS))
@pytest.mark.parametrize(
    ("size", "config"),
    [((9, 13), SMALL), ((17, 18), AcceleratorConfig()), ((7, 7), AcceleratorConfig(rows=8, columns=32))],
    ids=["small", "default", "8x32"],
)
@pytest.mark.usefixtures("only_blocks")
def test_blocks_of_outputs_are_exact_whatever_the_window(
    window: Window, size: tuple[int, int], config: AcceleratorConfig
) -> None:
    kinds = _kinds(_compiled(window, size, config, residual=False))
    assert "Gemm" in kinds and "Mac" not in kinds


@pytest.mark.parametrize(("dtype", "fill"), [("int8", -3), ("int32", 0), ("int32", 5)])
@pytest.mark.usefixtures("only_blocks")
def test_blocks_of_outputs_take_pixels_of_any_type(dtype: str, fill: int) -> None:
    _compiled(WINDOWS["stride 2"], (16, 15), AcceleratorConfig(), dtype, fill, residual=False)


def test_a_small_image_takes_a_pass_for_the_window_of_a_block() -> None:
    """Blocks of 2 × 2 outputs of a kernel of 3 × 3 see 16 inputs, as many as the array has rows; 16 blocks are 8 × 8."""
    region = _compiled(WINDOWS["3x3"], (8, 8), AcceleratorConfig(), residual=False)
    shapes = {(c.m, c.k, c.n, c.a_run) for c in region.program.commands if isinstance(c, isa.Gemm)}
    assert shapes == {(16, 16, 4, 4)}


@pytest.mark.parametrize("window", WINDOWS.values(), ids=list(WINDOWS))
@pytest.mark.parametrize("size", [(3, 7), (7, 5), (4, 4)], ids=str)
@pytest.mark.usefixtures("only_blocks")
def test_blocks_that_are_whole_rows_or_columns_are_exact(window: Window, size: tuple[int, int]) -> None:
    if min(window.output_extents(size)) > 0:
        _compiled(window, size, AcceleratorConfig(), fill=0, residual=False)


@pytest.mark.parametrize(
    ("window", "size", "depth"),
    [
        (WINDOWS["5x5"], (7, 7), 5 * 7),
        (Window((5, 4), (1, 1), (1, 1), (2, 1), (2, 2), 8), (7, 6), 7 * 4),
        (Window((5, 3), (1, 1), (1, 2), (2, 2), (2, 2), 8), (7, 7), 7 * 3),
    ],
    ids=["as wide", "as high", "as high, dilated"],
)
@pytest.mark.usefixtures("only_blocks")
def test_a_block_as_wide_or_as_high_as_the_image_sees_no_padding(
    window: Window, size: tuple[int, int], depth: int
) -> None:
    region = _compiled(window, size, AcceleratorConfig(), fill=0, residual=False)
    assert {command.k for command in region.program.commands if isinstance(command, isa.Gemm)} == {depth}
