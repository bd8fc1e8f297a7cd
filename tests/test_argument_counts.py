"""Reports say how many of the values that calibration saw fall outside a table."""

import numpy as np
import pytest

from nmc.argument_counts import ArgumentCounts
from passes.matrix_form.unary import unary
from tests.passes.support import build_module


def counts_of(function: str, *samples: np.ndarray) -> ArgumentCounts:
    """What is counted of the argument of one function."""
    module = build_module(lambda emitter, x: unary(emitter, x, function), (8,))
    counts = ArgumentCounts(module)
    for sample in samples:
        counts.observe("x0", sample.astype(np.float32))
    return counts


@pytest.mark.parametrize(
    ("low", "high", "share"),
    [(-100.0, 100.0, 0.0), (-16.0, 100.0, 0.25), (-100.0, 2.0, 0.5), (0.0, 100.0, 0.5), (-100.0, -0.1, 0.5)],
)
def test_values_on_either_side_of_a_range_are_outside(low: float, high: float, share: float) -> None:
    counts = counts_of("exp", np.array([-40.0, -30.0, -1.0, -2.0]), np.array([3.0, 4.0, 5.0, 5.5]))
    assert counts.share_outside("x0", low, high) == share


def test_values_at_the_end_of_a_range_are_inside() -> None:
    assert counts_of("exp", np.array([-3.7, 5.3])).share_outside("x0", -3.7, 5.3) == 0.0


def test_functions_that_are_exact_everywhere_are_not_counted() -> None:
    assert counts_of("relu", np.array([1000.0])).share_outside("x0", 0.0, 1.0) == 0.0


def test_a_histogram_counts_what_lies_in_a_range() -> None:
    counts = counts_of("exp", np.array([-3.0, -1.0, -0.9, 0.0, 0.5, 0.6, 2.0, 30.0]))
    inside, edges = counts.histogram("x0", -2.0, 4.0) or ((), ())
    assert len(edges) == len(inside) + 1 and (edges[0], edges[-1]) == (-2.0, 4.0)
    assert sum(inside) == pytest.approx(6.0)
    middle = [edge <= -0.8 for edge in edges[1:]]
    assert sum(part for part, low in zip(inside, middle, strict=True) if low) == pytest.approx(2.0)
    assert counts.histogram("x0", 40.0, 50.0) is None
