"""What is constant, repeated or without effect disappears, and values stay."""

from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from passes.rewrite import Emitter
from passes.simplify import simplify
from tests.passes.support import build_module, constant, listing, random_array, run

_op = relax.op
Body = Callable[[Emitter, relax.Expr], relax.Expr]
_ones, _zeros = constant(np.ones((1, 3))), constant(np.zeros(3))

SIMPLE: dict[str, tuple[Body, list[str]]] = {
    "plus zero": (lambda e, x: _op.exp(_op.add(_zeros, x)), ["y = exp(x0)"]),
    "minus zero": (lambda e, x: _op.exp(_op.subtract(x, _zeros)), ["y = exp(x0)"]),
    "times one": (lambda e, x: _op.exp(_op.multiply(x, _ones)), ["y = exp(x0)"]),
    "over one": (lambda e, x: _op.exp(_op.divide(x, _ones)), ["y = exp(x0)"]),
    "plus a negative": (
        lambda e, x: _op.add(x, _op.negative(_op.exp(x))),
        ["y#2 = exp(x0)", "y = subtract(x0, y#2)"],
    ),
    "twice negated": (lambda e, x: _op.exp(_op.negative(_op.negative(x))), ["y = exp(x0)"]),
    "a chain of factors": (
        lambda e, x: _op.multiply(constant(2.0), _op.multiply(x, constant(random_array(3)))),
        ["y = multiply(x0, const[3])"],
    ),
    "a uniform constant": (lambda e, x: _op.add(x, constant(np.full((1, 3), 2.0))), ["y = add(x0, 2)"]),
    "constants only": (lambda e, x: _op.add(x, _op.sqrt(_op.exp(constant(0.0)))), ["y = add(x0, 1)"]),
    "a cast to its own type": (lambda e, x: _op.exp(_op.astype(x, "float32")), ["y = exp(x0)"]),
    "a reshape of a reshape": (
        lambda e, x: _op.reshape(_op.reshape(x, [6]), [3, 2]),
        ["y = reshape(x0, [3, 2])"],
    ),
    "a reshape there and back": (
        lambda e, x: _op.exp(_op.reshape(_op.reshape(x, [6]), [2, 3])),
        ["y = exp(x0)"],
    ),
    "transposed twice": (
        lambda e, x: _op.exp(_op.permute_dims(_op.permute_dims(x, [1, 0]), [1, 0])),
        ["y = exp(x0)"],
    ),
    "a slice of everything": (lambda e, x: _op.exp(_op.strided_slice(x, [1], [0], [3])), ["y = exp(x0)"]),
    "a broadcast to its own shape": (lambda e, x: _op.exp(_op.broadcast_to(x, [2, 3])), ["y = exp(x0)"]),
    "dropout": (
        lambda e, x: _op.exp(e.emit(relax.TupleGetItem(e.emit(_op.nn.dropout(x)), 0))),
        ["y#2 = exp(x0)"],
    ),
    "the same twice": (
        lambda e, x: _op.multiply(_op.add(x, _op.exp(x)), _op.add(_op.exp(x), x)),
        ["y#2 = exp(x0)", "y#1 = add(x0, y#2)", "y = multiply(y#1, y#1)"],
    ),
}


@pytest.mark.parametrize("case", SIMPLE)
def test_it_is_simplified_with_the_same_values(case: str) -> None:
    body, lines = SIMPLE[case]
    module = build_module(body, (2, 3))
    simple = simplify(module)
    assert listing(simple) == lines
    x = random_array(2, 3)
    np.testing.assert_allclose(run(simple, x)[0], run(module, x)[0], rtol=1e-6)


STAYING: dict[str, Body] = {
    "a zero that broadcasts": lambda e, x: _op.add(x, constant(np.zeros((4, 1, 1)))),
    "a strided slice": lambda e, x: _op.strided_slice(x, [1], [0], [3], [2]),
    "a slice from back to front": lambda e, x: _op.strided_slice(x, [1], [2], [-4], [-1]),
    "a transposition": lambda e, x: _op.permute_dims(x, [1, 0]),
    "different sums": lambda e, x: _op.add(_op.sum(x, [0]), _op.sum(x, [0], keepdims=True)),
    "factors whose product is larger": lambda e, x: _op.multiply(
        _op.multiply(x, constant(random_array(3))), constant(random_array(2, 1))
    ),
}


@pytest.mark.parametrize("case", STAYING)
def test_it_stays(case: str) -> None:
    module = build_module(STAYING[case], (2, 3))
    assert listing(simplify(module)) == listing(module)


def test_a_cast_through_a_narrower_type_stays() -> None:
    module = build_module(lambda e, x: _op.astype(_op.astype(x, "int8"), "float32"), ((3,), "int64"))
    assert listing(simplify(module)) == ["y#1 = astype(x0)", "y = astype(y#1)"]


def test_a_cast_through_a_wider_type_is_one_cast() -> None:
    module = build_module(lambda e, x: _op.astype(_op.astype(x, "int64"), "float32"), ((3,), "bool"))
    assert listing(simplify(module)) == ["y = astype(x0)"]


def test_large_constants_are_the_same_only_if_they_are_one_object() -> None:
    shared = constant(random_array(100))
    module = build_module(
        lambda e, x: (
            _op.add(x, shared),
            _op.add(x, shared),
            _op.add(x, constant(random_array(100, seed=1))),
        ),
        (100,),
    )
    assert listing(simplify(module)) == [
        "y = add(x0, const[100])",
        "y#2 = add(x0, const[100])",
        "output = (y, y, y#2)",
    ]
