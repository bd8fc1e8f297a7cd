"""Tables can be fitted where the data lies."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import nmc
from nmc.errors import ConfigError
from nmc.options import Options
from nmc.pwl import fit_table, function_named


def sigmoid() -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 512]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"], name="gate")], "gate", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_weighted_tables_err_less_on_the_data_and_more_beside_it() -> None:
    """Most values lie around -2.5, where a sigmoid bends most; a few show that the range is wide."""
    values = np.random.default_rng(0).normal(-2.5, 0.4, (4, 1, 512)).astype(np.float32)
    values[:, 0, :2] = -8.0, 8.0
    exact = 1.0 / (1.0 + np.exp(-values.astype(np.float64)))
    errors = {}
    for weighted in (False, True):
        executable = nmc.compile(sigmoid(), calibration={"x": values}, pwl_segments=8, pwl_weighted=weighted)
        result = np.stack([executable.run({"x": sample})["y"] for sample in values])
        (table,) = executable.manifest.tables
        errors[weighted] = float(np.sqrt(((result - exact) ** 2).mean())), table.max_error
    assert errors[True][0] < 0.6 * errors[False][0]
    assert errors[True][1] > errors[False][1]


def test_weighted_tables_of_all_entries_err_less_on_the_data_than_others() -> None:
    function, generator = function_named("sigmoid"), np.random.default_rng(0)
    data = generator.normal(-2.5, 0.4, 20_000)
    histogram = np.histogram(data, bins=256, range=(-8.0, 8.0))
    errors = [
        np.sqrt(((fit_table(function, -8.0, 8.0, histogram=given)(data) - function(data)) ** 2).mean())
        for given in (histogram, None)
    ]
    assert errors[0] < 0.6 * errors[1]


def test_chords_cannot_be_weighted() -> None:
    with pytest.raises(ConfigError, match="cannot be weighted"):
        Options(pwl_granularity=0.5, pwl_weighted=True)
