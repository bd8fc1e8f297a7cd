"""Integers stand for the floats of matrix form as closely as their formats allow."""

import numpy as np
import pytest
from tvm import relax

from nmc.quant.formats import TensorFormat
from passes.quantise import quantise
from passes.quantise_gemm import grid_steps
from passes.rewrite import bindings_of
from tests.passes.support import build_module, random_array, run


def test_a_part_of_a_concatenation_keeps_its_precision_when_its_scale_changes() -> None:
    """Both formats are wide and fine, 2^-27 and 1.5 * 2^-27: the ratio must be kept to some 30 bits all the same."""
    module = build_module(lambda emitter, a, b: relax.op.concat([a, b], axis=0), (8,), (8,))
    fine, coarse = TensorFormat(2.0**-27, 32), TensorFormat(1.5 * 2.0**-27, 32)
    name = bindings_of(module["main"])[0].var.name
    quantised, _ = quantise(module, {"x0": fine, "x1": coarse, name: coarse, "output": coarse}, {})
    a, b = random_array(8), random_array(8, seed=1)
    (result,) = run(quantised, a, b)
    step = coarse.scale
    np.testing.assert_allclose(result, np.concatenate([a, b]), rtol=2.0**-23, atol=1.5 * step)


def test_a_negative_factor_keeps_its_precision_in_fine_formats() -> None:
    module = build_module(lambda emitter, a: relax.op.multiply(a, relax.const(-0.7, "float32")), (8,))
    fine = TensorFormat(2.0**-27, 32)
    name = bindings_of(module["main"])[0].var.name
    quantised, _ = quantise(module, {"x0": fine, name: fine, "output": fine}, {})
    a = random_array(8)
    (result,) = run(quantised, a)
    np.testing.assert_allclose(result, np.float32(-0.7) * a, rtol=2.0**-23, atol=1.5 * fine.scale)


def test_zeros_that_are_added_take_no_bits_from_the_other_operand() -> None:
    module = build_module(lambda emitter, a: relax.op.subtract(relax.const(np.zeros(8, "float32")), a), (8,))
    fine = TensorFormat(2.0**-27, 32)
    name = bindings_of(module["main"])[0].var.name
    quantised, _ = quantise(module, {"x0": fine, name: fine, "output": fine}, {})
    a = random_array(8)
    (result,) = run(quantised, a)
    np.testing.assert_allclose(result, -a, rtol=2.0**-23, atol=1.5 * fine.scale)


def test_a_mask_of_huge_numbers_leaves_the_scores_their_bits() -> None:
    mask = np.array([0, -3.4e38, 0, -3.4e38], "float32")
    module = build_module(lambda emitter, a: relax.op.add(a, relax.const(mask)), (4,))
    form = TensorFormat(2.0**-10, 16)
    name = bindings_of(module["main"])[0].var.name
    quantised, _ = quantise(module, {"x0": form, name: form, "output": form}, {})
    a = random_array(4)
    (result,) = run(quantised, a)
    np.testing.assert_allclose(result[::2], a[::2], atol=1.0 * form.scale)
    np.testing.assert_array_equal(result[1::2], -(2.0**15) * form.scale)


def test_a_large_step_of_a_product_coarsens_the_result_and_is_not_cut() -> None:
    """A step of both operands is 2^16 steps of the planned result, more than a requantisation can multiply by."""
    module = build_module(lambda emitter, a, b: relax.op.multiply(a, b), (8,), (8,))
    form, fine = TensorFormat(2.0**-4, 16), TensorFormat(2.0**-24, 32)
    name = bindings_of(module["main"])[0].var.name
    quantised, _ = quantise(module, {"x0": form, "x1": form, name: fine, "output": fine}, {})
    a, b = (np.round(random_array(8, seed=seed) * 16) / 16 for seed in (0, 1))
    np.testing.assert_allclose(run(quantised, a, b)[0], a * b, rtol=0, atol=1e-6)


def test_factors_of_channels_that_differ_by_decades_keep_their_digits() -> None:
    """As in a batch normalisation: the factor is large where the values are small, so no product is."""
    factors = np.array([100.0, 0.0123], np.float32)
    module = build_module(lambda emitter, a: relax.op.multiply(a, relax.const(factors)), (2,))
    form, result = TensorFormat(2.0**-12, 16), TensorFormat(2.0**-15, 16)
    name = bindings_of(module["main"])[0].var.name
    quantised, _ = quantise(module, {"x0": form, name: result, "output": result}, {})
    a = np.array([0.00390625, 7.5], np.float32)
    np.testing.assert_allclose(run(quantised, a)[0], a * factors, atol=0.51 * result.scale)


@pytest.mark.parametrize("scale", [1.0, 0.003172])
def test_weights_on_a_grid_have_its_step_a_column(scale: float) -> None:
    steps = np.array([0.7, 1.0, 1.3], np.float32) * np.float32(scale)
    integers = np.random.default_rng(0).integers(-127, 128, (1, 200, 3))
    np.testing.assert_allclose(grid_steps((integers * steps).astype(np.float64))[0, 0], steps, rtol=1e-6)


def test_other_weights_are_on_no_grid() -> None:
    assert not grid_steps(random_array(2, 50, 3).astype(np.float64)).any()
