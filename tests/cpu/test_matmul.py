"""Float products, and what follows them, through the one kernel."""

import numpy as np
import pytest
from tvm import relax

from nmc.pwl.table import fit_table
from passes.matrix_form.pwl import float_pwl
from passes.rewrite import Emitter, bindings_of
from targets.cpu import build
from targets.cpu.matmul import ScheduleMatmul
from tests.passes.support import build_module, constant, listing, random_array

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


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_a_row_a_tensor_and_a_few_segments_join_the_product(rows: int) -> None:
    shapes = (2, rows, 5), (2, 5, 33), (2, rows, 33)
    bias = random_array(33, seed=8)

    def body(emitter: Emitter, a: relax.Expr, b: relax.Expr, c: relax.Expr) -> relax.Expr:
        y = emitter.emit(relax.op.add(relax.op.matmul(a, b), constant(bias)))
        y = emitter.emit(relax.op.reshape(relax.op.add(c, y), (2, rows, 3, 11)))
        return float_pwl(emitter, y, fit_table("relu", -9.0, 9.0))

    module = build_module(body, *shapes)
    assert all("call_tir(" in line or "reshape(" in line for line in listing(ScheduleMatmul(module)))
    a, b, c = (random_array(*shape, seed=index) for index, shape in enumerate(shapes))
    expected = np.maximum(a @ b + bias + c, 0).reshape(2, rows, 3, 11)
    # sums of seven normal numbers
    np.testing.assert_allclose(build(module).run([a, b, c])[0], expected, atol=1e-5)


def test_rows_of_each_group_join_the_product() -> None:
    bias = random_array(3, 1, 2, seed=8)
    module = build_module(
        lambda emitter, a, b: relax.op.add(relax.op.matmul(a, b), constant(bias)), (3, 4, 5), (3, 5, 2)
    )
    a, b = random_array(3, 4, 5, seed=1), random_array(3, 5, 2, seed=2)
    assert not any(" add(" in line for line in listing(ScheduleMatmul(module)))
    np.testing.assert_allclose(build(module).run([a, b])[0], a @ b + bias, atol=1e-5)


def test_what_is_read_again_or_is_a_large_table_does_not_join() -> None:
    gelu = fit_table("gelu", -4.0, 4.0)

    def body(emitter: Emitter, a: relax.Expr, b: relax.Expr) -> relax.Expr:
        product = emitter.emit(relax.op.matmul(a, b))
        squares = emitter.emit(float_pwl(emitter, product, fit_table("relu", -9.0, 9.0)))
        return relax.op.add(squares, float_pwl(emitter, emitter.emit(relax.op.matmul(product, b)), gelu))

    listed = listing(ScheduleMatmul(build_module(body, (5, 5), (5, 5))))
    assert sum("nmc.pwl" in line for line in listed) == 2
    assert sum(" add(" in line for line in listed) == 1
