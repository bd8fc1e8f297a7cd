"""Integers stand for the floats of matrix form as closely as their formats allow."""

import numpy as np
from tvm import relax

from nmc.quant.formats import TensorFormat
from passes.quantise import quantise
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
