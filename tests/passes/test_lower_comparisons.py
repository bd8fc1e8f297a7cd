"""Comparisons whose truth arithmetic reads become steps of floats."""

from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from passes.lower_arithmetic import lower_arithmetic
from passes.lower_comparisons import lower_comparisons
from tests.passes.support import build_module, constant, listing, run

_op = relax.op
X0 = np.array([-1.0, 0.0, 0.5, 2.0], "float32")
X1 = np.array([-1.0, 1.0, 0.25, 2.0], "float32")

LOWERED: dict[str, tuple[Callable[[relax.Expr, relax.Expr], relax.Expr], list[str]]] = {
    "less of two tensors": (_op.less, ["y#2 = subtract(x0, x1)", "y#3 = unary[less threshold=0](y#2)"]),
    "greater than a number": (
        lambda a, b: _op.greater(a, constant(0.5)),
        ["y#2 = unary[greater threshold=0.5](x0)"],
    ),
    "a number that is greater": (
        lambda a, b: _op.greater_equal(constant(0.5), a),
        ["y#2 = unary[less_equal threshold=0.5](x0)"],
    ),
    "negation": (
        lambda a, b: _op.logical_not(_op.equal(a, b)),
        ["y#3 = subtract(x0, x1)", "y#4 = unary[not_equal threshold=0](y#3)"],
    ),
    "conjunction": (
        lambda a, b: _op.logical_and(_op.less(a, constant(1.0)), _op.greater(b, constant(0.0))),
        [
            "y#4 = unary[less threshold=1](x0)",
            "y#5 = unary[greater threshold=0](x1)",
            "y#6 = multiply(y#4, y#5)",
        ],
    ),
    "disjunction": (
        lambda a, b: _op.logical_or(_op.less(a, constant(0.0)), _op.greater(b, constant(1.0))),
        [
            "y#4 = unary[greater_equal threshold=0](x0)",
            "y#5 = unary[less_equal threshold=1](x1)",
            "y#6 = multiply(y#4, y#5)",
            "y#7 = subtract(1, y#6)",
        ],
    ),
    "one of two": (
        lambda a, b: _op.logical_xor(_op.less(a, constant(0.0)), _op.greater(b, constant(1.0))),
        [
            "y#4 = unary[less threshold=0](x0)",
            "y#5 = unary[greater threshold=1](x1)",
            "y#6 = subtract(y#4, y#5)",
            "y#7 = abs(y#6)",
        ],
    ),
    "a moved condition": (
        lambda a, b: _op.reshape(_op.less(a, constant(1.0)), [2, 2]),
        ["y#3 = unary[less threshold=1](x0)", "y#4 = reshape(y#3, [2, 2])"],
    ),
    "a part of a condition": (
        lambda a, b: _op.strided_slice(_op.less(a, constant(1.0)), [0], [1], [3]),
        [
            "y#3 = unary[less threshold=1](x0)",
            "y#4 = strided_slice(y#3, (T.int64(0)), (T.int64(1)), (T.int64(3)))",
        ],
    ),
    "truth of a number": (lambda a, b: _op.astype(a, "bool"), ["y#2 = unary[not_equal threshold=0](x0)"]),
}


@pytest.mark.parametrize("name", LOWERED)
def test_a_condition_as_a_number_is_a_step_of_the_same_values(name: str) -> None:
    body, lines = LOWERED[name]
    module = build_module(lambda emitter, a, b: _op.astype(body(a, b), "float32"), (4,), (4,))
    lowered = lower_comparisons(module)
    assert listing(lowered) == lines
    np.testing.assert_array_equal(run(lowered, X0, X1)[0], run(module, X0, X1)[0])


def test_a_selection_is_two_products_with_steps() -> None:
    module = build_module(lambda emitter, a, b: _op.where(_op.less(a, constant(0.0)), b, a), (4,), (4,))
    lowered = lower_comparisons(lower_arithmetic(module))
    operators = [line.split(" = ")[1].split("(")[0] for line in listing(lowered)]
    assert operators == [
        "unary[less threshold=0]",
        "multiply",
        "unary[greater_equal threshold=0]",
        "multiply",
        "add",
    ]
    np.testing.assert_array_equal(run(lowered, X0, X1)[0], np.where(X0 < 0, X1, X0))


def test_a_condition_that_integers_decide_stays() -> None:
    module = build_module(
        lambda emitter, a: _op.astype(_op.less(a, constant(3, "int64")), "float32"), ((4,), "int64")
    )
    assert listing(lower_comparisons(module)) == listing(module)


def test_truth_that_no_arithmetic_reads_stays() -> None:
    module = build_module(lambda emitter, a, b: _op.less(a, b), (4,), (4,))
    assert listing(lower_comparisons(module)) == ["y = less(x0, x1)"]
