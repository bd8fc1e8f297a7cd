"""Random depthwise convolutions between products, alone or several in a row, on random small arrays: exact, whatever tiles
are chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from tvm import relax

from passes.matrix_form.im2col import Window
from passes.rewrite import Emitter, shape_of
from targets.gemm_accel.config import AcceleratorConfig
from tests.gemm_accel.codegen.support import Draw, assert_equal_to_bodies
from tests.gemm_accel.codegen.test_separable import pointwise

CASES = 30


@dataclass(frozen=True)
class Block:
    """A product into the window's channels if `before`, the depthwise convolution, and a product back if `behind`."""

    window: Window
    before: bool
    behind: bool
    table: bool


def _config(rng: np.random.Generator) -> AcceleratorConfig:
    rows, columns = rng.choice([4, 8, 16], 2)
    return AcceleratorConfig(
        rows=int(rows),
        columns=int(columns),
        scratchpad_bytes=int(rng.choice([16, 32, 64])) * 1024,
        accumulator_entries=int(rng.choice([512, 1024, 4096])),
        dram_bytes_per_cycle=int(rng.choice([2, 16])),
        delay_lines=int(rng.integers(0, 4)),
        delay_entries=int(rng.choice([0, 5, 32])),
    )


def _block(rng: np.random.Generator, channels: int, size: tuple[int, int]) -> Block:
    before = bool(rng.random() < 0.7)
    groups = int(rng.integers(2, 50)) if before else channels
    while True:
        pairs = [
            tuple(int(n) for n in rng.integers(low, high, 2))
            for low, high in ((1, 5), (1, 4), (1, 3), (0, 4), (0, 4))
        ]
        window = Window(*pairs, groups)
        if min(window.output_extents(size)) > 0:
            return Block(window, before, bool(rng.random() < 0.7), bool(rng.random() < 0.5))


def _emit(draw: Draw, x: relax.Expr, block: Block, dtype: str) -> relax.Expr:
    """The block on an image [batch, channels, height, width] whose channels lie innermost; with a residual where it fits."""
    emit, window, source = draw.emitter.emit, block.window, x
    batch, first, *size = shape_of(x)
    if block.before:
        x = pointwise(draw, x, (batch, *size), first, window.groups)
    weights = draw.constant((window.groups, int(np.prod(window.kernel)), 1), "int16")
    outputs = window.output_extents(size)
    product = draw.gemm(draw.im2col(draw.pwl(x, dtype) if block.table else x, window), weights, "int16")
    image = emit(relax.op.reshape(product, [window.groups, batch, *outputs]))
    x = emit(relax.op.permute_dims(image, [1, 0, 2, 3]))
    if block.behind:
        x = pointwise(draw, x, (batch, *outputs), window.groups, first)
    if shape_of(x) != shape_of(source):
        return x
    pixels = [emit(relax.op.permute_dims(each, [0, 2, 3, 1])) for each in (x, source)]
    return emit(relax.op.permute_dims(draw.add(*pixels, "int16"), [0, 3, 1, 2]))


@pytest.mark.parametrize("seed", range(CASES))
def test_a_random_chain_of_blocks_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    config, dtype = _config(rng), str(rng.choice(["int16", "int16", "int8", "int32"]))
    batch, channels, *size = (int(rng.integers(1, high)) for high in (3, 20, 14, 14))

    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(seed))
        x = emitter.emit(relax.op.permute_dims(p[0], [0, 3, 1, 2]))
        for _ in range(int(rng.integers(1, 4))):
            _, channels, *size = shape_of(x)
            x = _emit(draw, x, _block(rng, channels, (size[0], size[1])), dtype)
        return x

    assert_equal_to_bodies([((batch, *size, channels), dtype)], body, config)
