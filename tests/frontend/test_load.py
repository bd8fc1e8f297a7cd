"""What is refused before anything is computed, and in which words."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nmc.errors import ModelError, UnsupportedOperatorError
from nmc.frontend import import_model


def relu_model(opset: int = 18, operator: str = "Relu", ir_version: int = 8) -> onnx.ModelProto:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], name="only")], "g", value[:1], value[1:]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx: no such file"):
        import_model(tmp_path / "absent.onnx")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip, say", b"hello", bytes(range(256))])
def test_a_file_that_is_not_onnx_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not an ONNX file") as raised:
        import_model(path)
    assert "\n" not in str(raised.value)


def test_an_empty_graph_is_refused() -> None:
    model = relu_model()
    del model.graph.node[:]
    with pytest.raises(ModelError, match="graph is empty"):
        import_model(model)


def test_a_missing_external_data_file_is_named(tmp_path: Path) -> None:
    weight = onnx.numpy_helper.from_array(np.ones((3, 4), np.float32), "w")
    value = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [2, 3]), ("y", [2, 4]))
    ]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weight]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    assert import_model(tmp_path / "m.onnx").outputs[0].shape == (2, 4)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"external data file missing: weights\.bin"):
        import_model(tmp_path / "m.onnx")


def test_changed_external_data_changes_the_source_hash(tmp_path: Path) -> None:
    test_a_missing_external_data_file_is_named(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.ones(12, np.float32).tobytes())
    first = import_model(tmp_path / "m.onnx").source_hash
    (tmp_path / "weights.bin").write_bytes(np.zeros(12, np.float32).tobytes())
    assert import_model(tmp_path / "m.onnx").source_hash != first


def test_a_model_of_an_older_operator_set_is_converted() -> None:
    """Before operator set 5 a reshape has its shape as an attribute, and until 6 Relu names what it overwrites."""
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [2, 3]), ("y", [3, 2]))
    ]
    nodes = [
        helper.make_node("Reshape", ["x"], ["turned"], shape=[3, -1]),
        helper.make_node("Relu", ["turned"], ["y"], consumed_inputs=[0]),
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 1)], ir_version=3)
    imported = import_model(model)
    assert imported.outputs[0].shape == (3, 2)
    assert [node.operator for node in imported.nodes] == ["Reshape", "Relu"]


@pytest.mark.parametrize(
    ("opset", "operator", "words"),
    [(999, "Relu", "knows up to"), (1, "Split", "cannot convert to 6 .*Split")],
)
def test_an_operator_set_out_of_range_is_refused(opset: int, operator: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        import_model(relu_model(opset, operator))


def test_an_operator_that_the_standard_does_not_define_is_named() -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"Relux 'only'"):
        import_model(relu_model(operator="Relux"))


def test_a_model_that_the_checker_refuses_is_refused_in_one_line() -> None:
    model = relu_model()
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ModelError, match="not a valid ONNX model") as raised:
        import_model(model)
    assert "\n" not in str(raised.value)


def test_all_operators_without_a_translation_are_named_at_once() -> None:
    model = relu_model()
    model.opset_import.append(helper.make_opsetid("acme", 1))
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node("Warp", ["x"], ["a"], name="first", domain="acme"),
            helper.make_node("Relu", ["a"], ["b"], name="between"),
            helper.make_node("Weft", ["x"], ["c"], name="second", domain="acme"),
            helper.make_node("Add", ["b", "c"], ["y"], name="end"),
        ]
    )
    with pytest.raises(UnsupportedOperatorError) as raised:
        import_model(model)
    assert str(raised.value) == (
        "Warp 'first': operator Warp of domain 'acme' is not supported; "
        "Weft 'second': operator Weft of domain 'acme' is not supported"
    )
