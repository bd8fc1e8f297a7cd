"""Products with one-hot matrices become lookups."""

import numpy as np
import pytest
from tvm import ir, relax

from passes.recognise_one_hot import recognise_one_hot
from tests.passes.support import build_module, constant, listing, random_array, run

op = relax.op


def one_hot_times(table: np.ndarray, numbers: np.ndarray) -> ir.IRModule:
    return build_module(
        lambda emitter, ids: op.matmul(
            op.astype(op.equal(op.reshape(ids, [2, 4, 1]), constant(numbers, "int32")), "float32"),
            constant(table),
        ),
        ((2, 4), "int32"),
    )


@pytest.mark.parametrize("first", [0, 3])
def test_a_one_hot_matrix_times_a_table_is_a_lookup(first: int) -> None:
    table = random_array(5, 3, seed=1)
    ids = np.array([[-1, 0, 1, 4], [5, 7, 8, 100]], np.int32)
    before = one_hot_times(table, first + np.arange(5))
    after = recognise_one_hot(before)
    np.testing.assert_array_equal(run(after, ids)[0], run(before, ids)[0])
    assert "take(const[7, 3]" in "\n".join(listing(after))
    assert "matmul" not in "\n".join(listing(after))


def test_a_comparison_with_other_numbers_is_no_one_hot_matrix() -> None:
    module = one_hot_times(random_array(5, 3), np.array([0, 1, 2, 4, 3]))
    assert listing(recognise_one_hot(module)) == listing(module)
