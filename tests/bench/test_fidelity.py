"""What the table of fidelity counts."""

import numpy as np
import pytest

from tests.bench.fidelity import counted_positions, smallest_cosine


def test_vectors_at_positions_that_a_mask_leaves_out_do_not_count() -> None:
    expected = np.tile([1.0, 0.0], (1, 1, 3, 1))
    actual = np.array([[[[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]]])
    counted = counted_positions({"attention_mask": np.array([[[1, 1, 0]]])}, expected)
    assert smallest_cosine(expected, actual) == 0.0
    assert smallest_cosine(expected, actual, counted) == pytest.approx(0.5**0.5)
    everywhere = counted_positions({"image": np.ones(3)}, expected)
    assert smallest_cosine(expected, actual, everywhere) == 0.0
