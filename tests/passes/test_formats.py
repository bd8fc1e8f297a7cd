"""The formats of tensors hold what is computed from them."""

from tvm import relax

from nmc.quant.formats import WIDE_BITS, TensorRange
from passes.formats import plan_formats
from passes.matrix_form.unary import unary
from passes.rewrite import Emitter, bindings_of
from tests.passes.support import build_module


def test_16_bits_hold_the_slopes_of_a_root_whose_arguments_span_decades() -> None:
    """Where arguments begin at 1e-4 and reach to 10, a reciprocal root falls by 5e5 an argument there."""

    def body(emitter: Emitter, x: relax.Var) -> relax.Expr:
        return unary(emitter, emitter.emit(relax.op.multiply(x, x)), "rsqrt", eps=0.0)

    module = build_module(body, (8,))
    squares, root = (binding.var.name for binding in bindings_of(module["main"])[:2])
    ranges = {"x0": TensorRange(0.01, 3.2), squares: TensorRange(1e-4, 10.0), root: TensorRange(0.3, 100.0)}
    formats = plan_formats(module, ranges)
    assert formats[squares].bits == formats[root].bits == WIDE_BITS
    steepest = 0.5 * 1e-4**-1.5
    assert steepest * formats[squares].scale / formats[root].scale < 2**15 - 1
    assert formats[root].scale < 1e-6
