"""The border between floats on the host and integers on the accelerator."""

from collections.abc import Sequence

from tvm import relax

from passes.matrix_form.composite import call_composite
from passes.rewrite import Emitter

QUANTISE = "host.quantise"
DEQUANTISE = "host.dequantise"

_op = relax.op


def quantise(emitter: Emitter, x: relax.Expr, scale: float, dtype: str) -> relax.Call:
    """floor(x / scale + 1/2), saturated to a signed integer type, computed in float64; x float32 of any shape."""
    limit = 2.0 ** (int(dtype.removeprefix("int")) - 1)

    def body(inner: Emitter, parameters: Sequence[relax.Var]) -> relax.Expr:
        x, step = parameters
        steps = _op.floor(_op.add(_op.divide(_op.astype(x, "float64"), step), relax.const(0.5, "float64")))
        lowest, highest = relax.const(-limit, "float64"), relax.const(limit - 1.0, "float64")
        return _op.astype(_op.minimum(_op.maximum(steps, lowest), highest), dtype)

    return call_composite(emitter, QUANTISE, [x, emitter.constant(scale, "float64")], body, {"dtype": dtype})


def dequantise(emitter: Emitter, x: relax.Expr, scale: float) -> relax.Call:
    """x · scale in float32, computed in float64; x is an integer tensor of any shape."""

    def body(inner: Emitter, parameters: Sequence[relax.Var]) -> relax.Expr:
        x, step = parameters
        return _op.astype(_op.multiply(_op.astype(x, "float64"), step), "float32")

    return call_composite(emitter, DEQUANTISE, [x, emitter.constant(scale, "float64")], body)
