"""Matrix products of any rank as groups of matrices, against numpy's matmul."""

import numpy as np
import pytest
from tvm import ir, relax

from passes.normalise_matmul import normalise_matmul
from passes.rewrite import bindings_of, callee_name, constant_value, shape_of
from tests.passes.oracle import float_tolerance
from tests.passes.support import build_module, constant, listing, random_array, run

SHAPES = [
    ((4, 5), (5, 3)),
    ((5,), (5, 3)),
    ((4, 5), (5,)),
    ((5,), (5,)),
    ((2, 4, 5), (5, 3)),
    ((2, 3, 4, 5), (5,)),
    ((4, 5), (2, 5, 3)),
    ((5,), (2, 3, 5, 4)),
    ((2, 3, 4, 5), (2, 3, 5, 6)),
    ((2, 3, 4, 5), (1, 3, 5, 6)),
    ((1, 3, 4, 5), (2, 1, 5, 6)),
    ((2, 1, 3, 4, 5), (3, 5, 6)),
    ((1, 4, 5), (3, 5, 2)),
]


@pytest.mark.parametrize("constants", ["none", "left", "right"])
def test_a_product_of_any_ranks_computes_what_numpy_does(constants: str) -> None:
    for left, right in SHAPES:
        a, b = random_array(*left, seed=1), random_array(*right, seed=2)
        if constants == "left":
            module, given = build_module(lambda emitter, x, a=a: relax.op.matmul(constant(a), x), right), [b]
        elif constants == "right":
            module, given = build_module(lambda emitter, x, b=b: relax.op.matmul(x, constant(b)), left), [a]
        else:
            module, given = build_module(lambda emitter, x, y: relax.op.matmul(x, y), left, right), [a, b]
        module = normalise_matmul(module)
        np.testing.assert_allclose(run(module, *given)[0], a @ b, rtol=0, atol=float_tolerance(5, a, b))
        check_form(module)


def check_form(module: ir.IRModule) -> None:
    for binding in bindings_of(module["main"]):
        if isinstance(binding.value, relax.Call) and callee_name(module, binding.value) == "relax.matmul":
            left, right = (shape_of(argument) for argument in binding.value.args)
            assert len(left) == len(right) == 3
            assert left[0] == right[0]
            assert constant_value(binding.value.args[0]) is None


def test_a_batch_that_only_the_left_operand_has_becomes_rows() -> None:
    module = normalise_matmul(
        build_module(lambda emitter, x: relax.op.matmul(x, constant(np.ones((8, 3)))), (2, 4, 8))
    )
    assert listing(module) == [
        "y#1 = reshape(x0, [1, 8, 8])",
        "y#2 = matmul(y#1, const[1, 8, 3])",
        "y = reshape(y#2, [2, 4, 3])",
    ]


def test_a_constant_on_the_left_moves_to_the_right() -> None:
    module = normalise_matmul(
        build_module(lambda emitter, x: relax.op.matmul(constant(np.ones((4, 8))), x), (8, 3))
    )
    assert [line.split(" = ")[1] for line in listing(module)] == [
        "reshape(x0, [1, 8, 3])",
        "permute_dims(y#1)",
        "matmul(y#2, const[1, 8, 4])",
        "permute_dims(y#3)",
        "reshape(y#4, [4, 3])",
    ]


def test_an_outer_product_multiplies_a_column_by_a_row() -> None:
    a, b = random_array(4, seed=3), random_array(5, seed=4)
    module = normalise_matmul(build_module(lambda emitter, x, y: relax.op.outer(x, y), (4,), (5,)))
    np.testing.assert_array_equal(run(module, a, b)[0], np.outer(a, b))


def test_a_product_of_integers_stays() -> None:
    module = normalise_matmul(
        build_module(lambda emitter, x, y: relax.op.matmul(x, y), ((4, 5), "int32"), ((5, 3), "int32"))
    )
    assert listing(module) == ["y = matmul(x0, x1)"]
