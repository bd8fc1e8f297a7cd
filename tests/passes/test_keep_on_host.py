"""What is kept on the host, and what reads it, are calls that later passes leave alone."""

import numpy as np
from tvm import relax

from passes.keep_on_host import keep_on_host
from passes.lower_unary import lower_unary
from passes.rewrite import Emitter
from tests.passes.support import build_module, listing, random_array, run

_op = relax.op


def test_a_named_result_and_its_readers_are_left_as_they_are() -> None:
    def body(emitter: Emitter, x: relax.Var) -> tuple[relax.Expr, ...]:
        halves = emitter.emit(_op.split(emitter.emit(_op.sqrt(x)), 2, axis=1))
        return _op.exp(emitter.emit(relax.TupleGetItem(halves, 1))), _op.exp(x)

    module, x = build_module(body, (2, 4)), random_array(2, 4)
    lowered = lower_unary(keep_on_host(module, {"y"}))
    assert listing(lowered) == [
        "y = host.operation(x0)",
        "y#1 = host.operation(y)",
        "y#2 = y_1[1]",
        "y#3 = host.operation(y#2)",
        "y#4 = unary[exp](x0)",
        "output = (y#3, y#4)",
    ]
    for expected, found in zip(run(module, x), run(lowered, x), strict=True):
        np.testing.assert_array_equal(found, expected)
