"""Images that stay rows of channels between products."""

from collections.abc import Callable

import numpy as np
import pytest
from tvm import ir, relax

from nmc.pwl.table import fit_table
from passes.lower_convolution import lower_convolution
from passes.matrix_form.pwl import float_pwl
from passes.normalise_moves import normalise_moves
from passes.rewrite import Emitter
from targets.cpu import build
from targets.cpu.channels_last import ChannelsLast
from tests.passes.support import build_module, constant, listing, random_array, run

IMAGE = (1, 8, 9, 11)


def _convolution(emitter: Emitter, x: relax.Expr, *weights: int, **attributes: object) -> relax.Expr:
    return emitter.emit(
        relax.op.nn.conv2d(x, constant(random_array(*weights, seed=sum(weights))), **attributes)
    )


def _relu(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    return emitter.emit(float_pwl(emitter, x, fit_table("relu", -9.0, 9.0)))


def _residual_block(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    y = _relu(emitter, _convolution(emitter, x, 20, 8, 1, 1))
    z = emitter.emit(relax.op.add(_convolution(emitter, y, 20, 20, 3, 3, padding=(1, 1)), y))
    return _convolution(emitter, z, 17, 20, 3, 2, padding=(1, 0), strides=(2, 2), dilation=(1, 3))


def _depthwise(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    y = _relu(emitter, _convolution(emitter, x, 20, 8, 1, 1))
    z = _convolution(emitter, y, 20, 1, 3, 2, padding=(1, 0), strides=(2, 1), groups=20)
    z = _relu(emitter, emitter.emit(relax.op.add(z, constant(random_array(1, 20, 1, 1)))))
    return _convolution(emitter, z, 4, 20, 1, 1)


def _scaled(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    y = _convolution(emitter, x, 6, 8, 1, 1)
    y = emitter.emit(relax.op.multiply(y, constant(random_array(1, 6, 1, 1))))
    y = emitter.emit(relax.op.subtract(constant(2.0), y))
    return _convolution(emitter, y, 4, 6, 1, 1)


def _weighted_channels(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    y = _convolution(emitter, x, 6, 8, 1, 1)
    weights = _convolution(emitter, emitter.emit(relax.op.max(y, [2, 3], keepdims=True)), 6, 6, 1, 1)
    return _convolution(emitter, emitter.emit(relax.op.multiply(y, weights)), 4, 6, 1, 1)


def _sum_with_a_constant_image(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    y = emitter.emit(relax.op.add(_convolution(emitter, x, 6, 8, 1, 1), constant(random_array(6, 9, 11))))
    return _convolution(emitter, y, 4, 6, 1, 1)


def _sum_with_the_input(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    return relax.op.add(_relu(emitter, _convolution(emitter, x, 8, 8, 1, 1)), x)


def _lowered(body: Callable[[Emitter, relax.Expr], relax.Expr], shape: tuple[int, ...]) -> ir.IRModule:
    return normalise_moves(lower_convolution(build_module(body, shape)))


BODIES = [
    _residual_block,
    _depthwise,
    _scaled,
    _weighted_channels,
    _sum_with_a_constant_image,
    _sum_with_the_input,
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("batch", [1, 3])
def test_values_stay(body: Callable[[Emitter, relax.Expr], relax.Expr], batch: int) -> None:
    module = _lowered(body, (batch, *IMAGE[1:]))
    x = random_array(batch, *IMAGE[1:], seed=5)
    expected = run(module, x)[0]
    np.testing.assert_array_equal(run(ChannelsLast(module), x)[0], expected)
    # sums of up to 180 products of normal numbers, twice one after the other
    tolerance = 1e-5 * float(np.abs(expected).max())
    np.testing.assert_allclose(build(module).run([x])[0], expected, atol=tolerance)


def _names(module: ir.IRModule) -> list[str]:
    return [line.split(" = ")[1].split("(")[0] for line in listing(module)]


def test_between_convolutions_nothing_is_transposed() -> None:
    module = ChannelsLast(_lowered(_residual_block, IMAGE))
    assert [name for name in _names(module) if name != "reshape"] == [
        "permute_dims",
        "matmul",
        "nmc.pwl",
        "call_tir",
        "matmul",
        "add",
        "call_tir",
        "matmul",
        "permute_dims",
    ]


def test_a_depthwise_convolution_reads_and_makes_rows() -> None:
    names = _names(ChannelsLast(_lowered(_depthwise, IMAGE)))
    assert names.count("nmc.depthwise") == 1
    assert names.count("permute_dims") == 2


def test_constants_of_channels_and_numbers_become_rows() -> None:
    assert _names(ChannelsLast(_lowered(_scaled, IMAGE))).count("permute_dims") == 2


def test_a_number_for_each_channel_becomes_a_row() -> None:
    names = _names(ChannelsLast(_lowered(_weighted_channels, IMAGE)))
    assert names[names.index("multiply") :] == ["multiply", "matmul", "permute_dims", "reshape"]


def test_integers_stay_as_they_are() -> None:
    module = build_module(
        lambda emitter, x: relax.op.reshape(emitter.emit(relax.op.permute_dims(x, [0, 2, 1])), [1, 12]),
        ((1, 3, 4), "int32"),
    )
    assert listing(ChannelsLast(module)) == listing(module)
