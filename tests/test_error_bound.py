"""The bound covers what integers and tables cost, and little more."""

import numpy as np
import onnx
import pytest
from onnx import parser

from nmc.backend import AcceleratorBackend
from nmc.error_bound import error_bounds

HEADER = '<ir_version: 10, opset_import: ["" : 20]>'
MODELS = {
    "relu": "g (float[4, 8] x) => (float[4, 8] y) { y = Relu(x) }",
    "softmax": "g (float[4, 8] x) => (float[4, 8] y) { y = Softmax<axis = 1>(x) }",
    "attention": """g (float[4, 8] x) => (float[4, 8] y) {
        t = Transpose<perm = [1, 0]>(x)
        s = MatMul(x, t)
        p = Softmax<axis = 1>(s)
        y = MatMul(p, x)
    }""",
    "quantised": """g (float[4, 8] x) => (float[4, 8] y)
        <float s = {0.0173}, uint8 z = {131}, float t = {0.0411}, int8 n = {0}> {
        a = QuantizeLinear(x, s, z)
        b = DequantizeLinear(a, s, z)
        c = Transpose<perm = [1, 0]>(b)
        d = MatMul(b, c)
        e = QuantizeLinear(d, t, n)
        f = DequantizeLinear(e, t, n)
        y = MatMul(f, b)
    }""",
    "beside constants": """g (float[4, 8] x) => (float[9, 8] y)
        <float[1, 8] c = {0.101, 0.202, 0.303, 0.404, 0.505, 0.606, 0.707, 0.808}> {
        t = Concat<axis = 0>(x, c)
        r = Relu(x)
        u = Concat<axis = 0>(t, r)
        y = Add(u, u)
    }""",
    "wide beside constants": """g (float[4, 8] x) => (float[5, 8] y)
        <float[8] f = {0.1, 0.7, 0.3, 0.9, 1.3, 0.2, 0.6, 0.8},
         float[1, 8] c = {0.101, 0.202, 0.303, 0.404, 0.505, 0.606, 0.707, 0.808}> {
        m = Mul(x, f)
        y = Concat<axis = 0>(m, c)
    }""",
    "wide maximum": """g (float[4, 8] x) => (float[4, 8] y, float[4, 8] m)
        <float[8] f = {0.1, 0.7, 0.3, 0.9, 1.3, 0.2, 0.6, 0.8}> {
        m = Mul(x, f)
        y = Max(m, x)
    }""",
    "padding beside a grid": """g (float[4, 8] x) => (float[5, 8] y)
        <float s = {0.0173}, uint8 z = {131}, int64[4] p = {1, 0, 0, 0}, float c = {0.5}> {
        a = QuantizeLinear(x, s, z)
        b = DequantizeLinear(a, s, z)
        y = Pad(b, p, c)
    }""",
    "padding beyond the data": """g (float[4, 8] x) => (float[4, 10] y)
        <int64[4] p = {0, 1, 0, 1}, float c = {-10000.0}> {
        z = Pad(x, p, c)
        y = Softmax<axis = 1>(z)
    }""",
    "gated": "g (float[4, 8] x) => (float[4, 8] y) { s = Sigmoid(x) m = Mul(x, s) e = Exp(s) y = Add(m, e) }",
}


def bound_and_error(text: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bound of a model's only output, the error itself, and the output of the float model."""
    model = parser.parse_model(HEADER + text)
    x = np.random.default_rng(seed).standard_normal((4, 8)).astype(np.float32)
    expected, *_ = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})
    prepared = AcceleratorBackend.prepare(model)
    result, *_ = prepared.run([x])
    assert prepared.compilation is not None
    bound, *_ = error_bounds(prepared.compilation, [x])
    return bound, np.abs(result.astype(np.float64) - expected), expected


@pytest.mark.parametrize("name", MODELS)
def test_no_element_is_further_from_its_exact_value_than_its_bound(name: str) -> None:
    bound, error, expected = bound_and_error(MODELS[name], seed=1)
    float_rounding = 1e-6 * np.abs(expected)  # of the float model that both are measured against
    assert (error <= bound + float_rounding).all()


@pytest.mark.parametrize("name", ["relu", "softmax", "gated", "padding beyond the data"])
def test_the_bound_is_a_small_part_of_the_output(name: str) -> None:
    bound, _, expected = bound_and_error(MODELS[name], seed=0)
    assert bound.max() < 0.02 * np.abs(expected).max()


def test_an_exact_function_costs_the_steps_of_its_formats() -> None:
    """16 bits for twice the largest input: half a step of rounding and half of multipliers, in and out."""
    x_largest = np.abs(np.random.default_rng(0).standard_normal((4, 8))).max()
    bound, _, _ = bound_and_error(MODELS["relu"], seed=0)
    step = 2 * x_largest / (2**15 - 1)
    assert bound.max() <= 2.001 * step


STEPS = {
    "floor": "g (float[4, 8] x) => (float[4, 8] y) { y = Floor(x) }",
    "selection": """g (float[4, 8] x) => (float[4, 8] y) {
        n = Neg(x)
        c = Less(x, n)
        y = Where(c, n, x)
    }""",
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_what_is_not_near_it_costs_no_more_than_rounding(name: str) -> None:
    bound, error, expected = bound_and_error(STEPS[name], seed=1)
    assert (error <= bound + 1e-6 * np.abs(expected)).all()
    assert bound.max() < 1e-4 * np.abs(expected).max()


def test_a_step_within_the_rounding_of_its_argument_counts_in_full() -> None:
    """The square root of 3.9999 is half a step of 16 bits below 2: it may be rounded up to 2, and the bound says so."""
    model = parser.parse_model(HEADER + "g (float[2] x) => (float[2] y) { r = Sqrt(x) y = Floor(r) }")
    x = np.array([3.9999, 6.0], np.float32)
    prepared = AcceleratorBackend.prepare(model)
    prepared.run([x])
    assert prepared.compilation is not None
    bound, *_ = error_bounds(prepared.compilation, [x])
    assert bound[0] >= 1.0
    assert bound[1] < 1e-6


def test_equal_numbers_stay_equal_and_ties_are_rounded_as_the_standard_says() -> None:
    model = parser.parse_model(
        HEADER
        + """g (float[6] x, float[6] z) => (float[6] y) {
            e = Equal(x, z)
            n = Cast<to = 1>(e)
            r = Round(x)
            y = Add(n, r)
        }"""
    )
    x = np.array([-2.5, 0.5, 1.5, 0.3, 70.25, 100.0], np.float32)
    z = np.array([-2.5, 0.25, 1.5, 0.3, 70.25, -100.0], np.float32)
    (result,) = AcceleratorBackend.prepare(model).run([x, z])
    np.testing.assert_array_equal(np.round(result), [-1.0, 0.0, 3.0, 1.0, 71.0, 100.0])
