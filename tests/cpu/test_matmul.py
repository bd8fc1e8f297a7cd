"""Float products through the one kernel."""

import numpy as np
import pytest
from tvm import relax

from passes.rewrite import bindings_of
from targets.cpu import build
from targets.cpu.matmul import ScheduleMatmul
from tests.passes.support import build_module, random_array

SHAPES = [
    ((3, 5, 7), (3, 7, 9)),
    ((1, 64, 33), (1, 33, 1)),
    ((1, 1, 1), (1, 1, 1)),
    ((5, 7), (7, 17)),
    ((2, 3, 5, 7), (2, 3, 7, 4)),
    ((2, 3, 5, 7), (7, 16)),
    ((2, 3, 5, 7), (1, 3, 7, 4)),
    ((7,), (7, 3)),
]
"""The last two are left to TVM: their batches differ, or there is no row."""


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_products_of_any_rank_equal_numpy(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = random_array(*left, seed=1), random_array(*right, seed=2)
    module = build_module(lambda emitter, x, y: relax.op.matmul(x, y), left, right)
    # sums of up to 33 products of normal numbers: a few units of the last place of the largest partial sum
    np.testing.assert_allclose(build(module).run([a, b])[0], a @ b, atol=64 * np.finfo(np.float32).eps * 8)


@pytest.mark.parametrize(("left", "right"), SHAPES[:6])
def test_products_of_equal_batches_use_the_kernel(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    module = ScheduleMatmul(build_module(lambda emitter, x, y: relax.op.matmul(x, y), left, right))
    callees = [str(b.value.op) for b in bindings_of(module["main"]) if isinstance(b.value, relax.Call)]
    assert not any("matmul" in callee for callee in callees)
