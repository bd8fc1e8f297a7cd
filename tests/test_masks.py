"""Inputs whose values may be minus infinity."""

import numpy as np
import onnx
import pytest
from onnx import parser

import nmc
from nmc.errors import CalibrationError

ATTENTION = """<ir_version: 10, opset_import: ["" : 20]>
g (float[4, 8] scores, float[4, 8] mask) => (float[4, 8] y) {
    sum = Add(scores, mask)
    y = Softmax<axis = 1>(sum)
}"""


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return parser.parse_model(ATTENTION)


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 4, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    return np.triu(np.full((1, 4, 8), -np.inf, np.float32), 1)


@pytest.fixture(scope="module")
def compiled(model: onnx.ModelProto, scores: np.ndarray, mask: np.ndarray) -> nmc.Executable:
    return nmc.compile(model, calibration={"scores": scores, "mask": mask})


def test_minus_infinity_hides_scores_and_costs_the_others_nothing(
    compiled: nmc.Executable, scores: np.ndarray, mask: np.ndarray
) -> None:
    """Other scores have steps of 16 bits for at most 16 + 3, exp and its sum of 4 terms errors of as much: 1e-3 in all."""
    powers = np.exp(scores[0] + mask[0])
    (result,) = compiled.run({"scores": scores[0], "mask": mask[0]}).values()
    np.testing.assert_allclose(result, powers / powers.sum(1, keepdims=True), atol=1e-3)
    assert (result[np.isneginf(mask[0])] == 0).all()


def test_minus_infinity_in_what_does_more_than_hide_is_refused(
    model: onnx.ModelProto, scores: np.ndarray, mask: np.ndarray
) -> None:
    relu = parser.parse_model(ATTENTION.replace("Softmax<axis = 1>", "Neg"))
    with pytest.raises(CalibrationError, match="input 'mask' holds -inf"):
        nmc.compile(relu, calibration={"scores": scores, "mask": mask})


def test_plus_infinity_is_refused_of_a_mask_too(compiled: nmc.Executable, scores: np.ndarray) -> None:
    with pytest.raises(CalibrationError, match="input 'mask' holds inf"):
        compiled.run({"scores": scores[0], "mask": np.full((4, 8), np.inf, np.float32)})


def test_an_input_that_masked_nothing_in_calibration_is_no_mask(
    model: onnx.ModelProto, scores: np.ndarray, mask: np.ndarray
) -> None:
    """Its integers hold nothing that would hide a score."""
    compiled = nmc.compile(model, calibration={"scores": scores, "mask": np.zeros_like(mask)})
    with pytest.raises(CalibrationError, match="input 'mask' holds -inf"):
        compiled.run({"scores": scores[0], "mask": mask[0]})
