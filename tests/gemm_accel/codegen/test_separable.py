"""A depthwise convolution runs with the products around it: exactly, and without a trip through the DRAM."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tvm import relax

from passes.matrix_form.im2col import Window
from passes.rewrite import Emitter
from targets.gemm_accel import isa
from targets.gemm_accel.codegen import CompiledRegion
from targets.gemm_accel.config import AcceleratorConfig
from tests.gemm_accel.codegen.support import Draw, assert_equal_to_bodies

NARROW_PORT = AcceleratorConfig(dram_bytes_per_cycle=2)
"""Here traffic costs most, so that everything that may stay on chip does."""
LITTLE_MEMORY = replace(NARROW_PORT, rows=8, columns=8, scratchpad_bytes=24 * 1024, accumulator_entries=2048)


def window_of(kernel: int, stride: int, channels: int, padding: int | None = None) -> Window:
    """A square window that is padded to leave the size as it is, or by `padding`."""
    pads = (kernel // 2,) * 2 if padding is None else (padding,) * 2
    return Window((kernel,) * 2, (stride,) * 2, (1, 1), pads, pads, channels)


def compiled(
    size: tuple[int, int],
    window: Window,
    config: AcceleratorConfig,
    parts: Sequence[str] = ("before", "behind", "residual"),
    batch: int = 1,
    dtype: str = "int16",
) -> CompiledRegion:
    """Some of: a product of 6 channels into those of the window, the depthwise convolution, a product into 10."""
    channels, outputs = window.groups, window.output_extents(size)
    first = 6 if "before" in parts else channels

    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        x = p[0]
        if "before" in parts:
            product = pointwise(draw, x, (batch, *size), first, channels)
            x = draw.pwl(product, dtype) if "linear" not in parts else product
        matrix = draw.im2col(x, window)
        taps = int(np.prod(window.kernel))
        weights = draw.constant((channels, taps, 1), "int16")
        product = emitter.emit(
            relax.op.reshape(draw.gemm(matrix, weights, dtype), [channels, batch, *outputs])
        )
        x = emitter.emit(relax.op.permute_dims(product, [1, 0, 2, 3]))
        x = draw.pwl(x, dtype) if "linear" not in parts else x
        if "behind" in parts:
            x = pointwise(draw, x, (batch, *outputs), channels, 10)
        return draw.add(x, p[1], dtype) if "residual" in parts else x

    last = 10 if "behind" in parts else channels
    parameters = [((batch, first, *size), dtype), ((batch, last, *outputs), dtype)]
    return assert_equal_to_bodies(parameters, body, config)


def pointwise(
    draw: Draw, x: relax.Expr, image: tuple[int, int, int], channels: int, outputs: int
) -> relax.Expr:
    """A product of the channels of each pixel."""
    rows = draw.im2col(x, Window((1, 1), (1, 1), (1, 1), (0, 0), (0, 0)))
    product = draw.gemm(rows, draw.constant((1, channels, outputs), "int16"), "int16")
    pixels = draw.emitter.emit(relax.op.reshape(product, [*image, outputs]))
    return draw.emitter.emit(relax.op.permute_dims(pixels, [0, 3, 1, 2]))


def stored_bytes(region: CompiledRegion) -> int:
    """The bytes of all results that go to the DRAM."""
    stores = [command for command in region.program.commands if isinstance(command, isa.Store)]
    return sum(int(np.prod(store.counts)) * store.type.bytes for store in stores)


@pytest.mark.parametrize(
    ("size", "window", "batch"),
    [
        ((24, 20), window_of(3, 1, 32), 1),
        ((25, 23), window_of(3, 2, 24), 1),
        ((15, 20), window_of(5, 1, 12), 2),
        ((12, 40), window_of(3, 1, 16, padding=0), 1),
        ((9, 9), window_of(3, 1, 8, padding=3), 1),
        ((41, 39), window_of(3, 2, 32), 1),
        ((16, 16), Window((3, 2), (1, 2), (2, 1), (2, 0), (1, 1), 16), 1),
    ],
)
def test_products_around_a_depthwise_convolution_are_exact(
    size: tuple[int, int], window: Window, batch: int
) -> None:
    for config in (NARROW_PORT, LITTLE_MEMORY):
        compiled(size, window, config, batch=batch)


@pytest.mark.parametrize("parts", [("before",), ("behind",), ("before", "linear", "behind")])
def test_either_product_may_be_missing_and_a_table_too(parts: Sequence[str]) -> None:
    compiled((21, 21), window_of(5, 2, 20), LITTLE_MEMORY, parts)


def test_what_lies_between_the_products_never_leaves_the_chip() -> None:
    region = compiled((40, 40), window_of(3, 1, 48), NARROW_PORT)
    assert stored_bytes(region) == 40 * 40 * 10 * 2
    assert region.arena_bytes == 40 * 40 * (6 + 10 + 10) * 2


def test_one_product_alone_may_join_the_convolution() -> None:
    before = compiled((40, 40), window_of(3, 2, 48), NARROW_PORT, ("before",))
    assert stored_bytes(before) == 20 * 20 * 48 * 2
    behind = compiled((40, 40), window_of(3, 2, 48), NARROW_PORT, ("behind",))
    assert stored_bytes(behind) == 20 * 20 * 10 * 2


def test_a_tensor_that_others_read_goes_to_the_dram() -> None:
    window, size = window_of(3, 1, 32), (32, 32)

    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        middle = draw.pwl(pointwise(draw, p[0], (1, *size), 6, 32), "int16")
        product = draw.gemm(draw.im2col(middle, window), draw.constant((32, 9, 1), "int16"), "int16")
        image = emitter.emit(relax.op.reshape(product, [1, 32, *size]))
        return draw.add(image, middle, "int16")

    region = assert_equal_to_bodies([((1, 6, *size), "int16")], body, NARROW_PORT)
    assert stored_bytes(region) == 2 * 32 * 32 * 32 * 2


def test_the_rows_of_a_patch_are_drained_together_whether_a_table_follows_or_not() -> None:
    """The array would wait for the drain unit to take a command for each row."""
    kinds = [
        [type(c) for c in compiled((24, 20), window_of(3, 1, 32), NARROW_PORT, parts).program.commands]
        for parts in (("before", "behind"), ("before", "linear", "behind"))
    ]
    assert kinds[0].count(isa.Drain) == kinds[1].count(isa.Drain)


def test_a_wide_image_passes_in_two_halves() -> None:
    compiled((20, 20), window_of(3, 1, 16), NARROW_PORT, ("before", "linear", "behind"), dtype="int32")


def _block(draw: Draw, x: relax.Expr, channels: int, stride: int, residual: bool) -> relax.Expr:
    """A product of 6 into `channels`, a depthwise convolution of 3 × 3 and a product back, on an image [1, 12, 12, 6]."""
    size, emit = (12, 12), draw.emitter.emit
    window = window_of(3, stride, channels)
    outputs = window.output_extents(size)
    image = emit(relax.op.permute_dims(x, [0, 3, 1, 2]))
    middle = draw.pwl(pointwise(draw, image, (1, *size), 6, channels), "int16")
    product = draw.gemm(draw.im2col(middle, window), draw.constant((channels, 9, 1), "int16"), "int16")
    filtered = emit(relax.op.reshape(product, [1, channels, *outputs]))
    result = pointwise(draw, draw.pwl(filtered, "int16"), (1, *outputs), channels, 6)
    pixels = emit(relax.op.permute_dims(result, [0, 2, 3, 1]))
    return draw.add(pixels, x, "int16") if residual else pixels


def _loaded_bytes(region: CompiledRegion) -> int:
    """The bytes of the arena that are loaded."""
    first = len(region.constants)
    loads = [c for c in region.program.commands if isinstance(c, isa.Load) and c.dram >= first]
    return sum(int(np.prod(load.counts)) * load.type.bytes for load in loads)


@pytest.mark.parametrize("stride", [1, 2])
def test_what_a_block_leaves_whole_the_next_takes_where_it_lies(stride: int) -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw, x = Draw(emitter, np.random.default_rng(0)), p[0]
        for channels in (32, 48, 32):
            x = _block(draw, x, channels, 1, residual=True)
        return _block(draw, x, 32, stride, residual=False)

    region = assert_equal_to_bodies([((1, 12, 12, 6), "int16")], body, NARROW_PORT)
    image = 12 * 12 * 6 * 2
    # the first block loads it twice, as its operand and as its residual
    assert _loaded_bytes(region) == 2 * image
    assert stored_bytes(region) == 3 * image + image // stride**2


def test_a_tensor_that_is_needed_later_too_is_loaded_then() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        first = _block(draw, p[0], 32, 1, residual=False)
        third = _block(draw, _block(draw, first, 32, 1, residual=False), 32, 1, residual=False)
        return draw.add(third, first, "int16")

    region = assert_equal_to_bodies([((1, 12, 12, 6), "int16")], body, NARROW_PORT)
    assert _loaded_bytes(region) == 2 * 12 * 12 * 6 * 2


def test_a_block_whose_result_is_read_in_two_ways_stores_both() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        result = _block(draw, p[0], 32, 1, residual=False)
        return relax.Tuple([result, draw.pwl(result, "int16")])

    assert_equal_to_bodies([((1, 12, 12, 6), "int16")], body, NARROW_PORT)


@pytest.mark.parametrize(
    ("size", "window", "accumulators"),
    [
        ((2, 5), Window((1, 1), (1, 4), (1, 1), (0, 3), (8, 3), 40), 512),
        ((1, 4), Window((3, 3), (1, 1), (1, 1), (5, 5), (5, 5), 16), 2048),
        ((5, 1), Window((1, 2), (2, 2), (1, 1), (3, 4), (3, 4), 40), 512),
    ],
    ids=["behind", "around", "before"],
)
def test_a_patch_that_lies_wholly_in_the_padding_is_zero_and_no_more(
    size: tuple[int, int], window: Window, accumulators: int
) -> None:
    config = replace(LITTLE_MEMORY, accumulator_entries=accumulators)
    compiled(size, window, config, ("before", "linear", "behind"))


@pytest.mark.parametrize(("kernel", "channels"), [(3, 16), (3, 40), (7, 24)])
def test_a_padded_row_may_be_longer_than_there_are_sums(kernel: int, channels: int) -> None:
    config = replace(LITTLE_MEMORY, accumulator_entries=1024)
    compiled((7, 7), window_of(kernel, 1, channels), config, ("before", "linear", "behind"))
