"""A package runs where neither onnx nor onnxruntime is installed, and on any processor that has what it needs."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nmc
from nmc.errors import PackageError
from nmc.executable import Executable
from nmc.package import Package
from targets.cpu.processor import missing_features

BLOCKED = ("onnx", "onnxruntime")

PROGRAM = """
import sys
for name in sys.argv[3].split(","):
    sys.modules[name] = None  # importing it then raises ImportError
import numpy, nmc
executable = nmc.load(sys.argv[1])
inputs = {tensor.name: numpy.ones(tensor.shape, tensor.dtype) for tensor in executable.inputs}
numpy.savez(sys.argv[2], **executable.run(inputs))
"""


def save_gemm(path: Path) -> Path:
    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "dense")],
        "gemm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def run_with_blocked(package: Path, output: Path, blocked: tuple[str, ...]) -> dict[str, np.ndarray]:
    command = [sys.executable, "-c", PROGRAM, str(package), str(output), ",".join(blocked)]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return dict(np.load(output))


def test_a_package_runs_without_onnx_and_onnxruntime(tmp_path: Path) -> None:
    data = {"x": np.ones((2, 2, 4), np.float32)}
    nmc.compile(save_gemm(tmp_path / "m.onnx"), calibration=data).save(tmp_path / "m.nmc")
    outputs = run_with_blocked(tmp_path / "m.nmc", tmp_path / "out.npz", BLOCKED)
    # the largest value, 1, is an integer at every scale, so nothing is rounded
    np.testing.assert_allclose(outputs["y"], np.ones((2, 4)), atol=2**-15)


def test_a_package_without_host_code_runs_without_the_tvm_compiler(tmp_path: Path) -> None:
    data = {"x": np.ones((2, 2, 4), np.float32)}
    nmc.compile(save_gemm(tmp_path / "m.onnx"), calibration=data).save(tmp_path / "m.nmc")
    outputs = run_with_blocked(tmp_path / "m.nmc", tmp_path / "out.npz", (*BLOCKED, "tvm"))
    assert outputs["y"].shape == (2, 4)


def test_a_cpu_package_runs_without_onnx_and_onnxruntime(tmp_path: Path) -> None:
    data = {"x": np.ones((2, 2, 4), np.float32)}
    nmc.compile(save_gemm(tmp_path / "m.onnx"), "cpu", calibration=data).save(tmp_path / "m.nmc")
    outputs = run_with_blocked(tmp_path / "m.nmc", tmp_path / "out.npz", BLOCKED)
    np.testing.assert_allclose(outputs["y"], np.ones((2, 4)), atol=2**-15)


def test_a_cpu_package_needs_what_its_manifest_says_of_a_processor(tmp_path: Path) -> None:
    data = {"x": np.ones((2, 2, 4), np.float32)}
    package = nmc.compile(save_gemm(tmp_path / "m.onnx"), "cpu", calibration=data).package
    assert missing_features(package.manifest.host_features) == []
    elsewhere = replace(package.manifest, host_features=("fma", "seven-legs"))
    with pytest.raises(PackageError, match=r"needs seven-legs.*compile the model here"):
        Executable(Package(elsewhere, package.program, package.constants, package.host))


def test_a_package_without_host_code_needs_nothing_of_a_processor(tmp_path: Path) -> None:
    data = {"x": np.ones((2, 2, 4), np.float32)}
    package = nmc.compile(save_gemm(tmp_path / "m.onnx"), calibration=data).package
    assert package.host is None and package.manifest.host_features == ()
