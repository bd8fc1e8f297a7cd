"""Gradients are those that central differences of the same model in doubles find."""

import numpy as np
import onnx
import pytest
from onnx import helper, parser
from onnx.reference import ReferenceEvaluator

from nmc.backend import AcceleratorBackend, CpuBackend
from nmc.errors import ModelError, UnsupportedOperatorError

FORWARD = {
    "add": "y = Add(a, b)",
    "sub": "y = Sub(b, a)",
    "mul": "y = Mul(a, b)",
    "div": "y = Div(b, a)",
    "pow": "y = Pow(a, b)",
    "a whole power": "e = Constant<value = int64 {3}>() y = Pow(b, e)",
    "neg": "s = Neg(a) y = Mul(s, b)",
    "matmul": "t = Transpose(a) y = MatMul(t, a)",
    "batches": "s = Constant<value = int64[3] {2, 1, 4}>() t = Reshape(a, s) u = Transpose(a) y = MatMul(t, u)",
    "a vector": "y = MatMul(a, b)",
    "gemm": "c = Add(a, b) y = Gemm<alpha = 0.5, beta = 2.0, transB = 1>(a, c, r)",
    "gemm, both turned": "t = Transpose(a) y = Gemm<transA = 1, transB = 1>(t, a)",
    "gemm, first turned": "y = Gemm<transA = 1>(a, a, b)",
    "flatten": "f = Flatten<axis = 0>(a) y = Mul(f, f)",
    "reduce sum": "i = Constant<value = int64[1] {-1}>() s = ReduceSum<keepdims = 0>(a, i) y = Mul(s, r)",
    "reduce all": "s = ReduceSum<keepdims = 0>(a) y = Mul(s, b)",
    "reduce mean": "i = Constant<value = int64[1] {0}>() s = ReduceMean(a, i) y = Mul(s, b)",
    "softmax": "s = Softmax(a) y = Mul(s, b)",
    "concat": "c = Concat<axis = 0>(a, a) y = Mul(c, b)",
    "relu": "c = Sub(a, b) y = Relu(c)",
    "leaky relu": "c = Sub(a, b) y = LeakyRelu<alpha = 0.3>(c)",
    "abs": "c = Sub(a, b) y = Abs(c)",
    "sigmoid": "y = Sigmoid(a)",
    "tanh": "y = Tanh(a)",
    "softplus": "y = Softplus(a)",
    "erf": "y = Erf(a)",
    "exp": "y = Exp(b)",
    "log": "y = Log(a)",
    "sqrt": "y = Sqrt(a)",
    "sin": "y = Sin(a)",
    "cos": "c = Cos(a) y = Mul(c, b)",
    "no part of b": "y = Mul(a, a)",
}
OPSETS = '["" : 18, "ai.onnx.preview.training" : 1]'
GENERATOR = np.random.default_rng(0)
VALUES = {
    "a": GENERATOR.uniform(0.5, 2.0, (2, 4)),
    "b": GENERATOR.uniform(0.5, 2.0, 4),
    "r": GENERATOR.uniform(0.5, 2.0, 2),
}
INPUTS = "{0}[2, 4] a, {0}[4] b, {0}[2] r"


def differences(forward: str, name: str) -> np.ndarray:
    """The gradient of the sum of y."""
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g ({INPUTS.format("double")}) => (double y) {{ {forward} }}'
    )
    evaluator, step = ReferenceEvaluator(model), 1e-3
    found = np.zeros(VALUES[name].shape)
    for place in np.ndindex(found.shape):
        sums = []
        for sign in (1.0, -1.0):
            moved = VALUES[name].copy()
            moved[place] += sign * step
            sums.append(float(np.sum(evaluator.run(None, VALUES | {name: moved})[0])))
        found[place] = (sums[0] - sums[1]) / (2 * step)
    return found


def gradient_model(
    forward: str, attributes: str, inputs: str, outputs: str = "da, db, dr"
) -> onnx.ModelProto:
    """A model that returns gradients alone."""
    results = ", ".join(f"float {name}" for name in outputs.split(", "))
    return parser.parse_model(
        f"<ir_version: 8, opset_import: {OPSETS}> g ({INPUTS.format('float')}) => ({results}) {{ {forward} "
        f"[slope] {outputs} = ai.onnx.preview.training.Gradient<{attributes}>({inputs}) }}"
    )


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    return list(CpuBackend.run_model(model, [value.astype(np.float32) for value in VALUES.values()]))


@pytest.mark.parametrize("forward", FORWARD.values(), ids=list(FORWARD))
def test_each_rule_agrees_with_central_differences(forward: str) -> None:
    model = gradient_model(forward, 'xs = ["a", "b", "r"], y = "y"', "a, b, r")
    for name, found in zip(VALUES, run(model), strict=True):
        np.testing.assert_allclose(found, differences(forward, name), rtol=1e-5, atol=2e-4, err_msg=name)


def test_a_gradient_at_other_values_than_the_graphs_own() -> None:
    """Where a is 2·a: the products are computed once more."""
    forward = "y = Mul(a, a) t = Add(a, a)"
    found = run(gradient_model(forward, 'xs = ["a"], y = "y"', "t", "da"))[0]
    np.testing.assert_allclose(found, 4 * VALUES["a"], rtol=1e-6)


def test_a_gradient_with_respect_to_a_tensor_in_between() -> None:
    forward = "h = Mul(a, b) y = Mul(h, h)"
    found = run(gradient_model(forward, 'xs = ["h"], zs = ["b"], y = "y"', "h, b", "dh"))[0]
    np.testing.assert_allclose(found, 2 * VALUES["a"] * VALUES["b"], rtol=1e-6)


def test_a_gradient_of_a_gradient() -> None:
    forward = (
        'p = Mul(a, a) y = Mul(p, a) [first] d = ai.onnx.preview.training.Gradient<xs = ["a"], y = "y">(a)'
    )
    found = run(gradient_model(forward, 'xs = ["a"], y = "d"', "a", "dd"))[0]
    np.testing.assert_allclose(found, 6 * VALUES["a"], rtol=1e-5)


def test_a_gradient_runs_on_the_accelerator() -> None:
    model = gradient_model(FORWARD["sigmoid"], 'xs = ["a"], y = "y"', "a", "da")
    values = [value.astype(np.float32) for value in VALUES.values()]
    np.testing.assert_allclose(
        AcceleratorBackend.run_model(model, values)[0], differences(FORWARD["sigmoid"], "a"), atol=1e-4
    )


def test_an_operator_without_a_rule_is_named() -> None:
    model = gradient_model("[turned] y = Atan(a)", 'xs = ["a"], y = "y"', "a", "da")
    with pytest.raises(UnsupportedOperatorError, match=r"Atan 'turned': .* Gradient 'slope'"):
        run(model)


def test_a_tensor_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="Gradient 'slope': there is no tensor 'z'"):
        run(gradient_model("y = Exp(a)", 'xs = ["a"], y = "z"', "a", "da"))


def test_a_model_of_another_operator_set_sums_along_attributes() -> None:
    model = gradient_model("y = Mul(a, b)", 'xs = ["b"], y = "y"', "b", "db")
    del model.opset_import[:]
    model.opset_import.extend(
        [helper.make_opsetid("", 12), helper.make_opsetid("ai.onnx.preview.training", 1)]
    )
    np.testing.assert_allclose(run(model)[0], VALUES["a"].sum(0), rtol=1e-6)
