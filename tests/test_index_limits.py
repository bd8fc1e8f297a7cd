"""Inputs that are indices say of how many rows."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nmc.frontend import import_model
from nmc.index_limits import with_index_limits


def embedding(rows: tuple[int, ...]) -> onnx.ModelProto:
    """Rows of tables of these heights, at `ids` [3] and at a cast and a reshape of it, times a float x [3, 2]."""
    nodes, read = [helper.make_node("Reshape", ["ids", "shape"], ["moved"])], []
    nodes.append(helper.make_node("Cast", ["moved"], ["cast"], to=TensorProto.INT32))
    for index in range(len(rows)):
        nodes.append(
            helper.make_node("Gather", [f"table{index}", "cast" if index else "ids"], [f"rows{index}"])
        )
        read.append(f"rows{index}")
    nodes.append(helper.make_node("Sum", [*read, "x"], ["y"]))
    weights = [numpy_helper.from_array(np.zeros((n, 2), np.float32), f"table{i}") for i, n in enumerate(rows)]
    graph = helper.make_graph(
        nodes,
        "embedding",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, [3]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 2]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 2])],
        [*weights, numpy_helper.from_array(np.array([3]), "shape")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_an_index_into_several_tables_stays_below_the_smallest() -> None:
    inputs = with_index_limits(import_model(embedding((7, 5)))).inputs
    assert {spec.name: spec.index_limit for spec in inputs} == {"ids": 5, "x": None}
