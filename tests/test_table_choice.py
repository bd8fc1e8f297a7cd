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
ARGUMENT = 0.5 * 3.0
"""Steps of a sine that rounding its argument adds: half a step of one three times as large, and a slope of at most 1."""


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


@pytest.mark.parametrize("operator", ["Tanh", "Sigmoid", "Softplus", "Exp"])
def test_a_table_adds_less_than_half_a_step_where_calibration_saw_arguments(operator: str) -> None:
    (table,) = compiled(operator).manifest.tables
    assert 0.0 < table.error_steps < 0.5 and table.segments <= 256
    assert table.seen_error <= table.max_error


@pytest.mark.parametrize("entries", [64, 512])
def test_a_table_fits_the_slots_of_the_accelerator(entries: int, tmp_path: Path) -> None:
    executable = compiled("Sin", config=with_entries(tmp_path, entries))
    (table,) = executable.manifest.tables
    assert table.segments <= entries
    # a sine needs more than 256 segments of [-3, 3] for half a step: (6 / n)² / 16 of a parabola's error each
    assert (table.error_steps < 0.5) == (entries == 512)
    (output,) = executable.manifest.outputs
    largest = (table.error_steps + ROUNDING + ARGUMENT) * 2.0 / 32767
    results = np.stack([executable.run({"x": sample})[output.name] for sample in VALUES])
    assert np.abs(results - np.sin(VALUES.astype(np.float64))).max() <= largest


def test_more_segments_than_a_slot_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tables of 100 segments do not fit .* slots of 64 entries"):
        compiled("Sin", pwl_segments=100, config=with_entries(tmp_path, 64))
