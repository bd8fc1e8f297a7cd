"""Networks of every kind, small and seeded, compile to the accelerator and keep onnxruntime's results."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import tvm

from nmc.compiler import compile_model
from nmc.executable import Executable
from nmc.golden import Golden
from nmc.manifest import Fallback
from nmc.options import Options
from nmc.packaging import package_of
from targets.cpu import build
from tests.architectures import ARCHITECTURES, TESTED

UNOPTIMISED = tvm.target.Target({"kind": "llvm", "opt-level": 0})
"""Integers have the same bits however they are compiled, and this compiles in less time."""

HOST = {
    "message_passing_on_given_edges": {"scatter_elements", "scatter_nd"},
}
"""What no linear operation can be: scattering to where data says."""

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Results:
    """The outputs of one network, [samples, *shape] by name, at three levels."""

    onnxruntime: Outputs
    reference: Outputs
    accelerator: Outputs
    fallback: tuple[Fallback, ...]


@cache
def results(name: str) -> Results:
    """Compiles a network for the accelerator and runs it."""
    architecture = ARCHITECTURES[name]()
    options = Options(calibration=dict(architecture.calibration))
    compilation = compile_model(architecture.model, options)
    module = build(compilation.levels["quantised"], UNOPTIMISED)
    inputs = [tensor.name for tensor in compilation.inputs]
    outputs = [tensor.name for tensor in compilation.outputs]
    executable = Executable(package_of(compilation))
    golden = Golden(architecture.model, {})
    made: list[tuple[Outputs, Outputs, Outputs]] = []
    for index in range(len(architecture.test[inputs[0]])):
        sample = {key: architecture.test[key][index] for key in inputs}
        reference = module.run([sample[key] for key in inputs])
        made.append(
            (golden.run(sample), dict(zip(outputs, reference, strict=True)), dict(executable.run(sample)))
        )
    stacked = [
        {key: np.stack([one[key] for one in level]) for key in outputs} for level in zip(*made, strict=True)
    ]
    return Results(*stacked, fallback=compilation.fallback)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine of two tensors seen as vectors, in float64."""
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("name", TESTED)
def test_the_accelerator_equals_the_cpu_reference_to_the_bit(name: str) -> None:
    made = results(name)
    for key, expected in made.reference.items():
        np.testing.assert_array_equal(made.accelerator[key], expected, err_msg=key)


@pytest.mark.parametrize("name", TESTED)
def test_every_output_points_where_onnxruntimes_does(name: str) -> None:
    made = results(name)
    for key, expected in made.onnxruntime.items():
        assert cosine(expected, made.accelerator[key]) >= 0.999, key


@pytest.mark.parametrize("name", TESTED)
def test_the_host_runs_no_float_operator_but_what_cannot_be_linear(name: str) -> None:
    touched = {item.operator for item in results(name).fallback if item.touches_floats}
    assert touched == HOST.get(name, set())
