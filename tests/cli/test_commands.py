"""The commands, one after the other, on models small enough to follow."""

import json
import re
import zipfile
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from nmc import executable
from nmc.package import read_package, to_bytes
from tests.cli.small_models import save, save_convolution, save_perceptron, save_samples, save_with_fallback

PERCEPTRON_MACS = 8 * 16


@pytest.fixture
def perceptron(tmp_path, monkeypatch):
    """A directory with a model and its data, which is the current one."""
    monkeypatch.chdir(tmp_path)
    save_perceptron(tmp_path / "net.onnx")
    save_samples(tmp_path / "data.npz", x=(1, 8))
    return tmp_path


@pytest.fixture(scope="module")
def package_bytes(tmp_path_factory) -> bytes:
    """The perceptron, compiled once for all tests that only read its package."""
    directory = tmp_path_factory.mktemp("compiled")
    model, data = save_perceptron(directory / "net.onnx"), save_samples(directory / "data.npz", x=(1, 8))
    compiled = executable.compile(model, calibration=dict(np.load(data)))
    return to_bytes(compiled.package)


@pytest.fixture
def compiled(perceptron, package_bytes):
    """The directory of `perceptron` with its package, net.nmc."""
    (perceptron / "net.nmc").write_bytes(package_bytes)
    return perceptron


def sigmoid_of_gemm(directory, samples: np.ndarray) -> np.ndarray:
    model = onnx.load(directory / "net.onnx")
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return 1.0 / (1.0 + np.exp(-(samples @ weights["w"] + weights["b"])))


@pytest.mark.parametrize("target", ["gemm-accel", "cpu"])
def test_a_model_is_compiled_and_run(nmc, perceptron, target) -> None:
    finished = nmc("compile", "net.onnx", "--target", target, "--calibrate", "data.npz", "-o", "net.nmc")
    assert (finished.code, finished.complaints) == (0, [])
    assert nmc("run", "net.nmc", "--input", "data.npz", "-o", "out.npz").code == 0
    samples = np.load(perceptron / "data.npz")["x"]
    outputs = np.load(perceptron / "out.npz")["y"]
    assert outputs.shape == (6, 1, 16)
    # 16 bits a tensor: each is off by half a step of a range below 8, and 8 terms are summed
    np.testing.assert_allclose(outputs, sigmoid_of_gemm(perceptron, samples), atol=8 * 8 * 8 / 2**16)


def test_the_summary_says_what_runs_where_and_how_fast(nmc, perceptron) -> None:
    out = nmc("compile", "net.onnx", "--calibrate", "data.npz").out
    assert f"100.0% of {PERCEPTRON_MACS} multiply-adds" in out
    assert "CPU           nothing" in out
    assert "sigmoid 'act'" in out
    assert "simulated" in out and "inferences/s" in out


def test_the_summary_of_a_model_that_only_passes_its_input_on_has_no_figures(
    nmc, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(
        tmp_path / "same.onnx",
        [helper.make_node("Identity", ["x"], ["y"], "same")],
        {"x": [1, 8]},
        {"y": [1, 8]},
    )
    save_samples(tmp_path / "data.npz", x=(1, 8))
    heading, *rest = nmc("compile", "same.onnx", "--calibrate", "data.npz").out.splitlines()
    assert heading.startswith("same: compiled for gemm-accel")
    assert rest == [
        "  accelerator   nothing to compute: the outputs are inputs, perhaps scaled, or constants"
    ]


def test_the_summary_as_json_is_one_object(nmc, perceptron) -> None:
    finished = nmc("compile", "net.onnx", "--calibrate", "data.npz", "--json")
    report = json.loads(finished.out)
    assert report["package"] == "net.nmc"
    assert report["offload"]["macs_accelerated"] == report["offload"]["macs_total"] == PERCEPTRON_MACS
    assert report["fallback_ops"] == []
    assert report["cycles"] > 0 and report["arena_bytes"] > 0 and report["constants_bytes"] > 0


def test_compiling_without_data_is_a_warning(nmc, perceptron) -> None:
    finished = nmc("compile", "net.onnx", "--json")
    assert finished.code == 0
    assert json.loads(finished.out)["model"] == "net"
    (warning,) = finished.complaints
    assert warning.startswith("warning: ") and "--calibrate" in warning


@pytest.mark.parametrize("target", ["gemm-accel", "cpu"])
def test_the_same_input_gives_the_same_package(nmc, perceptron, target) -> None:
    for name in ("one.nmc", "two.nmc"):
        nmc("compile", "net.onnx", "--target", target, "--calibrate", "data.npz", "-o", name)
    assert (perceptron / "one.nmc").read_bytes() == (perceptron / "two.nmc").read_bytes()


def test_a_check_compares_every_level_with_onnxruntime(nmc, perceptron) -> None:
    finished = nmc("check", "net.onnx", "--data", "data.npz", "--calibrate", "data.npz", "--json")
    assert (finished.code, finished.complaints) == (0, [])
    report = json.loads(finished.out)
    assert set(report) == {
        "model", "samples", "bit_exact", "fallback_ops", "levels", "cycles", "utilization"
    }  # fmt: skip
    assert (report["samples"], report["bit_exact"], report["fallback_ops"]) == (6, True, [])
    assert list(report["levels"]) == ["relax", "matrix_form", "quantized", "accelerator"]
    assert report["levels"]["quantized"] == report["levels"]["accelerator"]
    assert set(report["levels"]["relax"]["y"]) == {"max_abs", "rmse", "cosine", "snr_db", "top1_agreement"}
    assert report["levels"]["relax"]["y"]["max_abs"] < 1e-6
    assert report["levels"]["accelerator"]["y"]["cosine"] > 0.99999


def test_a_check_prints_tables_for_people(nmc, perceptron) -> None:
    out = nmc("check", "net.onnx", "--data", "data.npz").out
    assert "equals the CPU reference to the bit" in out
    assert all(level in out for level in ("relax", "matrix_form", "quantized", "accelerator"))


def test_a_check_that_is_not_bit_exact_fails(nmc, perceptron, monkeypatch) -> None:
    from nmc import check

    monkeypatch.setattr(check, "_different", lambda reference, result: ("y",))
    finished = nmc("check", "net.onnx", "--data", "data.npz", "--calibrate", "data.npz", "--json")
    assert finished.code == 1
    assert json.loads(finished.out)["bit_exact"] is False
    assert finished.complaints[0].startswith("error: the accelerator differs from the CPU reference in y")


def test_one_changed_bit_is_a_difference() -> None:
    from nmc.check import _different

    reference = {"y": np.array([[0.0, 1.0]], np.float32), "z": np.array([[3]])}
    result = {"y": np.array([[-0.0, 1.0]], np.float32), "z": np.array([[3]])}
    assert _different(reference, result) == ("y",)


def test_the_dump_shows_each_command_with_its_layer(nmc, compiled) -> None:
    whole = nmc("dump", "net.nmc").out
    assert "GEMM" in whole and "PWL" in whole and "STORE" in whole
    assert "dense" in nmc("dump", "net.nmc", "--layer", "dense").out


def test_the_dump_begins_with_where_the_users_tensors_lie(nmc, compiled) -> None:
    program, memory, taken, given = nmc("dump", "net.nmc").out.splitlines()[:4]
    assert program == "; program of gemm_accel_0"
    assert re.fullmatch(r"; DRAM below 0x\w+: constants; below 0x\w+: the arena", memory)
    assert re.fullmatch(r"; input x at 0x\w+: i16 \[1, 8\]", taken)
    assert re.fullmatch(r"; output y at 0x\w+: i(16|32) \[1, 16\]", given)


def test_an_unknown_layer_is_answered_with_the_nearest(nmc, compiled) -> None:
    finished = nmc("dump", "net.nmc", "--layer", "dens")
    assert finished.code == 2
    assert "no layer 'dens'" in finished.err and "'dense'" in finished.err


def test_a_profile_adds_up(nmc, compiled) -> None:
    report = json.loads(nmc("profile", "net.nmc", "--json").out)
    assert {"cycles", "macs", "utilization", "dram_bytes_read", "dram_bytes_written"} <= set(report)
    assert {"arena_bytes", "seconds_at_clock", "layers"} <= set(report)
    assert report["macs"] == PERCEPTRON_MACS == sum(layer["macs"] for layer in report["layers"])
    assert report["cycles"] == sum(layer["cycles"] for layer in report["layers"])
    traffic = report["dram_bytes_read"] + report["dram_bytes_written"]
    assert traffic == sum(layer["dram_bytes"] for layer in report["layers"])
    assert {"name", "op", "cycles", "macs", "utilization", "bound", "dram_bytes"} == set(report["layers"][0])


def test_a_profile_is_a_table_for_people(nmc, compiled) -> None:
    out = nmc("profile", "net.nmc").out
    assert "dense" in out and "simulated cycles" in out


def test_products_are_written_for_scalesim(nmc, compiled) -> None:
    assert nmc("profile", "net.nmc", "--scalesim", "sim").code == 0
    assert (compiled / "sim" / "net_gemm.csv").read_text() == "Layer,M,N,K,\ndense,1,16,8,\n"


def test_the_dump_directory_holds_every_pass_and_the_commands(nmc, perceptron) -> None:
    assert nmc("compile", "net.onnx", "--calibrate", "data.npz", "--dump", "passes").code == 0
    names = sorted(path.name for path in (perceptron / "passes").iterdir())
    assert names[0] == "00_import.py" and names[-1] == "program.txt"
    quantised = next(name for name in names if name.endswith("_quantise.py"))
    assert "gemm_accel_gemm" in (perceptron / "passes" / quantised).read_text()


def test_the_operators_of_a_model_are_listed_with_their_place(nmc, tmp_path) -> None:
    report = json.loads(nmc("ops", save_with_fallback(tmp_path / "m.onnx"), "--json").out)
    rows = {row["operator"]: row for row in report["operators"]}
    assert rows["MatMul"]["runs_on"] == "accelerator"
    assert rows["MatMul"]["macs"] == 8 * 8 + 4 * 4
    assert rows["TopK"]["runs_on"] == "CPU"
    assert rows["TopK"]["reasons"]


def test_calibration_data_say_what_of_a_model_is_not_a_number(nmc, tmp_path) -> None:
    model = save(tmp_path / "m.onnx", [helper.make_node("Sqrt", ["x"], ["y"])], {"x": [4]}, {"y": [4]})
    for name, sign, place in (("p.npz", 1, "accelerator"), ("n.npz", -1, "CPU")):
        np.savez(tmp_path / name, x=sign * np.ones((1, 4), np.float32))
        (row,) = json.loads(nmc("ops", model, "--calibrate", tmp_path / name, "--json").out)["operators"]
        assert row["runs_on"] == place
    assert row["operations"] == ["sqrt"] and "not a number" in row["reasons"][0]


def test_multiply_adds_of_nodes_that_share_a_name_are_counted_once(nmc, tmp_path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "dense", perm=[1, 0]),
        helper.make_node("MatMul", ["t", "w"], ["y"], "dense"),
    ]
    weight = np.ones((8, 4), np.float32)
    model = save(tmp_path / "m.onnx", nodes, {"x": [8, 2]}, {"y": [2, 4]}, w=weight)
    report = json.loads(nmc("ops", model, "--json").out)
    assert {row["operator"]: row["macs"] for row in report["operators"]} == {
        "MatMul": 2 * 8 * 4,
        "Transpose": 0,
    }


def test_an_operator_on_the_cpu_is_named_and_the_rest_is_accelerated(nmc, tmp_path) -> None:
    model, data = save_with_fallback(tmp_path / "m.onnx"), save_samples(tmp_path / "d.npz", x=(1, 8))
    report = json.loads(nmc("check", model, "--data", data, "--calibrate", data, "--json").out)
    assert report["bit_exact"] is True
    assert {item["layer"] for item in report["fallback_ops"]} == {"sort"}
    assert report["levels"]["accelerator"]["y"]["cosine"] > 0.9999


def test_an_operator_with_a_type_as_argument_is_left_to_the_cpu(nmc, tmp_path) -> None:
    node = helper.make_node("BitCast", ["x"], ["y"], "bits", to=onnx.TensorProto.INT32)
    model = onnx.load(save(tmp_path / "m.onnx", [node], {"x": [1, 8]}, {"y": [1, 8]}))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    model.opset_import[0].version, model.ir_version = 26, 11
    onnx.save(model, tmp_path / "m.onnx")
    data = save_samples(tmp_path / "d.npz", x=(1, 8))
    report = json.loads(nmc("check", tmp_path / "m.onnx", "--data", data, "--calibrate", data, "--json").out)
    assert [item["layer"] for item in report["fallback_ops"]] == ["bits"]
    assert report["levels"]["accelerator"]["y"]["max_abs"] == 0.0


def test_full_offload_can_be_required(nmc, tmp_path) -> None:
    model, data = save_with_fallback(tmp_path / "m.onnx"), save_samples(tmp_path / "d.npz", x=(1, 8))
    finished = nmc("compile", model, "--calibrate", data, "--require-full-offload", "-o", tmp_path / "m.nmc")
    assert finished.code == 2
    assert "'sort'" in finished.err
    assert not (tmp_path / "m.nmc").exists()


def test_a_package_with_host_code_holds_it_and_runs(nmc, tmp_path) -> None:
    model, data = save_with_fallback(tmp_path / "m.onnx"), save_samples(tmp_path / "d.npz", x=(1, 8))
    nmc("compile", model, "--calibrate", data, "-o", tmp_path / "m.nmc")
    package = read_package(tmp_path / "m.nmc")
    assert package.host is not None and len(package.manifest.regions) == 2
    assert nmc("run", tmp_path / "m.nmc", "--input", data, "-o", tmp_path / "o.npz").code == 0
    assert np.load(tmp_path / "o.npz")["y"].shape == (6, 1, 4)


def test_the_dump_of_a_convolution_can_be_followed(nmc, tmp_path) -> None:
    model, data = save_convolution(tmp_path / "m.onnx"), save_samples(tmp_path / "d.npz", x=(1, 3, 8, 8))
    nmc("compile", model, "--calibrate", data, "-o", tmp_path / "m.nmc")
    text = nmc("dump", tmp_path / "m.nmc").out
    positions = [text.index(command) for command in ("LOAD", "GEMM", "DRAIN", "STORE")]
    assert positions == sorted(positions)


@pytest.mark.parametrize("member", ["program.bin", "constants.bin", "manifest.json"])
@pytest.mark.parametrize(
    "command", [("run", "--input", "data.npz"), ("dump",), ("profile",)], ids=["run", "dump", "profile"]
)
def test_a_package_with_a_flipped_byte_is_refused_by_every_command(nmc, compiled, member, command) -> None:
    content = bytearray((compiled / "net.nmc").read_bytes())
    with zipfile.ZipFile(compiled / "net.nmc") as archive:
        entry = archive.getinfo(member)
        start = entry.header_offset + len(entry.FileHeader())
    content[start + entry.file_size // 2] ^= 0x10
    (compiled / "net.nmc").write_bytes(content)
    finished = nmc(command[0], "net.nmc", *command[1:])
    assert (finished.code, finished.out) == (2, "")
    (error,) = finished.complaints
    assert error.startswith("error: 'net.nmc' is corrupt: its checksum does not match")


def test_wrong_run_data_is_refused_in_one_line(nmc, compiled) -> None:
    save_samples(compiled / "wrong.npz", x=(1, 9), y=(2,))
    finished = nmc("run", "net.nmc", "--input", "wrong.npz")
    assert finished.code == 2
    assert "'wrong.npz'" in finished.err and "[6, 1, 9]" in finished.err


def test_a_timeline_has_a_bar_for_each_command_that_occupies_a_unit(nmc, compiled) -> None:
    assert nmc("profile", "net.nmc", "--trace", "trace.json").code == 0
    events = json.loads((compiled / "trace.json").read_text())["traceEvents"]
    bars = [event for event in events if event["ph"] == "X"]
    assert {bar["name"] for bar in bars} >= {"LOAD", "GEMM", "DRAIN", "STORE"}
    assert {bar["args"]["layer"] for bar in bars} >= {"dense", "act"}
    for row in {bar["tid"] for bar in bars}:
        spans = sorted((bar["ts"], bar["ts"] + bar["dur"]) for bar in bars if bar["tid"] == row)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


def test_a_profile_is_a_page_of_pictures_that_needs_nothing_else(nmc, compiled) -> None:
    assert nmc("profile", "net.nmc", "--html", "first.html").code == 0
    page = (compiled / "first.html").read_text()
    assert page.count("<svg") == page.count("</svg>") >= 6
    for heading in ("Occupancy over time", "Roofline", "Cycles by layer", "Scratchpad", "All layers"):
        assert f"<h2>{heading}</h2>" in page
    assert "<td>dense</td>" in page
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", page), "a page refers to itself alone"
    assert nmc("profile", "net.nmc", "--html", "second.html").code == 0
    assert (compiled / "second.html").read_text() == page


@pytest.mark.parametrize("command", [("check", "net.onnx"), ("profile", "net.nmc")])
def test_a_page_that_cannot_be_drawn_is_refused_before_the_work(nmc, tmp_path, monkeypatch, command) -> None:
    monkeypatch.setattr("nmc.report.libraries.find_spec", lambda name: None)
    finished = nmc(*command, "--html", tmp_path / "page.html")
    assert finished.code == 2
    assert finished.complaints[-1] == (
        "error: a report needs matplotlib and jinja2; install with: pip install matplotlib jinja2"
    )


def test_a_page_for_the_cpu_says_that_there_is_nothing_to_show(nmc, compiled) -> None:
    assert nmc("compile", "net.onnx", "--target", "cpu", "-o", "cpu.nmc").code == 0
    assert nmc("profile", "cpu.nmc", "--html", "cpu.html").code == 0
    assert "nothing of this model runs on the accelerator" in (compiled / "cpu.html").read_text()


def test_a_check_is_a_page_that_names_what_each_layer_lost(nmc, compiled) -> None:
    finished = nmc(
        "check", "net.onnx", "--calibrate", "data.npz", "--data", "data.npz", "--html", "check.html"
    )
    assert finished.code == 0
    page = (compiled / "check.html").read_text()
    assert page.count("<svg") == 2
    assert "<td>dense</td>" in page and "<td>level 4, command stream</td>" in page
    missing = nmc("check", "net.onnx", "--html", "nowhere/check.html")
    assert missing.code == 2 and "the directory 'nowhere' does not exist" in missing.err
