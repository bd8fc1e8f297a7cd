"""QuantizeLinear and DequantizeLinear around a tensor leave it on the model's own grid."""

from collections.abc import Callable

import numpy as np
from tvm import ir, relax

from passes.recognise_quantisation import recognise_quantisation
from passes.rewrite import Emitter
from tests.passes.support import build_module, constant, listing, random_array, run

op = relax.op


def quantised(x: relax.Expr, scale: float, zero: float) -> relax.Expr:
    """What the importer makes of QuantizeLinear to unsigned bytes."""
    steps = op.add(op.round(op.divide(x, constant(scale))), constant(zero))
    return op.astype(op.clip(steps, 0.0, 255.0), "uint8")


def dequantised(x: relax.Expr, scale: float, zero: float) -> relax.Expr:
    """What it makes of DequantizeLinear."""
    return op.multiply(op.subtract(op.astype(x, "float32"), constant(zero)), constant(scale))


def pair(between: Callable[[relax.Expr], relax.Expr], scale: float = 0.25, zero: float = 3.0) -> ir.IRModule:
    def body(emitter: Emitter, x: relax.Var) -> relax.Expr:
        return dequantised(between(quantised(x, 0.25, 3.0)), scale, zero)

    return build_module(body, (4, 6))


def test_a_pair_is_a_clip_to_the_grid_and_the_grid() -> None:
    module = pair(lambda integers: integers)
    recognised = recognise_quantisation(module)
    assert [line.partition(" = ")[2] for line in listing(recognised)] == [
        "clip(x0, T.float64(-0.75), T.float64(63.0))",
        "grid[0.25 from -3 to 252](y#8)",
    ]
    x = random_array(4, 6, scale=20.0)
    np.testing.assert_array_equal(run(recognised, x)[0], run(module, x)[0])


def test_moves_between_the_pair_move_the_tensor_on_the_grid() -> None:
    module = pair(lambda integers: op.permute_dims(op.reshape(integers, [3, 8]), [1, 0]))
    recognised = recognise_quantisation(module)
    assert "uint8" not in str(recognised["main"])
    x = random_array(4, 6, scale=20.0)
    np.testing.assert_array_equal(run(recognised, x)[0], run(module, x)[0])


def test_a_pair_of_different_scales_and_zeros_rescales_the_grid() -> None:
    module = pair(lambda integers: integers, scale=0.5, zero=1.0)
    recognised = recognise_quantisation(module)
    assert [line.partition(" = ")[2] for line in listing(recognised)][2:] == [
        "multiply(y#9, 2)",
        "add(y#14, 1)",
    ]
    x = random_array(4, 6, scale=20.0)
    np.testing.assert_array_equal(run(recognised, x)[0], run(module, x)[0])


def test_integers_that_leave_the_model_are_those_of_the_grid() -> None:
    module = build_module(lambda emitter, x: quantised(x, 0.25, 3.0), (4, 6))
    recognised = recognise_quantisation(module)
    assert sum("grid[" in line for line in listing(recognised)) == 1
    x = random_array(4, 6, scale=20.0)
    np.testing.assert_array_equal(run(recognised, x)[0], run(module, x)[0])


def test_a_scale_a_channel_is_no_grid_of_a_tensor() -> None:
    scales = np.linspace(0.1, 0.2, 6, dtype=np.float32)

    def body(emitter: Emitter, x: relax.Var) -> relax.Expr:
        steps = op.round(op.divide(x, constant(scales)))
        return op.multiply(
            op.astype(op.astype(op.clip(steps, -128.0, 127.0), "int8"), "float32"), constant(scales)
        )

    module = build_module(body, (4, 6))
    assert listing(recognise_quantisation(module)) == listing(module)
