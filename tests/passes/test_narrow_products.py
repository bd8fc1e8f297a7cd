"""Products with 8-bit operands compute what the floats do, to within the steps of their operands."""

import numpy as np
import pytest
from tvm import ir, relax

from nmc.narrowing import narrow_products
from nmc.operand_statistics import OperandStatistics
from nmc.quant.formats import TensorFormat
from passes.matrix_form.im2col import Window, im2col
from passes.narrow_products import NarrowProduct, NarrowProducts, NarrowTensor
from passes.quantise import quantise
from passes.rewrite import bindings_of, dtype_of
from targets.cpu import interpret
from tests.passes.support import build_module, constant, random_array, run

FINE = TensorFormat(2.0**-9, 16)


def with_formats(module: ir.IRModule, products: NarrowProducts) -> ir.IRModule:
    """The module in integers: every tensor in steps of 2^-9."""
    variables = [*module["main"].params, *(b.var for b in bindings_of(module["main"]))]
    formats = {variable.name: FINE for variable in variables if dtype_of(variable) == "float32"}
    return quantise(module, formats, {}, products)[0]


def planned(module: ir.IRModule, *samples: np.ndarray) -> NarrowProducts:
    """The plan for all products, calibrated on these inputs."""
    statistics = OperandStatistics(module)
    for sample in samples:
        interpret(module).run([sample], statistics.observe)
    return narrow_products(module, statistics, "min-max")


def test_a_zero_point_costs_nothing_but_the_bias() -> None:
    weights = random_array(1, 12, 3, seed=1)
    module = build_module(lambda emitter, x: relax.op.matmul(x, constant(weights)), (1, 8, 12))
    x = np.abs(random_array(1, 8, 12))
    plan = {"y": NarrowProduct(NarrowTensor(float(x.max()) / 255, -128))}
    (result,) = run(with_formats(module, plan), x)
    # half a step of each factor times the sum of the other's magnitudes, and a step of the result
    step_x, step_w = x.max() / 255, np.abs(weights).max() / 127
    bound = step_x * np.abs(weights).sum(axis=1) + step_w * x.sum(axis=2).max() + FINE.scale
    assert (np.abs(result - x @ weights) <= bound).all()
    assert "int8" in {dtype_of(b.var) for b in bindings_of(with_formats(module, plan)["main"])}


def test_padding_of_a_window_stands_for_zero() -> None:
    weights = np.ones((1, 9, 1), np.float32)
    weights[0, 0] = 0.5
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
    module = build_module(
        lambda emitter, x: relax.op.matmul(emitter.emit(im2col(emitter, x, window)), constant(weights)),
        (1, 1, 4, 4),
    )
    (result,) = run(
        with_formats(module, planned(module, np.full((1, 1, 4, 4), 2.0, np.float32))),
        np.zeros((1, 1, 4, 4)).astype("float32"),
    )
    np.testing.assert_allclose(result, 0.0, atol=0.05)


def test_factors_of_channels_cancel() -> None:
    generator = np.random.default_rng(5)
    spread = np.array([30.0, 1.0, 0.5, 0.2, 1.0, 2.0, 0.1, 0.3], np.float32)
    weights = generator.standard_normal((1, 8, 5)).astype(np.float32)
    module = build_module(lambda emitter, x: relax.op.matmul(x, constant(weights)), (1, 64, 8))
    samples = [(generator.standard_normal((1, 64, 8)) * spread / 20).astype(np.float32) for _ in range(4)]
    plan = planned(module, *samples)
    assert plan["y"].left.reciprocals is not None
    plain = {"y": NarrowProduct(NarrowTensor(plan["y"].left.scale * 16))}
    exact = samples[0] @ weights
    errors = [np.abs(run(with_formats(module, p), samples[0])[0] - exact).max() for p in (plan, plain)]
    assert errors[0] < 0.5 * errors[1]


def test_channels_that_calibration_saw_on_half_of_its_samples_only_are_not_enlarged() -> None:
    """Enlarged by their small range on one half they would saturate on the other."""
    generator = np.random.default_rng(6)
    weights = generator.standard_normal((1, 8, 5)).astype(np.float32)
    module = build_module(lambda emitter, x: relax.op.matmul(x, constant(weights)), (1, 64, 8))
    samples = [generator.uniform(0.0, 6.0, (1, 64, 8)).astype(np.float32) for _ in range(4)]
    for index, sample in enumerate(samples):
        sample[:, :, index % 2 :: 2] *= 0.01
    assert planned(module, *samples)["y"].left.reciprocals is None


def test_the_mean_error_of_a_column_is_corrected() -> None:
    generator = np.random.default_rng(7)
    weights = generator.standard_normal((1, 16, 4)).astype(np.float32)
    module = build_module(lambda emitter, x: relax.op.matmul(x, constant(weights)), (1, 256, 16))
    x = generator.uniform(0.0, 6.0, (1, 256, 16)).astype(np.float32)
    plan = planned(module, x)
    corrected = run(with_formats(module, plan), x)[0] - x @ weights
    product = plan["y"]
    plain = {"y": NarrowProduct(product.left, None, product.row_factors)}
    uncorrected = run(with_formats(module, plain), x)[0] - x @ weights
    assert np.abs(corrected.mean(axis=1)).max() < 0.1 * np.abs(uncorrected.mean(axis=1)).max()


@pytest.mark.parametrize("columns", [1, 5])
def test_products_of_two_activations_have_symmetric_operands(columns: int) -> None:
    module = build_module(
        lambda emitter, x: relax.op.matmul(x, emitter.emit(relax.op.permute_dims(x, [0, 2, 1]))),
        (columns, 4, 6),
    )
    x = random_array(columns, 4, 6)
    plan = planned(module, x)
    product = plan["y#1"] if "y#1" in plan else plan["y"]
    assert product.left.zero == 0 and product.right is not None
    (result,) = run(with_formats(module, plan), x)
    # each factor is off by half of 1/127 of the largest
    bound = 2 * 6 * float(np.abs(x).max()) ** 2 / 254 * 1.02 + FINE.scale
    assert np.abs(result - x @ x.transpose(0, 2, 1)).max() <= bound
