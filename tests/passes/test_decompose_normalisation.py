"""Normalisations become products with a column of 1/K, one rsqrt, and constants."""

from collections.abc import Callable

import numpy as np
import pytest
from tvm import relax

from passes.decompose_normalisation import decompose_normalisation
from passes.rewrite import Emitter
from tests.passes.support import build_module, constant, listing, random_array, run

_nn = relax.op.nn
Body = Callable[[Emitter, relax.Expr], relax.Expr]


def _parameter(*shape: int, seed: int = 9) -> relax.Expr:
    return constant(random_array(*shape, seed=seed))


def _batch_norm(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    gamma, beta, mean = (_parameter(6, seed=seed) for seed in (1, 2, 3))
    variance = constant(np.abs(random_array(6, seed=4)) + 0.5)
    return relax.TupleGetItem(
        emitter.emit(_nn.batch_norm(x, gamma, beta, mean, variance, 1, training=False)), 0
    )


def test_layer_norm_takes_two_means_and_one_rsqrt() -> None:
    module = build_module(lambda emitter, x: _nn.layer_norm(x, _parameter(5), _parameter(5), [-1]), (2, 3, 5))
    assert listing(decompose_normalisation(module)) == [
        "y#1 = matmul(x0, const[5, 1])",
        "y#2 = subtract(x0, y#1)",
        "y#3 = multiply(y#2, y#2)",
        "y#4 = matmul(y#3, const[5, 1])",
        "y#5 = add(y#4, 1e-05)",
        "y#6 = rsqrt(y#5)",
        "y#7 = multiply(y#2, y#6)",
        "y#8 = multiply(y#7, const[5])",
        "y = add(y#8, const[5])",
    ]


def test_a_scale_of_ones_and_a_bias_of_zeros_leave_no_trace() -> None:
    ones, zeros = constant(np.ones(5)), constant(np.zeros(5))
    module = build_module(lambda emitter, x: _nn.layer_norm(x, ones, zeros, [-1]), (2, 5))
    assert listing(decompose_normalisation(module))[-1] == "y = multiply(y#2, y#6)"


def test_batch_norm_is_one_product_and_one_sum_with_constants() -> None:
    module = build_module(_batch_norm, (2, 6, 3, 5))
    assert listing(decompose_normalisation(module)) == [
        "y#2 = multiply(x0, const[1, 6, 1, 1])",
        "y#3 = add(y#2, const[1, 6, 1, 1])",
    ]


NORMALISATIONS: dict[str, Body] = {
    "layer norm of the last axis": lambda e, x: _nn.layer_norm(x, _parameter(5), _parameter(5), [-1]),
    "layer norm of two axes": lambda e, x: _nn.layer_norm(x, _parameter(3, 5), _parameter(3, 5), [-2, -1]),
    "rms norm": lambda e, x: _nn.rms_norm(x, _parameter(5), [-1]),
    "group norm": lambda e, x: _nn.group_norm(x, _parameter(6), _parameter(6), 2, 1, [2, 3]),
    "instance norm": lambda e, x: _nn.instance_norm(x, _parameter(6), _parameter(6), 1, [2, 3]),
    "batch norm": _batch_norm,
}


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_values_stay(normalisation: str) -> None:
    module = build_module(NORMALISATIONS[normalisation], (2, 6, 3, 5))
    x = random_array(2, 6, 3, 5, scale=3.0)
    lowered = decompose_normalisation(module)
    # results are below 16; the statistics are sums of up to 45 float32 terms
    np.testing.assert_allclose(run(lowered, x)[0], run(module, x)[0], atol=45 * 16 * 2.0**-24)
