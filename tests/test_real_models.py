"""What nmc promises on real models and real data: agreement with onnxruntime, and no bit of difference from the CPU."""

from functools import cache

import numpy as np
import pytest

import models
from models.model import Model
from nmc.check import REFERENCE, CheckReport, check_model
from nmc.options import Options

TRAINED = ("cnn", "transformer", "gcn")
REAL = ("efficientnet_lite0", "minilm", "magika")
MAGIKA_FILES = 240
"""Of the test files: enough for a percent of them to be a file or two, few enough for a quick test."""

Arrays = dict[str, np.ndarray]


@cache
def checked(name: str, bits: int = 16) -> CheckReport:
    """The model, compiled with its calibration data and checked at every level on its test data."""
    model = models.get(name)
    return check_model(model.onnx_path(), options_for(model, bits), first(model.test(), samples_of(name)))


def options_for(model: Model, bits: int) -> Options:
    """Default options, with the model's shapes and calibration data."""
    return Options(shapes=dict(model.shapes), calibration=dict(model.calibration()), bits=bits)


def samples_of(name: str) -> int | None:
    """How many test samples are used; None for all."""
    return MAGIKA_FILES if name == "magika" else None


def first(arrays: Arrays, count: int | None) -> Arrays:
    """The first samples of each array."""
    return {name: array[:count] for name, array in arrays.items()}


def only(arrays: Arrays) -> np.ndarray:
    """The array of a model's one output, [samples, …]."""
    (array,) = arrays.values()
    return array


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The cosine of each pair of vectors along the last axis, in float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


@pytest.mark.parametrize("name", [*TRAINED, *REAL])
def test_the_accelerator_equals_the_cpu_reference_to_the_bit(name: str) -> None:
    report = checked(name)
    assert report.bit_exact, report.different


@pytest.mark.parametrize("name", [*TRAINED, *REAL])
def test_no_float_activation_is_touched_by_the_host(name: str) -> None:
    assert [item for item in checked(name).fallback if item.touches_floats] == []


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_model_keeps_its_accuracy(name: str) -> None:
    model, report = models.get(name), checked(name)
    before, after = (
        model.metric(report.outputs[level], model.labels()) for level in (REFERENCE, "accelerator")
    )
    assert after >= before - 0.002


@pytest.mark.parametrize("name", ["cnn", "gcn"])
def test_at_8_bits_a_trained_model_loses_at_most_half_a_point(name: str) -> None:
    model, report = models.get(name), checked(name, bits=8)
    before, after = (
        model.metric(report.outputs[level], model.labels()) for level in (REFERENCE, "accelerator")
    )
    assert report.bit_exact
    assert after >= before - 0.005


def test_efficientnet_keeps_its_logits_and_its_decisions() -> None:
    outputs = checked("efficientnet_lite0").outputs
    expected, actual = only(outputs[REFERENCE]), only(outputs["accelerator"])
    assert cosines(expected.reshape(20, -1), actual.reshape(20, -1)).min() >= 0.9995
    assert (expected.argmax(-1) == actual.argmax(-1)).sum() >= 19


def test_minilm_keeps_the_embedding_of_every_token() -> None:
    outputs = checked("minilm").outputs
    expected, actual = only(outputs[REFERENCE]), only(outputs["accelerator"])
    real = models.get("minilm").test()["attention_mask"].astype(bool)
    assert cosines(expected, actual)[real].min() >= 0.999


def test_magika_gives_the_same_label_to_nearly_every_file() -> None:
    outputs = checked("magika").outputs
    expected, actual = only(outputs[REFERENCE]), only(outputs["accelerator"])
    assert len(expected) >= 200
    assert (expected.argmax(-1) == actual.argmax(-1)).mean() >= 0.99
