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
    "gated": "g (float[4, 8] x) => (float[4, 8] y) { s = Sigmoid(x) m = Mul(x, s) e = Exp(s) y = Add(m, e) }",
}


def bound_and_error(text: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bound of a model's only output, the error itself, and the output of the float model."""
    model = parser.parse_model(HEADER + text)
    x = np.random.default_rng(seed).standard_normal((4, 8)).astype(np.float32)
    (expected,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})
    prepared = AcceleratorBackend.prepare(model)
    (result,) = prepared.run([x])
    assert prepared.compilation is not None
    (bound,) = error_bounds(prepared.compilation, [x])
    return bound, np.abs(result.astype(np.float64) - expected), expected


@pytest.mark.parametrize("name", MODELS)
def test_no_element_is_further_from_its_exact_value_than_its_bound(name: str) -> None:
    bound, error, expected = bound_and_error(MODELS[name], seed=1)
    float_rounding = 1e-6 * np.abs(expected)  # of the float model that both are measured against
    assert (error <= bound + float_rounding).all()


@pytest.mark.parametrize("name", ["relu", "softmax", "gated"])
def test_the_bound_is_a_small_part_of_the_output(name: str) -> None:
    bound, _, expected = bound_and_error(MODELS[name], seed=0)
    assert bound.max() < 0.02 * np.abs(expected).max()


def test_an_exact_function_costs_the_steps_of_its_formats() -> None:
    """16 bits for twice the largest input: half a step of rounding and half of multipliers, in and out."""
    x_largest = np.abs(np.random.default_rng(0).standard_normal((4, 8))).max()
    bound, _, _ = bound_and_error(MODELS["relu"], seed=0)
    step = 2 * x_largest / (2**15 - 1)
    assert bound.max() <= 2.001 * step
