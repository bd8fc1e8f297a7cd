"""Transpositions through the one kernel."""

import numpy as np
import pytest
from tvm import relax

from passes.rewrite import bindings_of
from targets.cpu import build
from targets.cpu.transpose import ScheduleTransposes, matrices_of
from tests.passes.support import build_module, random_array

MATRICES = [
    ((5, 7), (1, 0), (1, 5, 7)),
    ((33, 17), (1, 0), (1, 33, 17)),
    ((2, 16, 8), (0, 2, 1), (2, 16, 8)),
    ((1, 1, 6, 5, 35), (1, 0, 4, 2, 3), (1, 30, 35)),
    ((2, 3, 1, 5, 4), (0, 4, 1, 2, 3), (2, 15, 4)),
    ((4, 1, 3), (2, 1, 0), (1, 4, 3)),
    ((2, 3, 4), (2, 0, 1), (1, 6, 4)),
]
OTHER_MOVES = [
    ((3, 4, 5), (2, 1, 0)),
    ((2, 3, 4), (1, 0, 2)),
    ((2, 1, 3), (1, 0, 2)),
    ((2, 3, 4, 5), (0, 2, 1, 3)),
]


@pytest.mark.parametrize(("shape", "axes", "matrices"), MATRICES)
def test_transposed_matrices_equal_numpy(
    shape: tuple[int, ...], axes: tuple[int, ...], matrices: tuple[int, int, int]
) -> None:
    assert matrices_of(shape, axes) == matrices
    module = build_module(lambda emitter, x: relax.op.permute_dims(x, list(axes)), shape)
    scheduled = ScheduleTransposes(module)
    assert not any("permute_dims" in str(binding.value) for binding in bindings_of(scheduled["main"]))
    x = random_array(*shape, seed=1)
    np.testing.assert_array_equal(build(module).run([x])[0], x.transpose(axes))


@pytest.mark.parametrize(("shape", "axes"), OTHER_MOVES)
def test_other_moves_of_axes_are_left_alone(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    assert matrices_of(shape, axes) is None
    x = random_array(*shape, seed=1)
    module = build_module(lambda emitter, x: relax.op.permute_dims(x, list(axes)), shape)
    np.testing.assert_array_equal(build(module).run([x])[0], x.transpose(axes))
