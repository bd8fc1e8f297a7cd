"""Softmax and its relatives become a maximum, an exponential, a sum and a reciprocal."""

from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from passes.decompose_softmax import decompose_softmax
from passes.rewrite import Emitter
from tests.passes.support import build_module, listing, random_array, run

_op, _nn = relax.op, relax.op.nn
Operator = Callable[..., relax.Expr]


def _spelled_out(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    power = emitter.emit(_op.exp(x))
    return _op.divide(power, _op.sum(power, axis=[1], keepdims=True))


def test_softmax_is_exponentials_times_one_over_their_sum() -> None:
    module = build_module(lambda emitter, x: _nn.softmax(x, -1), (2, 3, 5))
    assert listing(decompose_softmax(module)) == [
        "y#1 = max(x0)",
        "y#2 = subtract(x0, y#1)",
        "y#3 = unary[exp](y#2)",
        "y#4 = matmul(y#3, const[5, 1])",
        "y#5 = unary[reciprocal](y#4)",
        "y = multiply(y#3, y#5)",
    ]


def test_log_softmax_subtracts_the_logarithm_of_the_sum() -> None:
    module = build_module(lambda emitter, x: _nn.log_softmax(x, -1), (2, 5))
    assert listing(decompose_softmax(module)) == [
        "y#1 = max(x0)",
        "y#2 = subtract(x0, y#1)",
        "y#3 = unary[exp](y#2)",
        "y#4 = matmul(y#3, const[5, 1])",
        "y#5 = unary[log](y#4)",
        "y = subtract(y#2, y#5)",
    ]


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("operator", [_nn.softmax, _nn.log_softmax])
def test_every_axis_keeps_its_values(operator: Operator, axis: int) -> None:
    module = build_module(lambda emitter, x: operator(x, axis), (2, 3, 5))
    x = random_array(2, 3, 5, scale=5.0)
    np.testing.assert_allclose(run(decompose_softmax(module), x)[0], run(module, x)[0], rtol=2e-6, atol=1e-6)


def test_a_softmax_spelled_without_its_maximum_gets_it_subtracted() -> None:
    lowered = decompose_softmax(build_module(_spelled_out, (2, 5)))
    x = np.array([[1.0, 2.0, 300.0, 300.0, 0.0], [-300.0, -301.0, -302.0, -303.0, -304.0]], np.float32)
    expected = np.exp(x - x.max(1, keepdims=True))
    # exp(300) is infinite in float32
    np.testing.assert_allclose(run(lowered, x)[0], expected / expected.sum(1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", [[1], [0, 1], None])
def test_a_logarithm_of_a_sum_of_exponentials_subtracts_the_maximum_first(axes, keepdims: bool) -> None:
    module = build_module(
        lambda emitter, x: relax.op.log(relax.op.sum(relax.op.exp(x), axes, keepdims)), (3, 5)
    )
    x = random_array(3, 5) + 300.0
    # exp(300) is infinite in float32
    expected = np.logaddexp.reduce(
        x.astype(np.float64), axis=tuple(axes) if axes else (0, 1), keepdims=keepdims
    )
    np.testing.assert_allclose(run(decompose_softmax(module), x)[0], expected, rtol=1e-6)
