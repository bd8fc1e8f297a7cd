"""What is not a number, or beyond float32, is computed on the host, and all else where it always is."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

import nmc
from nmc.backend import AcceleratorBackend, CpuBackend
from nmc.check import check_model
from nmc.compiler import compile_model
from nmc.errors import CalibrationError, ModelError, UnsupportedOperatorError
from nmc.executable import Executable
from nmc.options import Options
from nmc.packaging import package_of

HEADER = '<ir_version: 10, opset_import: ["" : 20]>'
BRANCHES = """g (float[4, 8] x) => (float[4, 8] a, float[4, 8] b, float[4, 8] c) {
    s = Sqrt(x)
    a = Neg(s)
    e = Sigmoid(x)
    b = Add(e, x)
    c = Add(b, s)
}"""
SIGNED = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
HUGE = np.array([[1.0, -2e223], [3e40, 0.25]])


def compiled(text: str, data: np.ndarray | None, **options: Any) -> Any:
    """Compiled for the accelerator with `data` as its one sample of calibration data."""
    model = parser.parse_model(f"{HEADER} {text}")
    calibration = None if data is None else {"x": data[np.newaxis]}
    return nmc.compile(model, target="gemm-accel", calibration=calibration, **options)


def test_what_is_not_a_number_and_what_reads_it_stays_on_the_host() -> None:
    executable = compiled(BRANCHES, SIGNED)
    host = [(item.layer, item.operator) for item in executable.manifest.fallback]
    assert [operator for _, operator in host] == ["sqrt", "negative", "add"]
    assert all("not a number" in str(item) for item in executable.manifest.fallback)
    results = executable.run({"x": SIGNED})
    with np.errstate(invalid="ignore"):
        root = np.sqrt(SIGNED)
    expected = 1 / (1 + np.exp(-SIGNED)) + SIGNED
    np.testing.assert_array_equal(np.isnan(results["a"]), np.isnan(root))
    np.testing.assert_array_equal(np.isnan(results["c"]), np.isnan(root))
    np.testing.assert_allclose(results["b"], expected, atol=2e-4)
    positive = SIGNED > 0
    np.testing.assert_allclose(results["c"][positive], (expected + root)[positive], atol=2e-4)


def test_a_model_all_of_whose_results_are_numbers_is_offloaded_whole() -> None:
    assert not compiled(BRANCHES, np.abs(SIGNED)).manifest.fallback


def test_a_power_of_a_negative_number_that_is_none_is_computed_on_the_host() -> None:
    text = "g (float[4, 8] x) => (float[4, 8] y) { e = Sigmoid(x) y = Pow(x, e) }"
    result = compiled(text, SIGNED).run({"x": SIGNED})["y"]
    np.testing.assert_array_equal(np.isnan(result), SIGNED < 0)


def test_synthetic_data_outside_a_domain_is_an_error() -> None:
    with pytest.raises(CalibrationError, match="synthetic inputs"):
        compiled(BRANCHES, None)


def test_a_full_offload_is_refused_where_results_are_not_numbers() -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"sqrt of layer .* not a number"):
        compiled(BRANCHES, SIGNED, require_full_offload=True)


def doubles() -> onnx.ModelProto:
    """Sums and a constant, in doubles."""
    return parser.parse_model(
        f"""{HEADER} g (double[2, 2] x) => (double[2, 2] y) <double c = {{0.1}}, float f = {{2.0}}> {{
            s = Add(x, c)
            d = Cast<to = 11>(f)
            y = Mul(s, d)
        }}"""
    )


@pytest.mark.parametrize("level", [1, 2, 3])
def test_numbers_beyond_float32_are_computed_in_doubles_on_the_cpu(level: int) -> None:
    options = Options(target="cpu", level=level, calibration={"x": HUGE[np.newaxis]})
    executable = Executable(package_of(compile_model(doubles(), options)))
    np.testing.assert_array_equal(executable.run({"x": HUGE})["y"], (HUGE + 0.1) * 2.0)


def test_numbers_beyond_float32_are_computed_on_the_host_of_the_accelerator() -> None:
    executable = nmc.compile(doubles(), target="gemm-accel", calibration={"x": HUGE[np.newaxis]})
    assert all("double precision" in str(item) for item in executable.manifest.fallback)
    np.testing.assert_array_equal(executable.run({"x": HUGE})["y"], (HUGE + 0.1) * 2.0)


def test_a_check_of_numbers_beyond_float32_finds_no_error() -> None:
    data = {"x": HUGE[np.newaxis]}
    report = check_model(doubles(), Options(calibration=data), data, per_layer=True)
    assert report.bit_exact and not report.layers
    assert all(
        error.cosine == pytest.approx(1.0) for errors in report.levels.values() for error in errors.values()
    )


def test_doubles_that_float32_holds_run_on_the_accelerator() -> None:
    data = np.array([[1.0, -2.0], [3.0, 0.25]])
    executable = nmc.compile(doubles(), target="gemm-accel", calibration={"x": data[np.newaxis]})
    assert not executable.manifest.fallback
    np.testing.assert_allclose(executable.run({"x": data})["y"], (data + 0.1) * 2.0, atol=1e-3)


def test_the_backend_refuses_numbers_beyond_what_it_compiled_for() -> None:
    prepared = CpuBackend.prepare(doubles())
    prepared.run([np.ones((2, 2))])
    with pytest.raises(ModelError, match="input 'x' holds numbers beyond float32"):
        prepared.run([HUGE])


@pytest.mark.parametrize("backend", [CpuBackend, AcceleratorBackend])
def test_the_backend_computes_numbers_beyond_float32(backend: type[CpuBackend]) -> None:
    prepared = backend.prepare(doubles(), require_full_offload=False)
    (result,) = prepared.run([HUGE])
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, (HUGE + 0.1) * 2.0)
