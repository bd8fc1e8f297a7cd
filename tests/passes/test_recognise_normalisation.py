"""Normalisations that are spelled out with differences of large numbers get the form without them."""

import numpy as np
from tvm import relax

from passes.recognise_normalisation import recognise_normalisation
from passes.rewrite import Emitter
from passes.simplify import simplify
from tests.passes.support import build_module, constant, listing, random_array, run

_op = relax.op
_gamma, _beta = constant(random_array(8, seed=1)), constant(random_array(8, seed=2))


def _fast_variance(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    """As Flax writes it: sums times 1/8 without keeping the axis."""
    mean = emitter.emit(_op.multiply(_op.sum(x, axis=[-1]), constant(0.125)))
    squares = _op.multiply(_op.sum(_op.multiply(x, x), axis=[-1]), constant(0.125))
    return _op.subtract(squares, _op.multiply(mean, mean))


def _keras_layer_norm(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    """x·w + (beta - mean·w) with w = gamma/√(variance + epsilon)."""
    mean = emitter.emit(_op.mean(x, axis=[-1], keepdims=True))
    deviation = emitter.emit(_op.subtract(x, mean))
    variance = _op.mean(_op.multiply(deviation, deviation), axis=[-1], keepdims=True)
    weight = emitter.emit(_op.multiply(_op.rsqrt(_op.add(variance, constant(1e-3))), _gamma))
    return _op.add(_op.multiply(x, weight), _op.subtract(_beta, _op.multiply(mean, weight)))


def test_the_mean_square_less_the_squared_mean_is_the_mean_squared_deviation() -> None:
    module = recognise_normalisation(build_module(_fast_variance, (2, 8)))
    assert listing(module) == [
        "y#1 = sum(x0)",
        "y = multiply(y#1, 0.125)",
        "y#7 = reshape(y, [2, 1])",
        "y#8 = subtract(x0, y#7)",
        "y#9 = multiply(y#8, y#8)",
        "y#10 = mean(y#9)",
        "y#2 = reshape(y#10, [2])",
    ]
    x = random_array(2, 8) + np.float32(1000.0)
    expected = x.astype(np.float64).var(-1)
    # a difference of squares near 1e6 could only be exact to 0.06 in float32
    np.testing.assert_allclose(run(module, x)[0], expected, rtol=1e-3)


def test_a_normalisation_with_the_mean_folded_into_the_offset_subtracts_it_first() -> None:
    module = build_module(_keras_layer_norm, (2, 8))
    lowered = simplify(recognise_normalisation(module))
    assert [line.split(" = ")[1].split("(")[0] for line in listing(lowered)] == [
        *("mean", "subtract", "multiply", "mean", "add", "rsqrt", "multiply", "multiply", "add")
    ]
    x = random_array(2, 8)
    np.testing.assert_allclose(run(lowered, x)[0], run(module, x)[0], atol=1e-5)


def test_other_differences_stay() -> None:
    def body(emitter: Emitter, x: relax.Expr, z: relax.Expr) -> relax.Expr:
        mean = emitter.emit(_op.mean(z, axis=[-1]))
        return _op.subtract(_op.mean(_op.multiply(x, x), axis=[-1]), _op.multiply(mean, mean))

    module = build_module(body, (2, 8), (2, 8))
    assert listing(recognise_normalisation(module)) == listing(module)


def test_a_norm_guarded_against_zero_needs_no_comparison() -> None:
    def body(emitter: Emitter, x: relax.Expr) -> relax.Expr:
        norm = emitter.emit(_op.sqrt(_op.sum(_op.multiply(x, x), [-1], keepdims=True)))
        guarded = _op.where(_op.equal(norm, constant(0.0)), constant(1.0), norm)
        return _op.divide(x, guarded)

    module = build_module(body, (3, 4))
    lowered = recognise_normalisation(module)
    assert not any("equal" in line for line in listing(lowered))
    x = np.concatenate([random_array(2, 4), np.zeros((1, 4), np.float32)])
    np.testing.assert_allclose(run(lowered, x)[0], run(module, x)[0], rtol=1e-6)
