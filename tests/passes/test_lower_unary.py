"""Nonlinear operators become unary functions; what is a step stays."""

from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from passes.lower_unary import DIRECT, lower_unary
from passes.matrix_form.unary import FUNCTIONS
from tests.passes.support import build_module, constant, listing, random_array, run

_op, _nn = relax.op, relax.op.nn

LOWERED: dict[str, tuple[Callable[[relax.Expr], relax.Expr], list[str]]] = {
    "relu": (_nn.relu, ["y = unary[relu](x0)"]),
    "clip": (lambda x: _op.clip(x, -1.0, 2.0), ["y = unary[clip hi=2 lo=-1](x0)"]),
    "relu6": (lambda x: _op.clip(x, 0.0, 6.0), ["y = unary[relu6](x0)"]),
    "maximum with zero": (lambda x: _op.maximum(constant(0.0), x), ["y = unary[relu](x0)"]),
    "minimum with a number": (
        lambda x: _op.minimum(x, constant(1.5)),
        ["y = unary[clip hi=1.5 lo=-3.40282e+38](x0)"],
    ),
    "leaky relu": (lambda x: _nn.leakyrelu(x, 0.25), ["y = unary[leaky_relu alpha=0.25](x0)"]),
    "softplus": (lambda x: _nn.softplus(x), ["y = unary[softplus](x0)"]),
    "softplus with beta": (
        lambda x: _nn.softplus(x, beta=2.0),
        ["y#1 = multiply(x0, 2)", "y#2 = unary[softplus](y#1)", "y = multiply(y#2, 0.5)"],
    ),
    "rsqrt with epsilon": (
        lambda x: _op.rsqrt(_op.add(constant(0.5), _op.abs(x))),
        ["y#2 = unary[abs](x0)", "y = unary[rsqrt eps=0.5](y#2)"],
    ),
    "selu": (_nn.selu, ["y = unary[selu alpha=1.67326 gamma=1.0507](x0)"]),
    "prelu by channel": (
        lambda x: _nn.prelu(x, constant(np.array([0.1, 0.2, 0.3])), axis=1),
        [
            "y#1 = unary[clip hi=0 lo=-3.40282e+38](x0)",
            "y#2 = multiply(y#1, const[1, 3])",
            "y = add(x0, y#2)",
        ],
    ),
}


@pytest.mark.parametrize("operator", LOWERED)
def test_a_nonlinear_operator_becomes_unary_functions_of_the_same_values(operator: str) -> None:
    body, lines = LOWERED[operator]
    module = build_module(lambda emitter, x: body(x), (4, 3))
    lowered = lower_unary(module)
    assert listing(lowered) == lines
    x = random_array(4, 3, scale=3.0)
    np.testing.assert_allclose(run(lowered, x)[0], run(module, x)[0], atol=1e-6)


def test_every_plain_operator_names_a_function_that_exists() -> None:
    assert set(DIRECT.values()) <= set(FUNCTIONS)


@pytest.mark.parametrize("operator", ["floor", "ceil", "round", "isnan"])
def test_steps_stay(operator: str) -> None:
    module = build_module(lambda emitter, x: getattr(_op, operator)(x), (4,))
    assert listing(lower_unary(module)) == [f"y = {operator}(x0)"]


def test_integers_stay() -> None:
    module = build_module(lambda emitter, x: _op.abs(x), ((4,), "int64"))
    assert listing(lower_unary(module)) == ["y = abs(x0)"]


def test_the_maximum_of_two_tensors_stays() -> None:
    module = build_module(lambda emitter, x, z: _op.maximum(x, z), (4,), (4,))
    assert listing(lower_unary(module)) == ["y = maximum(x0, x1)"]
