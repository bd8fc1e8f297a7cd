"""Builds one-node models, runs the imported module through LLVM, and compares with onnxruntime."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from onnx import helper, numpy_helper
from tvm import relax

from nmc.frontend import ImportedModel, import_model

Arrays = Mapping[str, np.ndarray]


def make_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Arrays,
    outputs: Sequence[str],
    constants: Arrays | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    """A model over `nodes`, its inputs typed and shaped like the given arrays."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(model)
    for value in inferred.graph.output:
        if not value.type.WhichOneof("value"):  # onnx infers nothing through some function bodies
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return inferred


def run_module(imported: ImportedModel, feeds: Arrays) -> list[np.ndarray]:
    """The outputs of the imported module, computed by TVM's LLVM backend."""
    executable = relax.build(imported.module, tvm.target.Target({"kind": "llvm", "opt-level": 0}))
    machine = relax.VirtualMachine(executable, tvm.cpu())
    result = machine["main"](*(tvm.runtime.tensor(feeds[spec.name]) for spec in imported.inputs))
    return [tensor.numpy() for tensor in (result if len(imported.outputs) > 1 else [result])]


def run_onnxruntime(model: onnx.ModelProto, feeds: Arrays) -> list[np.ndarray]:
    """The outputs of the model as onnxruntime computes them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, dict(feeds))


def assert_close(wanted: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> None:
    """Equal shapes and types; floats within 2^-16 of the largest magnitude, integers equal.

    float32 rounds at 2^-24; the graphs here sum up to a few hundred terms and use functions of a few
    roundings, in an order that differs between the two runtimes, which loses at most 8 bits.
    """
    assert len(wanted) == len(got)
    for want, have in zip(wanted, got, strict=True):
        assert (want.shape, want.dtype) == (have.shape, have.dtype)
        if want.dtype.kind == "f":
            finite = want[np.isfinite(want)]
            bound = 2.0**-16 * max(float(np.abs(finite).max()) if finite.size else 0.0, 1e-3)
            np.testing.assert_allclose(have, want, rtol=0, atol=bound)
        else:
            np.testing.assert_array_equal(have, want)


@pytest.fixture
def build_model() -> Callable[..., onnx.ModelProto]:
    """`make_model`."""
    return make_model


@pytest.fixture
def run() -> Callable[[ImportedModel, Arrays], list[np.ndarray]]:
    """`run_module`."""
    return run_module


@pytest.fixture
def agrees_with_onnxruntime() -> Callable[..., ImportedModel]:
    """Import one node, run it and onnxruntime on the same inputs, compare; returns the imported model."""

    def check(
        operator: str,
        inputs: Sequence[np.ndarray],
        constants: Mapping[int, np.ndarray] | None = None,
        outputs: int = 1,
        opset: int = 18,
        **attributes: Any,
    ) -> ImportedModel:
        fixed = {f"c{index}": array for index, array in (constants or {}).items()}
        feeds = {}
        names = []
        given = list(inputs)
        for index in range(len(inputs) + len(fixed) + 8):
            if f"c{index}" in fixed:
                names.append(f"c{index}")
            elif given:
                feeds[f"x{index}"] = given.pop(0)
                names.append(f"x{index}")
            else:
                names.append("")
        while names and not names[-1]:
            names.pop()
        results = [f"y{i}" for i in range(outputs)]
        node = helper.make_node(operator, names, results, name="layer", **attributes)
        model = make_model([node], feeds, results, fixed, opset)
        imported = import_model(model)
        assert_close(run_onnxruntime(model, feeds), run_module(imported, feeds))
        return imported

    return check


@pytest.fixture
def reference() -> Callable[[onnx.ModelProto, Arrays], list[np.ndarray]]:
    """`run_onnxruntime`."""
    return run_onnxruntime


@pytest.fixture(name="assert_close")
def assert_close_fixture() -> Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], None]:
    """`assert_close`."""
    return assert_close
