"""Division, powers and selection become products, sums and unary functions."""

from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from passes.lower_arithmetic import lower_arithmetic
from passes.rewrite import Emitter
from tests.passes.support import build_module, constant, listing, random_array, run

_op = relax.op
_lowest = float(np.finfo(np.float32).min)

LOWERED: dict[str, tuple[Callable[[relax.Expr], relax.Expr], list[str]]] = {
    "division by a constant": (lambda x: _op.divide(x, constant(4.0)), ["y = multiply(x0, 0.25)"]),
    "division by itself": (
        lambda x: _op.divide(x, x),
        ["y#1 = unary[reciprocal](x0)", "y = multiply(x0, y#1)"],
    ),
    "one over": (lambda x: _op.divide(constant(1.0), x), ["y = unary[reciprocal](x0)"]),
    "division by a root": (
        lambda x: _op.divide(x, _op.sqrt(x)),
        ["y#2 = rsqrt(x0)", "y = multiply(x0, y#2)"],
    ),
    "division by an exponential": (
        lambda x: _op.divide(constant(1.0), _op.exp(x)),
        ["y#2 = multiply(x0, -1)", "y = exp(y#2)"],
    ),
    "square": (lambda x: _op.power(x, constant(2.0)), ["y = multiply(x0, x0)"]),
    "cube": (lambda x: _op.power(x, constant(3.0)), ["y#1 = multiply(x0, x0)", "y = multiply(y#1, x0)"]),
    "root": (lambda x: _op.power(x, constant(0.5)), ["y = sqrt(x0)"]),
    "inverse root": (lambda x: _op.power(x, constant(-0.5)), ["y = rsqrt(x0)"]),
    "odd power": (lambda x: _op.power(x, constant(0.75)), ["y = unary[pow exponent=0.75](x0)"]),
    "power of two": (lambda x: _op.power(constant(2.0), x), ["y#1 = multiply(x0, 0.693147)", "y = exp(y#1)"]),
    "negation": (_op.negative, ["y = multiply(x0, -1)"]),
}


@pytest.mark.parametrize("operator", LOWERED)
def test_arithmetic_is_lowered_with_the_same_values(operator: str) -> None:
    body, lines = LOWERED[operator]
    module = build_module(lambda emitter, x: body(x), (4, 3))
    lowered = lower_arithmetic(module)
    assert listing(lowered) == lines
    x = np.abs(random_array(4, 3)) + np.float32(0.25)
    np.testing.assert_allclose(run(lowered, x)[0], run(module, x)[0], rtol=1e-6)


SELECTIONS: dict[str, tuple[Callable[[relax.Expr, relax.Expr, relax.Expr], relax.Expr], list[str]]] = {
    "of two tensors": (
        lambda c, a, b: _op.where(c, a, b),
        [
            "y#1 = astype(x0)",
            "y#2 = multiply(y#1, x1)",
            "y#3 = logical_not(x0)",
            "y#4 = astype(y#3)",
            "y#5 = multiply(y#4, x2)",
            "y = add(y#2, y#5)",
        ],
    ),
    "of a tensor or zero": (
        lambda c, a, b: _op.where(c, a, constant(0.0)),
        ["y#1 = astype(x0)", "y = multiply(y#1, x1)"],
    ),
    "of a mask or a tensor": (
        lambda c, a, b: _op.where(c, constant(_lowest), b),
        ["y#1 = astype(x0)", "y#2 = multiply(y#1, -3.40282e+38)", "y = add(x2, y#2)"],
    ),
    "of a tensor or minus infinity": (
        lambda c, a, b: _op.exp(_op.where(c, a, constant(-np.inf))),
        [
            "y#2 = logical_not(x0)",
            "y#3 = astype(y#2)",
            "y#4 = multiply(y#3, -8.50706e+37)",
            "y#1 = add(x1, y#4)",
            "y = exp(y#1)",
        ],
    ),
    "of the larger": (lambda c, a, b: _op.where(_op.greater(a, b), a, b), ["y = maximum(x1, x2)"]),
    "of the smaller": (lambda c, a, b: _op.where(_op.greater(a, b), b, a), ["y = minimum(x1, x2)"]),
}


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_selection_is_products_and_a_sum_of_exactly_the_same_values(selection: str) -> None:
    body, lines = SELECTIONS[selection]
    module = build_module(lambda emitter, c, a, b: body(c, a, b), ((2, 1), "bool"), (2, 3), (2, 3))
    lowered = lower_arithmetic(module)
    assert listing(lowered) == lines
    arrays = np.array([[True], [False]]), random_array(2, 3, seed=1), random_array(2, 3, seed=2)
    np.testing.assert_array_equal(run(lowered, *arrays)[0], run(module, *arrays)[0])


def test_a_constant_condition_becomes_a_constant_mask() -> None:
    causal = relax.const(np.tril(np.ones((4, 4), bool)), "bool")
    module = build_module(lambda emitter, x: _op.where(causal, x, constant(_lowest)), (2, 4, 4))
    lowered = lower_arithmetic(module)
    assert listing(lowered) == ["y = add(x0, const[4, 4])"]
    x = random_array(2, 4, 4)
    np.testing.assert_array_equal(run(lowered, x)[0], run(module, x)[0])


def test_a_huge_number_survives_being_selected() -> None:
    def body(emitter: Emitter, c: relax.Expr, a: relax.Expr) -> relax.Expr:
        return _op.where(c, a, constant(np.array([1.0, _lowest])))

    module = build_module(body, ((2,), "bool"), (2,))
    arrays = np.array([True, False]), np.array([0.3, 0.4], np.float32)
    np.testing.assert_array_equal(
        run(lower_arithmetic(module), *arrays)[0], np.array([0.3, _lowest], np.float32)
    )


@pytest.mark.parametrize("integers", ["int32", "int64"])
def test_a_cast_to_integers_and_back_is_the_floor_of_either_side(integers: str) -> None:
    module = build_module(
        lambda emitter, x: _op.astype(emitter.emit(_op.astype(x, integers)), "float32"), (5,)
    )
    lowered = lower_arithmetic(module)
    assert [line.split(" = ")[1].split("(")[0] for line in listing(lowered)][-5:] == [
        "nn.relu", "floor", "nn.relu", "floor", "subtract",
    ]  # fmt: skip
    x = np.array([-2.5, -0.3, 0.0, 0.9, 7.0], np.float32)
    np.testing.assert_array_equal(run(lowered, x)[0], run(module, x)[0])


def test_a_cast_to_narrow_integers_stays_for_it_may_wrap() -> None:
    module = build_module(lambda e, x: _op.astype(e.emit(_op.astype(x, "int8")), "float32"), (5,))
    assert listing(lower_arithmetic(module)) == listing(module)


@pytest.mark.parametrize(
    "bounded",
    [
        lambda e, x: _op.clip(e.emit(_op.round(x)), -128.0, 127.0),
        lambda e, x: _op.round(e.emit(_op.clip(x, -128.0, 127.0))),
    ],
)
def test_a_cast_of_whole_numbers_that_the_integers_hold_is_nothing(
    bounded: Callable[[Emitter, relax.Expr], relax.Expr],
) -> None:
    def body(emitter: Emitter, x: relax.Var) -> relax.Expr:
        whole = emitter.emit(bounded(emitter, x))
        return _op.negative(emitter.emit(_op.astype(emitter.emit(_op.astype(whole, "int8")), "float32")))

    module = build_module(body, (5,))
    lowered = lower_arithmetic(module)
    assert not any("astype" in line for line in listing(lowered))
    x = np.array([-250.0, -0.3, 0.0, 0.9, 700.0], np.float32)
    np.testing.assert_array_equal(run(lowered, x)[0], run(module, x)[0])


@pytest.mark.parametrize("operator", [_op.divide, _op.power])
def test_integers_stay(operator: Callable[..., relax.Expr]) -> None:
    module = build_module(lambda emitter, a, b: operator(a, b), ((4,), "int64"), ((4,), "int64"))
    assert listing(lower_arithmetic(module)) == listing(module)


def test_a_power_of_two_computed_tensors_goes_by_the_logarithm_of_its_base() -> None:
    module = build_module(lambda emitter, a, b: _op.power(a, b), (5,), (5,))
    base = np.array([-2.0, -1.5, 0.0, 0.75, 3.0], "float32")
    power = np.array([3.0, 2.0, 1.5, -2.5, 0.0], "float32")
    lowered = lower_arithmetic(module)
    assert not any("power" in line for line in listing(lowered))
    np.testing.assert_allclose(run(lowered, base, power)[0], base**power, rtol=1e-5)


def test_a_power_of_a_positive_function_needs_no_sign() -> None:
    module = build_module(lambda emitter, a, b: _op.power(_op.exp(a), b), (4,), (4,))
    operators = [line.split(" = ")[1].split("(")[0] for line in listing(lower_arithmetic(module))]
    assert operators == ["exp", "log", "multiply", "exp"]


def test_a_remainder_has_the_sign_of_its_divisor() -> None:
    module = build_module(lambda emitter, a, b: _op.floor_mod(a, b), (4,), (4,))
    a = np.array([-4.25, 7.25, 5.0, 4.25], "float32")
    b = np.array([2.0, -3.5, 8.0, -2.0], "float32")
    np.testing.assert_array_equal(run(lower_arithmetic(module), a, b)[0], np.mod(a, b))


@pytest.mark.parametrize("guard", [_op.isnan, _op.isinf, lambda x: _op.equal(x, constant(-np.inf))])
def test_a_guard_against_what_cannot_be_is_dropped(guard: Callable[[relax.Expr], relax.Expr]) -> None:
    module = build_module(lambda emitter, x: _op.where(guard(x), constant(0.0), _op.exp(x)), (4,))
    assert [line.split(" = ")[1] for line in listing(lower_arithmetic(module))] == ["exp(x0)"]


def test_a_row_that_is_masked_by_infinities_stays_finite() -> None:
    mask = constant(np.array([[0.0, -np.inf], [-np.inf, -np.inf]]))
    keep = relax.const(np.array([[True], [False]]), "bool")
    module = build_module(
        lambda emitter, x: _op.where(keep, _op.nn.softmax(_op.add(_op.add(x, mask), mask)), constant(0.0)),
        (2, 2),
    )
    x = random_array(2, 2)
    np.testing.assert_array_equal(
        run(lower_arithmetic(module), x)[0], np.array([[1.0, 0.0], [0.0, 0.0]], np.float32)
    )
