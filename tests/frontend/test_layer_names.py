"""Each binding carries the name of the ONNX node it came from."""

from collections.abc import Callable

import numpy as np
import onnx
import tvm
from onnx import helper
from tvm import relax

from nmc.frontend import import_model


def names_of(module: tvm.IRModule) -> list[str]:
    (block,) = module["main"].body.blocks
    assert isinstance(block, relax.DataflowBlock)
    return [binding.var.name for binding in block.bindings]


def test_all_operations_of_one_node_share_its_name(build_model: Callable[..., onnx.ModelProto]) -> None:
    nodes = [
        helper.make_node("Elu", ["x"], ["a"], name="/encoder/layer.0/act"),
        helper.make_node("Softsign", ["a"], ["y"], name="last"),
    ]
    names = names_of(import_model(build_model(nodes, {"x": np.zeros((2, 3), np.float32)}, ["y"])).module)
    assert names == ["/encoder/layer.0/act"] * 5 + ["last"] * 3


def test_a_node_without_a_name_is_called_by_operator_and_index(
    build_model: Callable[..., onnx.ModelProto],
) -> None:
    nodes = [helper.make_node("Tanh", ["x"], ["a"]), helper.make_node("Exp", ["a"], ["y"])]
    names = names_of(import_model(build_model(nodes, {"x": np.zeros(3, np.float32)}, ["y"])).module)
    assert names == ["Tanh_0", "Exp_1"]


def test_the_nodes_of_a_function_body_carry_the_callers_name(
    build_model: Callable[..., onnx.ModelProto],
) -> None:
    node = helper.make_node("MeanVarianceNormalization", ["x"], ["y"], name="mvn", axes=[0])
    names = names_of(import_model(build_model([node], {"x": np.ones((4, 3), np.float32)}, ["y"])).module)
    assert len(names) > 1
    assert set(names) == {"mvn"}


def test_parameters_keep_the_onnx_names_and_order(build_model: Callable[..., onnx.ModelProto]) -> None:
    inputs = {name: np.zeros(2, np.float32) for name in ("zeta:0", "alpha")}
    model = build_model([helper.make_node("Add", ["alpha", "zeta:0"], ["y"])], inputs, ["y"])
    imported = import_model(model)
    assert [spec.name for spec in imported.inputs] == ["zeta:0", "alpha"]
    assert [parameter.name for parameter in imported.module["main"].params] == ["zeta:0", "alpha"]


def test_outputs_that_are_inputs_or_constants_are_returned(
    build_model: Callable[..., onnx.ModelProto], run
) -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Identity", ["y"], ["again"]),
    ]
    x = np.array([[-1, 2, 3]], np.float32)
    got = run(import_model(build_model(nodes, {"x": x}, ["same", "shape", "y", "again"])), {"x": x})
    for have, want in zip(got, (x, [1, 3], np.maximum(x, 0), np.maximum(x, 0)), strict=True):
        np.testing.assert_array_equal(have, want)


def test_no_operation_without_effect_is_written(build_model: Callable[..., onnx.ModelProto]) -> None:
    nodes = [
        helper.make_node("Dropout", ["x"], ["a"]),
        helper.make_node("Cast", ["a"], ["b"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Reshape", ["b", "s"], ["c"]),
        helper.make_node("Transpose", ["c"], ["d"], perm=[0, 1]),
        helper.make_node("Expand", ["d", "s"], ["e"]),
        helper.make_node("Exp", ["e"], ["unused"]),
        helper.make_node("Relu", ["e"], ["y"], name="act"),
    ]
    constants = {"s": np.array([2, 3], np.int64)}
    model = build_model(nodes, {"x": np.zeros((2, 3), np.float32)}, ["y"], constants)
    assert names_of(import_model(model).module) == ["act"]


def test_nodes_that_onnxruntime_makes_are_named_after_the_models_own(
    build_model: Callable[..., onnx.ModelProto],
) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], name="dense"),
        helper.make_node("Add", ["p", "b"], ["q"], name="bias"),
        helper.make_node("Relu", ["q"], ["y"], name="act"),
    ]
    constants = {"w": np.ones((4, 5), np.float32), "b": np.ones(5, np.float32)}
    imported = import_model(build_model(nodes, {"x": np.zeros((2, 3, 4), np.float32)}, ["y"], constants))
    assert [node.operator for node in imported.nodes] == ["Reshape", "Gemm", "Reshape", "Relu"]
    assert set(names_of(imported.module)) == {"dense", "act"}


def test_consecutive_moves_become_one(build_model: Callable[..., onnx.ModelProto]) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="act"),
        helper.make_node("Transpose", ["r"], ["a"], perm=[1, 2, 0], name="first"),
        helper.make_node("Identity", ["a"], ["b"], name="between"),
        helper.make_node("Transpose", ["b"], ["c"], perm=[1, 2, 0], name="second"),
        helper.make_node("Flatten", ["c"], ["d"], name="third"),
        helper.make_node("Unsqueeze", ["d", "axes"], ["y"], name="fourth"),
    ]
    constants = {"axes": np.array([0], np.int64)}
    imported = import_model(build_model(nodes, {"x": np.zeros((2, 3, 4), np.float32)}, ["y"], constants))
    assert names_of(imported.module) == ["act", "second", "fourth"]
