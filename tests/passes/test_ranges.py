"""What is needed of a tensor's range, by what reads it."""

import pytest
from tvm import ir, relax

from nmc.quant.formats import TensorRange
from passes.formats import plan_formats
from passes.matrix_form.unary import unary
from passes.ranges import effective_ranges
from passes.rewrite import Emitter
from tests.passes.support import build_module

SEEN = TensorRange(-70.0, 90.0)


def scaled_and_applied(function: str, **parameters: float) -> ir.IRModule:
    """A function of the square of the input, which calibration saw on SEEN as it did the function's result."""
    return build_module(
        lambda emitter, x: unary(emitter, emitter.emit(relax.op.multiply(x, x)), function, **parameters), (3,)
    )


def needed(function: str, headroom: float = 1.0, **parameters: float) -> TensorRange:
    """What is needed of the argument's range."""
    return effective_ranges(scaled_and_applied(function, **parameters), {"y": SEEN}, headroom)["y"]


@pytest.mark.parametrize(
    ("function", "parameters", "low", "high"),
    [
        ("relu", {}, 0.0, 90.0),
        ("relu6", {}, 0.0, 6.0),
        ("clip", {"lo": -3.0, "hi": 400.0}, -3.0, 90.0),
        ("hard_sigmoid", {"alpha": 0.25, "beta": 0.5}, -2.0, 2.0),
        ("hard_swish", {}, -3.0, 90.0),
        ("tanh", {}, -8.0, 8.0),
        ("abs", {}, -70.0, 90.0),
        ("gelu", {}, -70.0, 90.0),
    ],
)
def test_what_a_function_makes_nothing_of_is_not_needed(
    function: str, parameters: dict[str, float], low: float, high: float
) -> None:
    assert needed(function, **parameters) == TensorRange(low, high)


@pytest.mark.parametrize("function", ["sign", "greater", "floor"])
def test_steps_need_everything(function: str) -> None:
    parameters = {"floor": {"step": 1.0, "lowest": -2.0, "highest": 2.0}, "greater": {"threshold": 0.0}}
    assert needed(function, **parameters.get(function, {})) == SEEN


def test_headroom_does_not_reach_beyond_what_is_needed() -> None:
    assert needed("relu", 2.0) == TensorRange(0.0, 180.0)
    assert needed("relu6", 2.0) == TensorRange(0.0, 6.0)
    # a smooth function is only nearly flat
    assert needed("tanh", 2.0) == TensorRange(-16.0, 16.0)
    form = plan_formats(scaled_and_applied("relu6"), {"y": SEEN})["y"]
    # a square is wide
    assert form.scale * form.highest == pytest.approx(6.0)


def test_what_two_read_is_needed_where_one_needs_it() -> None:
    module = build_module(
        lambda emitter, x: relax.op.add(
            emitter.emit(unary(emitter, x, "relu6")), emitter.emit(unary(emitter, x, "tanh"))
        ),
        (3,),
    )
    assert effective_ranges(module, {"x0": SEEN})["x0"] == TensorRange(-8.0, 8.0)


def test_the_difference_in_a_maximum_is_needed_whole() -> None:
    def maximum(emitter: Emitter, a: relax.Var, b: relax.Var) -> relax.Expr:
        excess = emitter.emit(unary(emitter, emitter.emit(relax.op.subtract(a, b)), "relu"))
        return relax.op.add(b, excess)

    assert effective_ranges(build_module(maximum, (3,), (3,)), {"y": SEEN})["y"] == SEEN
