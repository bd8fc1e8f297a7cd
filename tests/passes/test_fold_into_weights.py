"""Rows of factors and offsets before a linear layer move into its weights and its bias."""

import numpy as np
from tvm import relax

from passes.fold_into_weights import fold_into_weights
from passes.rewrite import Emitter
from passes.simplify import simplify
from tests.passes.support import build_module, constant, listing, random_array, run

_op = relax.op
_scale, _shift, _bias = (constant(random_array(8, seed=seed)) for seed in (1, 2, 3))
_weights = constant(random_array(8, 8, seed=4))


def _affine(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    return emitter.emit(_op.add(_op.multiply(x, _scale), _shift))


def test_scale_and_shift_before_a_linear_layer_become_its_weights_and_bias() -> None:
    module = build_module(lambda e, x: _op.add(_op.matmul(_affine(e, x), _weights), _bias), (2, 3, 8))
    folded = simplify(fold_into_weights(module))
    assert listing(folded) == ["y#4 = matmul(x0, const[8, 8])", "y#2 = add(y#4, const[8])"]
    x = random_array(2, 3, 8)
    # sums of 8 products of values below 4
    np.testing.assert_allclose(run(folded, x)[0], run(module, x)[0], atol=8 * 64 * 2.0**-23)


def test_a_reshape_that_keeps_the_last_axis_may_stand_between() -> None:
    module = build_module(lambda e, x: _op.matmul(_op.reshape(_affine(e, x), [6, 8]), _weights), (2, 3, 8))
    folded = fold_into_weights(module)
    assert listing(folded) == [
        "y#4 = reshape(x0, [6, 8])",
        "y#5 = matmul(y#4, const[8, 8])",
        "y#2 = add(y#5, const[8])",
    ]
    x = random_array(2, 3, 8)
    np.testing.assert_allclose(run(folded, x)[0], run(module, x)[0], atol=8 * 64 * 2.0**-23)


def test_several_linear_layers_share_what_is_folded() -> None:
    def body(emitter: Emitter, x: relax.Expr) -> tuple[relax.Expr, relax.Expr]:
        normal = _affine(emitter, x)
        return _op.matmul(normal, _weights), _op.matmul(normal, constant(random_array(8, 4)))

    module = build_module(body, (3, 8))
    folded = fold_into_weights(module)
    assert [line.split(" = ")[1] for line in listing(folded)[:-1]] == [
        "matmul(x0, const[8, 8])",
        "add(y#4, const[8])",
        "matmul(x0, const[8, 4])",
        "add(y#5, const[4])",
    ]


def test_a_scaled_tensor_that_something_else_reads_stays() -> None:
    def body(emitter: Emitter, x: relax.Expr) -> relax.Expr:
        normal = _affine(emitter, x)
        return _op.add(normal, _op.matmul(normal, _weights))

    module = build_module(body, (3, 8))
    assert listing(fold_into_weights(module)) == listing(module)


def test_a_column_of_factors_stays() -> None:
    column = constant(random_array(8, 1))
    module = build_module(lambda e, x: _op.matmul(_op.multiply(x, column), _weights), (8, 8))
    assert listing(fold_into_weights(module)) == listing(module)
