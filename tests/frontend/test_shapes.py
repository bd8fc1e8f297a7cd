"""Dynamic shapes are pinned by the caller or refused with the option to give."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nmc.errors import ModelError
from nmc.frontend import import_model


def add_model(
    first: Sequence[int | str | None] | None, second: Sequence[int | str | None]
) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip("ab", (first, second), strict=True)
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, second)
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["y"])], "g", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_a_named_dimension_pinned_in_one_input_is_pinned_in_all() -> None:
    imported = import_model(add_model(["batch", 3], ["batch", 3]), shapes={"a": (2, 3)})
    assert [spec.shape for spec in (*imported.inputs, *imported.outputs)] == [(2, 3)] * 3


def test_every_dynamic_dimension_is_listed_with_the_option_that_settles_it() -> None:
    with pytest.raises(ModelError) as raised:
        import_model(add_model(["batch", 3], ["batch", None]))
    assert str(raised.value) == (
        "input 'a' has dynamic dimension 0 ('batch'): give --shape a=BATCH,3; "
        "input 'b' has dynamic dimensions 0 ('batch'), 1: give --shape b=BATCH,N"
    )


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"c": (1, 3)}, "--shape names 'c', but the model's inputs are: a, b"),
        ({"a": (1, 3, 4)}, "has 3 dimensions, but the input has 2"),
        ({"a": (1, 4)}, "dimension 1 is fixed to 3"),
        ({"a": (0, 3)}, "every dimension must be at least 1"),
        ({"a": (1, 3), "b": (2, 3)}, "dimension 0 is 'batch', already pinned to 1"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(shapes: Mapping[str, Sequence[int]], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        import_model(add_model(["batch", 3], ["batch", 3]), shapes=shapes)


def test_an_input_of_unknown_rank_takes_the_shape_it_is_given() -> None:
    with pytest.raises(ModelError, match="input 'a' has no shape in the model"):
        import_model(add_model(None, [2, 3]))
    assert import_model(add_model(None, [2, 3]), shapes={"a": (1, 3)}).inputs[0].shape == (1, 3)


def test_an_input_of_strings_is_refused() -> None:
    model = add_model([2, 3], [2, 3])
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    with pytest.raises(ModelError, match="input 'a' holds STRING values"):
        import_model(model)


def test_a_bound_input_becomes_a_constant_and_leaves_the_parameters() -> None:
    imported = import_model(add_model([2, 3], [2, 3]), binds={"a": np.ones((2, 3))})
    assert [spec.name for spec in imported.inputs] == ["b"]


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("c", np.ones((2, 3), np.float32), "--bind names 'c'"),
        ("a", np.ones((2, 4), np.float32), r"has shape \(2, 4\), but the input takes \(2, 3\)"),
        ("a", np.ones((2, 3), np.complex64), "holds complex64 values, but the input takes float32"),
    ],
)
def test_a_constant_that_does_not_fit_its_input_is_refused(name: str, array: np.ndarray, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        import_model(add_model([2, 3], [2, 3]), binds={name: array})


def test_a_dimension_of_size_zero_counts_as_dynamic() -> None:
    with pytest.raises(ModelError, match="input 'a' has dynamic dimension 0: give --shape a=N,3"):
        import_model(add_model([0, 3], [1, 3]))
    assert import_model(add_model([0, 3], [1, 3]), shapes={"a": (1, 3)}).inputs[0].shape == (1, 3)
