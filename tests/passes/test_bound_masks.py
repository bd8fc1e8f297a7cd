"""Masks of minus infinity, and what they would do to the precision of scores."""

import numpy as np
import pytest
from tvm import relax

from nmc.calibration import collect_ranges
from passes.bound_masks import bound_masks
from passes.expand_maximum import expand_maximum
from passes.formats import plan_formats
from passes.matrix_form.unary import unary
from passes.ranges import NEGLIGIBLE_EXPONENT, effective_ranges
from passes.rewrite import Emitter, bindings_of
from tests.passes.support import build_module, constant, listing, random_array, run

LOWEST = -3.4e38


def masked_exponentials(emitter: Emitter, scores: relax.Var, mask: relax.Var) -> relax.Expr:
    """exp(s - max(s)) of s = scores + (1 - mask) · lowest, for rows of two."""
    hidden = emitter.emit(
        relax.op.multiply(emitter.emit(relax.op.subtract(constant(1.0), mask)), constant(LOWEST))
    )
    masked = emitter.emit(relax.op.add(scores, hidden))
    first, second = (emitter.emit(relax.op.strided_slice(masked, [1], [i], [i + 1])) for i in (0, 1))
    largest = emitter.emit(relax.op.maximum(first, second))
    return unary(emitter, emitter.emit(relax.op.subtract(masked, largest)), "exp")


@pytest.fixture
def calibrated():
    """The module above, samples for it, and its ranges."""
    module = build_module(masked_exponentials, (4, 2), (1, 2))
    samples = [[random_array(4, 2, seed=i), np.array([[1.0, i % 2]], np.float32)] for i in range(4)]
    return module, samples, collect_ranges(module, samples)


def test_a_far_mask_is_clipped_where_it_arises(calibrated) -> None:
    module, _, ranges = calibrated
    bounded, _ = bound_masks(module, ranges)
    clips = [line for line in listing(bounded) if "unary[clip" in line]
    assert [line.partition(" ")[0] for line in clips] == ["y#1"]


def test_after_clipping_no_range_is_far_from_the_scores(calibrated) -> None:
    module, samples, ranges = calibrated
    _, new_ranges = bound_masks(module, ranges)
    scores = max(float(np.abs(sample[0]).max()) for sample in samples)
    kept = {binding.var.name for binding in bindings_of(module["main"])} - {"output"}
    # the mask needs to reach as far below the scores as an exponential can tell, and the sum as far again
    assert all(new_ranges[name].magnitude < 2 * (4 * scores - NEGLIGIBLE_EXPONENT) for name in kept)


def test_clipping_changes_no_result(calibrated) -> None:
    module, samples, ranges = calibrated
    bounded, _ = bound_masks(module, ranges)
    for sample in samples:
        np.testing.assert_allclose(
            run(bounded, *sample)[0], run(module, *sample)[0], atol=np.exp(NEGLIGIBLE_EXPONENT)
        )


def test_expanding_the_maximum_after_clipping_stays_accurate_in_floats(calibrated) -> None:
    module, samples, ranges = calibrated
    expanded, _ = expand_maximum(*bound_masks(module, ranges))
    assert not any("maximum" in line for line in listing(expanded))
    for sample in samples:
        # the clipped sums are below 64 in magnitude, where float32 steps are below 2^-18
        np.testing.assert_allclose(run(expanded, *sample)[0], run(module, *sample)[0], atol=2.0**-16)


def test_the_scores_keep_the_precision_of_their_own_range(calibrated) -> None:
    module, _, ranges = calibrated
    formats = plan_formats(*expand_maximum(*bound_masks(module, ranges)))
    assert formats["y#2"].scale < 2.0**-9


def test_a_mask_of_minus_ten_thousand_costs_the_scores_no_precision() -> None:
    def masked(emitter: Emitter, scores: relax.Var) -> relax.Expr:
        hidden = emitter.emit(relax.op.add(scores, constant([[0.0, -10000.0]])))
        first, second = (emitter.emit(relax.op.strided_slice(hidden, [1], [i], [i + 1])) for i in (0, 1))
        largest = emitter.emit(relax.op.maximum(first, second))
        return unary(emitter, emitter.emit(relax.op.subtract(hidden, largest)), "exp")

    module, sample = build_module(masked, (4, 2)), random_array(4, 2)
    ranges = collect_ranges(module, [[sample]])
    formats = plan_formats(*expand_maximum(*bound_masks(module, ranges)))
    # the lowest score, and what underflows below it, with a bit to spare for the sum
    furthest = float(np.abs(sample).max()) - NEGLIGIBLE_EXPONENT
    assert formats["y"].scale <= furthest / (2**14 - 1)


def test_a_tensor_read_by_an_exponential_alone_is_cut_where_it_underflows() -> None:
    module = build_module(lambda emitter, x: unary(emitter, emitter.emit(relax.op.add(x, x)), "exp"), (8,))
    ranges = collect_ranges(module, [[np.linspace(-100, 1, 8, dtype=np.float32)]])
    assert ranges["y"].low == -200.0
    assert effective_ranges(module, ranges)["y"].low == NEGLIGIBLE_EXPONENT


def test_a_tensor_that_anything_else_reads_keeps_its_range() -> None:
    def both(emitter: Emitter, x: relax.Var) -> tuple[relax.Expr, ...]:
        doubled = emitter.emit(relax.op.add(x, x))
        return unary(emitter, doubled, "exp"), doubled

    module = build_module(both, (8,))
    ranges = collect_ranges(module, [[np.linspace(-100, 1, 8, dtype=np.float32)]])
    assert effective_ranges(module, ranges)["y"].low == -200.0


def test_a_row_that_is_masked_whole_leaves_the_other_rows_their_precision() -> None:
    module = build_module(masked_exponentials, (4, 2), (4, 2))
    mask = np.array([[1, 1], [1, 0], [0, 0], [0, 1]], np.float32)
    sample = [random_array(4, 2), mask]
    exact, ranges = expand_maximum(*bound_masks(module, collect_ranges(module, [sample])))
    formats = plan_formats(exact, ranges)
    scores = float(np.abs(sample[0]).max())
    calls = [b for b in bindings_of(exact["main"]) if isinstance(b.value, relax.Call)]
    inner = [b for b in calls if "strided_slice" in str(b.value.op)]
    assert inner and all(
        formats[b.var.name].scale * 2**15 < 4 * (4 * scores - NEGLIGIBLE_EXPONENT) for b in inner
    )
    rows = mask.any(axis=1)
    np.testing.assert_allclose(
        run(exact, *sample)[0][rows], run(module, *sample)[0][rows], atol=2 * np.exp(NEGLIGIBLE_EXPONENT)
    )
