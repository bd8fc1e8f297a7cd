"""How the tiles of a gemm are chosen."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tvm import relax

from passes.rewrite import Emitter
from targets.gemm_accel.codegen.pipeline import pipelined_cycles
from targets.gemm_accel.codegen.tile_choice import choose_tile
from targets.gemm_accel.codegen.tiling import GemmShape, operand_bytes
from targets.gemm_accel.config import AcceleratorConfig
from targets.gemm_accel.simulator import Simulator
from tests.gemm_accel.codegen.support import Draw, compiled, function_of

CONFIG = AcceleratorConfig()
HALF = CONFIG.scratchpad_bytes // 2


def _shape(m: int, n: int, k: int) -> GemmShape:
    """A product of 16-bit matrices whose rows are dense in the DRAM."""
    beats = 2 / CONFIG.dram_bytes_per_cycle
    return GemmShape(1, m, n, k, 2, 2, beats, beats, beats, CONFIG.rows, CONFIG.columns, False, 64)


@pytest.mark.parametrize("m, n, k", [(196, 1024, 256), (49, 512, 512), (1, 768, 768), (784, 128, 512)])
def test_the_replica_of_the_timing_model_agrees_with_it(m: int, n: int, k: int) -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        return draw.gemm(p[0], draw.constant((1, k, n), "int16"), "int16")

    region = compiled(function_of([((1, m, k), "int16")], body), CONFIG)
    simulated = Simulator(region.program, region.constants).profile().cycles
    shape = _shape(m, n, k)
    tile = choose_tile(shape, CONFIG.accumulator_entries, HALF, lambda rows, columns: 4 * rows * columns)
    # the replica begins with the first weights there: they take this long here, as no kernel comes before
    first = tile.k * tile.n * shape.b_beats
    assert pipelined_cycles(shape, tile) == pytest.approx(simulated - first, rel=0.02, abs=first)


def test_rows_are_divided_equally_rather_than_leaving_a_few_to_the_last_tile() -> None:
    tile = choose_tile(_shape(196, 1024, 256), 2048, HALF, lambda rows, columns: 4 * rows * columns)
    last = 196 % tile.m
    assert not last or last >= CONFIG.rows


def test_no_tile_takes_more_than_there_is() -> None:
    shape = replace(_shape(100, 300, 500), groups=3)
    tile = choose_tile(shape, 512, 4096, lambda rows, columns: 4 * rows * columns)
    assert operand_bytes(shape, tile) + 4 * tile.m * tile.n <= 4096
    assert 2 * tile.m * tile.n <= 512
