"""The error measures have the values that their formulas give on cases worked by hand."""

import math

import numpy as np
import pytest

from nmc.metrics import compare


def test_equal_outputs_have_no_error() -> None:
    x = np.array([[1.0, -2.0, 3.0]], np.float32)
    error = compare(x, x.copy())
    assert (error.max_abs, error.rmse, error.snr_db, error.top1_agreement) == (0.0, 0.0, None, 1.0)
    assert error.cosine == pytest.approx(1.0, abs=1e-15)


def test_each_measure_has_the_value_of_its_formula() -> None:
    error = compare(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[3.0, 3.0], [0.0, 1.0]]))
    assert error.max_abs == 1.0
    assert error.rmse == pytest.approx(math.sqrt(2 / 4))
    assert error.snr_db == pytest.approx(10 * math.log10(25 / 2))
    assert error.cosine == pytest.approx(21 / (5 * math.sqrt(19)))
    assert error.top1_agreement == 0.0


def test_top1_agreement_is_the_share_of_rows() -> None:
    reference = np.eye(4)[None]
    result = reference.copy()
    result[0, 3] = [9.0, 0.0, 0.0, 1.0]
    assert compare(reference, result).top1_agreement == 0.75


@pytest.mark.parametrize("shape", [(3,), (3, 1), (2, 0)])
def test_rows_without_a_choice_have_no_top1_agreement(shape: tuple[int, ...]) -> None:
    assert compare(np.zeros(shape), np.zeros(shape)).top1_agreement is None


def test_equal_infinities_are_no_difference_but_a_new_nan_is_an_infinite_one() -> None:
    reference = np.array([[np.inf, np.nan, 1.0]])
    assert compare(reference, reference).max_abs == 0.0
    assert compare(np.array([[1.0, 2.0]]), np.array([[np.nan, 2.0]])).max_abs == math.inf


def test_a_zero_reference_is_matched_by_zero_only() -> None:
    zero = np.zeros((1, 2))
    assert compare(zero, zero).cosine == 1.0
    assert compare(zero, np.ones((1, 2))).cosine == 0.0
    assert compare(zero, np.ones((1, 2))).snr_db is None


def test_large_integers_are_compared_in_double_precision() -> None:
    assert compare(np.array([[2**24, 1]]), np.array([[2**24 + 1, 1]])).max_abs == 1.0


def test_different_shapes_are_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="shapes"):
        compare(np.zeros((1, 2)), np.zeros((1, 3)))
