"""The compiler chooses a table's addressing and size by the steps of its result and the accelerator's table memory."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import nmc
from nmc.errors import ConfigError
from nmc.executable import Executable

VALUES = np.linspace(-3.0, 3.0, 2048, dtype=np.float32).reshape(4, 1, 512)
"""Both ends of [-3, 3] and much between: what calibration sees."""
ROUNDING = 0.5
"""Steps that rounding a result adds, at most."""
MIRRORED = 0.5
"""Steps of a sine that rounding its mirrored argument to steps of 2^-14 adds: a step of the sine is twice 1 / 32767."""


def compiled(operator: str, values: np.ndarray = VALUES, **options: object) -> Executable:
    """A model of one function, and its argument calibrated on `values`."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 512]) for name in "xy")
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"], name="f")], "f", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return nmc.compile(model, calibration={"x": values}, **options)


def with_entries(folder: Path, entries: int) -> str:
    """The description of an accelerator whose slots have so many entries."""
    path = folder / "accelerator.toml"
    path.write_text(f"table_entries = {entries}\n")
    return str(path)


@pytest.mark.parametrize("operator", ["Tanh", "Sigmoid", "Softplus", "Exp", "Sin", "Cos"])
def test_a_table_adds_less_than_half_a_step_where_calibration_saw_arguments(operator: str) -> None:
    table = compiled(operator).manifest.tables[-1]
    assert 0.0 < table.error_steps < 0.5 and table.segments <= 256
    assert table.seen_error <= table.max_error


@pytest.mark.parametrize("reach", [1.5, 3.0, 40.0, 1000.0])
@pytest.mark.parametrize("wave", ["Sin", "Cos"])
def test_waves_are_as_good_far_from_zero(wave: str, reach: float) -> None:
    values = VALUES * np.float32(reach / 3.0)
    executable = compiled(wave, values)
    assert max(table.error_steps for table in executable.manifest.tables) < 0.5
    (output,) = executable.manifest.outputs
    results = np.stack([executable.run({"x": sample})[output.name] for sample in values])
    wanted = {"Sin": np.sin, "Cos": np.cos}[wave](values.astype(np.float64))
    assert np.abs(results - wanted).max() <= (0.5 + ROUNDING + MIRRORED) * 2.0 / 32767


@pytest.mark.parametrize("entries", [64, 512])
def test_a_table_fits_the_slots_of_the_accelerator(entries: int, tmp_path: Path) -> None:
    executable = compiled("Sin", config=with_entries(tmp_path, entries))
    table = executable.manifest.tables[-1]
    assert table.segments <= entries
    # the error of n segments of half a wave is a parabola's, (π / n)² / 16: 2.5 steps of 64
    assert (table.error_steps < 0.5) == (entries == 512)
    (output,) = executable.manifest.outputs
    largest = (table.error_steps + ROUNDING + MIRRORED) * 2.0 / 32767
    results = np.stack([executable.run({"x": sample})[output.name] for sample in VALUES])
    assert np.abs(results - np.sin(VALUES.astype(np.float64))).max() <= largest


def test_more_segments_than_a_slot_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tables of 100 segments do not fit .* slots of 64 entries"):
        compiled("Sin", pwl_segments=100, config=with_entries(tmp_path, 64))
