"""Activation functions are recognised however they are spelled, and nothing else is taken for one."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from passes.recognise_activations import recognise_activations
from passes.rewrite import Emitter
from tests.passes.support import build_module, constant, listing, random_array, run

_op, _nn = relax.op, relax.op.nn
_add, _sub, _mul, _div = _op.add, _op.subtract, _op.multiply, _op.divide
_max, _min, _exp, _log, _where = _op.maximum, _op.minimum, _op.exp, _op.log, _op.where
_half, _one, _two, _three, _six, _zero = (constant(value) for value in (0.5, 1.0, 2.0, 3.0, 6.0, 0.0))
_root = math.sqrt(2.0 / math.pi)
Spelling = Callable[[relax.Expr], relax.Expr]


def _cube(x: relax.Expr) -> relax.Expr:
    return _add(x, _mul(constant(0.044715), _mul(x, _mul(x, x))))


def _exponential_unit(x: relax.Expr, alpha: float, width: float = 1.0) -> relax.Expr:
    below = _sub(_exp(_mul(_min(x, _zero), constant(1.0 / width))), _one)
    return _add(_nn.relu(x), _mul(constant(alpha), below))


SPELLINGS: dict[str, tuple[Spelling, str]] = {
    "gelu by division": (
        lambda x: _mul(_mul(x, _half), _add(_op.erf(_div(x, constant(math.sqrt(2.0)))), _one)),
        "gelu",
    ),
    "gelu half outside": (
        lambda x: _mul(_half, _mul(_add(_one, _op.erf(_mul(constant(math.sqrt(0.5)), x))), x)),
        "gelu",
    ),
    "gelu in half precision": (
        lambda x: _mul(
            _mul(x, _half),
            _add(
                _op.erf(
                    _mul(x, constant(float(np.float16(math.sqrt(0.5))))),
                ),
                _one,
            ),
        ),
        "gelu",
    ),
    "gelu by tanh": (
        lambda x: _mul(_mul(_half, x), _add(_one, _op.tanh(_mul(constant(_root), _cube(x))))),
        "gelu_tanh",
    ),
    "gelu by pow": (
        lambda x: _mul(
            _mul(x, _half),
            _add(
                _op.tanh(_mul(_add(x, _mul(_op.power(x, _three), constant(0.044715))), constant(0.7978845))),
                _one,
            ),
        ),
        "gelu_tanh",
    ),
    "gelu by sigmoid": (lambda x: _mul(x, _op.sigmoid(_mul(constant(2.0 * _root), _cube(x)))), "gelu_tanh"),
    "quick gelu": (lambda x: _mul(_op.sigmoid(_mul(x, constant(1.702))), x), "quick_gelu"),
    "silu": (lambda x: _mul(x, _op.sigmoid(x)), "silu"),
    "silu by exp": (lambda x: _div(x, _add(_one, _exp(_op.negative(x)))), "silu"),
    "swish": (lambda x: _mul(x, _op.sigmoid(_mul(x, constant(1.5)))), "swish alpha=1.5"),
    "mish": (lambda x: _mul(x, _op.tanh(_log(_add(_one, _exp(x))))), "mish"),
    "mish by operator": (lambda x: _mul(x, _op.tanh(_nn.softplus(x, 1.0, 20.0))), "mish"),
    "softplus": (lambda x: _log(_add(_exp(x), _one)), "softplus"),
    "hard swish": (
        lambda x: _mul(x, _op.clip(_add(_mul(x, constant(1 / 6)), _half), 0.0, 1.0)),
        "hard_swish",
    ),
    "hard swish by six": (lambda x: _div(_mul(x, _op.clip(_add(x, _three), 0.0, 6.0)), _six), "hard_swish"),
    "hard sigmoid": (
        lambda x: _op.clip(_add(_mul(x, constant(0.2)), _half), 0.0, 1.0),
        "hard_sigmoid alpha=0.2 beta=0.5",
    ),
    "elu": (lambda x: _exponential_unit(x, 0.7), "elu alpha=0.7"),
    "elu by selection": (
        lambda x: _where(_op.greater(x, _zero), x, _mul(constant(0.7), _sub(_exp(x), _one))),
        "elu alpha=0.7",
    ),
    "celu": (lambda x: _exponential_unit(x, 0.7, 0.7), "celu alpha=0.7"),
    "selu": (
        lambda x: _mul(constant(1.0507009873554805), _exponential_unit(x, 1.6732632423543772)),
        "selu alpha=1.67326 gamma=1.0507",
    ),
    "softsign": (lambda x: _div(x, _add(_one, _op.abs(x))), "softsign"),
    "relu": (lambda x: _mul(_half, _add(x, _op.abs(x))), "relu"),
    "relu6": (lambda x: _min(_max(x, _zero), _six), "relu6"),
    "clip": (lambda x: _max(_min(x, constant(900.0)), constant(-1.5)), "clip hi=900 lo=-1.5"),
    "leaky by maximum": (lambda x: _max(x, _mul(x, constant(0.1))), "leaky_relu alpha=0.1"),
    "leaky by selection": (
        lambda x: _where(_op.less(x, _zero), _mul(x, constant(0.01)), x),
        "leaky_relu alpha=0.01",
    ),
    "threshold": (lambda x: _where(_op.greater(x, constant(1.3)), x, _zero), "thresholded_relu alpha=1.3"),
    "shrink": (
        lambda x: _where(
            _op.greater(x, _half),
            _sub(x, constant(0.2)),
            _where(_op.less(x, constant(-0.5)), _add(x, constant(0.2)), _zero),
        ),
        "shrink bias=0.2 lambd=0.5",
    ),
    "sigmoid": (lambda x: _div(_one, _add(_one, _exp(_op.negative(x)))), "sigmoid"),
    "tanh": (lambda x: _sub(_mul(_two, _op.sigmoid(_mul(_two, x))), _one), "tanh"),
    "log sigmoid": (lambda x: _op.negative(_log(_add(_one, _exp(_op.negative(x))))), "log_sigmoid"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelled_out_activation_becomes_one_unary(spelling: str) -> None:
    body, name = SPELLINGS[spelling]
    module = build_module(lambda emitter, x: body(x), (2, 3))
    assert listing(recognise_activations(module)) == [f"y = unary[{name}](x0)"]


@pytest.mark.parametrize(
    "spelling", ["gelu by sigmoid", "mish", "hard swish by six", "selu", "celu", "shrink", "tanh"]
)
def test_the_recognised_function_has_the_same_values(spelling: str) -> None:
    module = build_module(lambda emitter, x: SPELLINGS[spelling][0](x), (101,))
    x = np.linspace(-8.0, 8.0, 101, dtype=np.float32)
    # a dozen float32 operations on values up to 16
    np.testing.assert_allclose(
        run(recognise_activations(module), x)[0], run(module, x)[0], atol=12 * 16 * 2.0**-24
    )


def test_a_factor_that_is_missing_or_too_many_is_kept_as_a_gain() -> None:
    module = build_module(
        lambda emitter, x: _mul(x, _add(_op.erf(_mul(x, constant(math.sqrt(0.5)))), _one)), (2, 3)
    )
    assert listing(recognise_activations(module)) == ["y#4 = unary[gelu](x0)", "y = multiply(y#4, 2)"]


STRANGERS: dict[str, Spelling] = {
    "a line": lambda x: _add(_mul(x, _two), _one),
    "an epsilon before a logarithm": lambda x: _log(_add(_op.abs(x), constant(1e-12))),
    "a bounded activation": lambda x: _min(_op.exp(x), constant(100.0)),
    "x - tanh(x)": lambda x: _sub(x, _op.tanh(x)),
    "1/√(x + eps)": lambda x: _div(_one, _op.sqrt(_add(x, constant(1e-5)))),
    "a relu slightly scaled after another": lambda x: _add(
        _max(x, constant(0.001)), _mul(_min(x, _one), _half)
    ),
    "steps": lambda x: _sub(x, _op.floor(x)),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_an_unknown_function_stays_as_it_is(stranger: str) -> None:
    module = build_module(lambda emitter, x: STRANGERS[stranger](x), (2, 3))
    assert listing(recognise_activations(module)) == listing(module)


def test_an_epsilon_that_keeps_a_relu_above_zero_is_kept() -> None:
    module = build_module(lambda emitter, x: _log(_add(_nn.relu(x), constant(1e-12))), (3,))
    x = np.array([-1.0, 0.0, 2.0], np.float32)
    np.testing.assert_allclose(
        run(recognise_activations(module), x)[0], np.log(np.maximum(x, 0) + 1e-12), rtol=1e-6
    )


def test_the_argument_may_be_an_activation_itself() -> None:
    def body(emitter: Emitter, x: relax.Expr) -> relax.Expr:
        y = emitter.emit(_nn.relu(x))
        return _mul(y, _op.sigmoid(y))

    assert listing(recognise_activations(build_module(body, (2, 3)))) == [
        "y = nn.relu(x0)",
        "y#1 = unary[silu](y)",
    ]


def test_a_gate_computed_from_another_tensor_is_no_activation() -> None:
    module = build_module(lambda emitter, x, z: _mul(x, _op.sigmoid(z)), (2, 3), (2, 3))
    assert listing(recognise_activations(module)) == listing(module)


def test_an_intermediate_value_that_is_used_elsewhere_survives() -> None:
    def body(emitter: Emitter, x: relax.Expr) -> tuple[relax.Expr, relax.Expr]:
        gate = emitter.emit(_op.sigmoid(x))
        return _mul(x, gate), gate

    module = recognise_activations(build_module(body, (4,)))
    assert listing(module) == ["y = sigmoid(x0)", "y#1 = unary[silu](x0)", "output = (y#1, y)"]
    x = random_array(4)
    assert len(run(module, x)) == 2


def test_an_operator_with_several_results_is_left_alone() -> None:
    module = build_module(
        lambda emitter, x: relax.TupleGetItem(emitter.emit(relax.op.topk(x, k=2, axis=-1)), 0), (3, 5)
    )
    assert listing(recognise_activations(module)) == listing(module)
