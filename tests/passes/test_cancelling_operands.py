"""Operands of differences far smaller than they are need 32 bits."""

from tvm import relax

from nmc.quant.formats import TensorRange
from passes.cancelling_operands import cancelling_operands
from passes.dataflow import dataflow_of
from passes.rewrite import Emitter
from tests.passes.support import build_module


def difference_of_sum(emitter: Emitter, x: relax.Var, z: relax.Var) -> relax.Expr:
    """(x + x) - z, of which the sum is y and the difference y#1."""
    return relax.op.subtract(emitter.emit(relax.op.add(x, x)), z)


def test_what_a_small_difference_is_made_of_is_found_down_to_the_inputs() -> None:
    flow = dataflow_of(build_module(difference_of_sum, (3,), (3,)))
    ranges = {name: TensorRange(9000.0, 10000.0) for name in ("x0", "x1", "y")}
    assert cancelling_operands(flow, {**ranges, "y#1": TensorRange(-3.0, 3.0)}) == {"x0", "x1", "y"}
    assert not cancelling_operands(flow, {**ranges, "y#1": TensorRange(-300.0, 3.0)})


def test_a_difference_that_calibration_saw_as_zero_says_nothing() -> None:
    flow = dataflow_of(build_module(difference_of_sum, (3,), (3,)))
    ranges = {name: TensorRange(9000.0, 10000.0) for name in ("x0", "x1", "y")}
    assert not cancelling_operands(flow, {**ranges, "y#1": TensorRange(0.0, 0.0)})
