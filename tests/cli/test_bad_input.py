"""Each kind of bad input is refused with exit code 2 and one line that names it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.cli.small_models import save, save_perceptron, save_samples


def assert_refused(finished, *says: str) -> None:
    assert finished.code == 2, finished.err
    assert finished.out == ""
    errors = [line for line in finished.err.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1, finished.err
    assert errors[0].startswith("error: ")
    for text in says:
        assert text in errors[0]


@pytest.fixture
def compile_model(nmc, tmp_path, monkeypatch):
    """Compiles for the accelerator, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda model, *options: nmc("compile", model, "--target", "gemm-accel", *options)


def test_a_missing_model_is_named(compile_model) -> None:
    assert_refused(compile_model("absent.onnx"), "absent.onnx")


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256))], ids=["empty", "text", "binary"])
def test_a_file_that_is_not_onnx_is_named(compile_model, tmp_path, content) -> None:
    (tmp_path / "picture.onnx").write_bytes(content)
    assert_refused(compile_model("picture.onnx"), "picture.onnx")


def test_an_empty_graph_is_named(compile_model, tmp_path) -> None:
    save(tmp_path / "empty.onnx", [], {}, {})
    assert_refused(compile_model("empty.onnx"), "empty")


def test_missing_external_data_is_named(compile_model, tmp_path) -> None:
    model = onnx.load(save_perceptron(tmp_path / "m.onnx"))
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    (tmp_path / "weights.bin").unlink()
    assert_refused(compile_model("m.onnx"), "weights.bin")


def test_an_unknown_target_is_named(nmc, tmp_path) -> None:
    finished = nmc(
        "compile", save_perceptron(tmp_path / "m.onnx"), "--target", "gpu", "-o", tmp_path / "m.nmc"
    )
    assert_refused(finished, "'gpu'", "gemm-accel", "cpu")


def test_a_dynamic_shape_names_the_input_and_the_option_that_settles_it(compile_model, tmp_path) -> None:
    save_perceptron(tmp_path / "m.onnx", "batch")
    assert_refused(compile_model("m.onnx"), "'x'", "--shape x=")


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ("x", "NAME=1,64"),
        ("x=1,a", "--shape x=1,a"),
        ("z=1,8", "'z'"),
        ("x=1,8,8", "x"),
        ("x=-1,8", "negative"),
    ],
)
def test_a_wrong_shape_option_is_quoted(compile_model, tmp_path, shape, says) -> None:
    save_perceptron(tmp_path / "m.onnx", "batch")
    assert_refused(compile_model("m.onnx", "--shape", shape), says)


def test_a_calibration_file_without_the_input_is_refused(compile_model, tmp_path) -> None:
    save_perceptron(tmp_path / "m.onnx")
    save_samples(tmp_path / "d.npz", image=(1, 8))
    assert_refused(compile_model("m.onnx", "--calibrate", "d.npz"), "'x'", "'image'")


def test_a_calibration_file_of_a_wrong_shape_is_refused(compile_model, tmp_path) -> None:
    save_perceptron(tmp_path / "m.onnx")
    save_samples(tmp_path / "d.npz", x=(1, 9))
    assert_refused(compile_model("m.onnx", "--calibrate", "d.npz"), "'x'", "[6, 1, 9]", "[samples, 1, 8]")


def test_a_calibration_file_with_nan_is_refused(compile_model, tmp_path) -> None:
    save_perceptron(tmp_path / "m.onnx")
    data = np.zeros((2, 1, 8), np.float32)
    data[1, 0, 5] = np.nan
    np.savez(tmp_path / "d.npz", x=data)
    assert_refused(compile_model("m.onnx", "--calibrate", "d.npz"), "'x' holds nan at [1, 0, 5]")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_their_layer(compile_model, tmp_path, value) -> None:
    weights = np.full((8, 2), value, np.float32)
    save(
        tmp_path / "m.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"], "dense")],
        {"x": [1, 8]},
        {"y": [1, 2]},
        w=weights,
    )
    assert_refused(compile_model("m.onnx"), "MatMul 'dense'", f"weights hold {value}")


def test_a_division_by_zero_is_refused_by_its_layer(compile_model, tmp_path) -> None:
    divide = helper.make_node("Div", ["x", "zero"], ["y"], "halve")
    save(tmp_path / "m.onnx", [divide], {"x": [1, 8]}, {"y": [1, 8]}, zero=np.zeros(8, np.float32))
    assert_refused(compile_model("m.onnx"), "Div 'halve'", "the factor inf")


def test_a_result_that_is_not_a_number_on_synthetic_inputs_is_refused(compile_model, tmp_path) -> None:
    save(tmp_path / "m.onnx", [helper.make_node("Log", ["x"], ["y"], "log")], {"x": [1, 8]}, {"y": [1, 8]})
    assert_refused(compile_model("m.onnx"), "layer 'log'", "synthetic inputs")


def test_a_result_that_is_not_a_number_on_calibration_data_is_warned_of(compile_model, tmp_path) -> None:
    save(tmp_path / "m.onnx", [helper.make_node("Log", ["x"], ["y"], "log")], {"x": [1, 8]}, {"y": [1, 8]})
    np.savez(tmp_path / "d.npz", x=np.full((1, 1, 8), -1, np.float32))
    ended = compile_model("m.onnx", "--calibrate", "d.npz")
    assert ended.code == 0
    assert "results of log are not numbers" in ended.err and "check its values" in ended.err


@pytest.mark.parametrize("name", ["absent.npz", "m.onnx"])
def test_a_calibration_file_that_is_none_is_named(compile_model, tmp_path, name) -> None:
    save_perceptron(tmp_path / "m.onnx")
    assert_refused(compile_model("m.onnx", "--calibrate", name), name)


def test_an_unsupported_operator_is_named_with_its_node(compile_model, tmp_path) -> None:
    save(
        tmp_path / "m.onnx",
        [helper.make_node("Unheard", ["x"], ["y"], "strange", domain="example.org")],
        {"x": [1]},
        {"y": [1]},
    )
    model = onnx.load(tmp_path / "m.onnx")
    model.opset_import.append(helper.make_opsetid("example.org", 1))
    onnx.save(model, tmp_path / "m.onnx")
    assert_refused(compile_model("m.onnx"), "Unheard", "'strange'")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("rows = 0", "rows is 0"),
        ("columns = -16", "columns is -16"),
        ("clock_megahertz = 'fast'", "clock_megahertz is 'fast'"),
        ("scratchpad_bytes = 64", "scratchpad_bytes is 64"),
        ("wheels = 4", "wheels"),
        ("colums = 4", "did you mean columns?"),
        ("rows =", "array.toml"),
    ],
)
def test_an_impossible_array_is_refused_by_its_setting(compile_model, tmp_path, setting, says) -> None:
    save_perceptron(tmp_path / "m.onnx")
    (tmp_path / "array.toml").write_text(setting + "\n")
    assert_refused(compile_model("m.onnx", "--config", "array.toml"), "array.toml", says)


def test_an_unknown_preset_is_named(compile_model, tmp_path) -> None:
    save_perceptron(tmp_path / "m.onnx")
    assert_refused(compile_model("m.onnx", "--config", "enormous"), "enormous")


def test_seven_bits_are_refused(compile_model, tmp_path) -> None:
    save_perceptron(tmp_path / "m.onnx")
    assert_refused(compile_model("m.onnx", "--bits", 7), "7")


def test_two_ways_to_size_a_table_are_refused(compile_model, tmp_path) -> None:
    save_perceptron(tmp_path / "m.onnx")
    assert_refused(
        compile_model("m.onnx", "--pwl-segments", 8, "--pwl-granularity", 0.5), "segments", "granularity"
    )


def test_a_missing_output_directory_is_named_before_any_work(compile_model, tmp_path) -> None:
    assert_refused(compile_model("absent.onnx", "-o", tmp_path / "nowhere" / "m.nmc"), "nowhere")


@pytest.mark.parametrize(
    ("option", "says"), [("x", "NAME=FILE.npy"), ("x=absent.npy", "absent.npy"), ("z=b.npy", "'z'")]
)
def test_a_wrong_binding_is_named(compile_model, tmp_path, option, says) -> None:
    save_perceptron(tmp_path / "m.onnx")
    np.save(tmp_path / "b.npy", np.zeros((1, 8), np.float32))
    assert_refused(compile_model("m.onnx", "--bind", option), says)


@pytest.mark.parametrize(
    "command", [("run", "--input", "d.npz"), ("dump",), ("profile",)], ids=lambda c: c[0]
)
def test_a_missing_package_is_named(nmc, command) -> None:
    assert_refused(nmc(command[0], "absent.nmc", *command[1:]), "absent.nmc")


def test_a_tensor_of_strings_is_refused_by_name(compile_model, tmp_path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["text"], ["y"], "copy")],
        "strings",
        [helper.make_tensor_value_info("text", TensorProto.STRING, [2])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, [2])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        tmp_path / "m.onnx",
    )
    assert_refused(compile_model("m.onnx"), "text")


def test_a_largest_loss_is_for_automatic_bits_only(compile_model, tmp_path) -> None:
    save_perceptron(tmp_path / "m.onnx")
    assert_refused(compile_model("m.onnx", "--max-loss", "0.1"), "--max-loss", "--bits auto")


def test_a_dump_directory_that_cannot_be_made_is_refused_before_compiling(compile_model, tmp_path) -> None:
    save_perceptron(tmp_path / "m.onnx")
    (tmp_path / "taken").write_bytes(b"")
    assert_refused(compile_model("m.onnx", "--dump", "taken"), "cannot write to the directory 'taken'")
    assert not (tmp_path / "m.nmc").exists()


def test_shapes_that_do_not_fit_are_told_without_notation_of_tvm(compile_model, tmp_path) -> None:
    weight = np.zeros((16, 8), np.float32)
    product = helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")
    save(tmp_path / "m.onnx", [product], {"x": [1, 15]}, {"y": [1, 8]}, w=weight)
    finished = compile_model("m.onnx")
    assert_refused(finished, "MatMul 'mm'", "[1, 15]", "(a constant) has shape [16, 8]")
    assert not any(notation in finished.err for notation in ("metadata[", "R.shape(", "T.int64("))
