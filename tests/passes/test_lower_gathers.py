"""Gathers and scatters as rows of tables, against onnxruntime."""

import numpy as np
import pytest
from tvm import ir, relax

from passes.lower_gathers import lower_gathers
from tests.passes.oracle import onnx_node
from tests.passes.support import build_module, constant, listing, random_array, run

op = relax.op
DATA = (4, 6, 5)


def check(module: ir.IRModule, expected: np.ndarray, *arrays: np.ndarray) -> None:
    lowered = lower_gathers(module)
    np.testing.assert_array_equal(run(lowered, *arrays)[0], expected)
    assert not any(" gather_" in line or " scatter_" in line for line in listing(lowered))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("known", [True, False])
def test_gathered_elements_are_rows_of_a_table_of_elements(axis: int, known: bool) -> None:
    data = random_array(*DATA, seed=1)
    places = np.random.default_rng(2).integers(-DATA[axis], DATA[axis], (4, 2, 5))
    expected = onnx_node("GatherElements", data, places, axis=axis)
    if known:
        wanted = constant(places, "int64")
        check(build_module(lambda emitter, x: op.gather_elements(x, wanted, axis), DATA), expected, data)
    else:
        module = build_module(
            lambda emitter, x, i: op.gather_elements(x, i, axis), DATA, (places.shape, "int64")
        )
        check(module, expected, data, places)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("batch", "depth"), [(0, 1), (0, 3), (1, 1), (1, 2)])
def test_gathered_slices_are_rows_of_a_table_of_slices(batch: int, depth: int, known: bool) -> None:
    data = random_array(*DATA, seed=3)
    shape = (4, 3, depth) if batch else (2, 3, depth)
    places = np.random.default_rng(4).integers(-4, 4, shape)
    expected = onnx_node("GatherND", data, places, batch_dims=batch)
    if known:
        wanted = constant(places, "int64")
        check(build_module(lambda emitter, x: op.gather_nd(x, wanted, batch), DATA), expected, data)
    else:
        module = build_module(lambda emitter, x, i: op.gather_nd(x, i, batch), DATA, (shape, "int64"))
        check(module, expected, data, places)


def test_a_scatter_to_constant_places_takes_from_data_and_updates() -> None:
    data, updates = random_array(*DATA, seed=5), random_array(4, 2, 5, seed=6)
    places = np.stack([np.random.default_rng(7).permutation(6)[:2] for _ in range(20)], 1).T.reshape(4, 5, 2)
    places = np.ascontiguousarray(places.transpose(0, 2, 1))
    expected = onnx_node("ScatterElements", data, places, updates, axis=1)
    wanted = constant(places, "int64")
    module = build_module(lambda emitter, x, u: op.scatter_elements(x, wanted, u, 1), DATA, updates.shape)
    check(module, expected, data, updates)


def test_scattered_slices_replace_rows() -> None:
    data, updates = random_array(*DATA, seed=8), random_array(3, 5, seed=9)
    places = np.array([[0, 1], [3, -1], [2, 2]])
    expected = onnx_node("ScatterND", data, places, updates)
    wanted = constant(places, "int64")
    check(
        build_module(lambda emitter, x, u: op.scatter_nd(x, wanted, u), DATA, updates.shape),
        expected,
        data,
        updates,
    )


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
def test_updates_of_one_place_are_combined_round_by_round(reduction: str) -> None:
    data, updates = random_array(*DATA, seed=10), random_array(4, 6, 5, seed=11)
    places = np.array([[1], [3], [1], [-1]])
    expected = onnx_node("ScatterND", data, places, updates, reduction=reduction)
    wanted = constant(places, "int64")
    module = build_module(lambda emitter, x, u: op.scatter_nd(x, wanted, u, reduction), DATA, updates.shape)
    check(module, expected, data, updates)


def test_a_scatter_to_computed_places_stays_on_the_host() -> None:
    module = build_module(lambda emitter, x, i, u: op.scatter_nd(x, i, u), (4, 3), ((2, 1), "int64"), (2, 3))
    assert listing(lower_gathers(module)) == listing(module)
