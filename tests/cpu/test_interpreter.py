"""The interpreter computes what LLVM computes, operator by operator."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

from nmc.pwl import fit_table
from passes.matrix_form.im2col import Window, im2col
from passes.matrix_form.pwl import float_pwl
from passes.matrix_form.unary import FUNCTIONS, unary
from passes.rewrite import Emitter
from targets.cpu import build, interpret
from targets.cpu.single_call import SingleCalls
from tests.passes.support import Shape, build_module, constant, random_array

op = relax.op
Body = Callable[..., relax.Expr]
Inputs = tuple[Shape | tuple[Shape, str], ...]

CALLS: dict[str, tuple[Body, Inputs]] = {
    "a batched product": (lambda _, a, b: op.matmul(a, b), ((3, 5, 7), (3, 7, 2))),
    "a broadcast sum": (lambda _, a, b: op.add(a, b), ((3, 4), (4,))),
    "a difference": (lambda _, a, b: op.subtract(a, b), ((3, 1), (3, 4))),
    "a product by element": (lambda _, a, b: op.multiply(a, b), ((3, 4), (3, 4))),
    "a quotient": (lambda _, a, b: op.divide(a, b), ((3, 4), (3, 4))),
    "a maximum": (lambda _, a, b: op.maximum(a, b), ((3, 4), (3, 4))),
    "a minimum": (lambda _, a, b: op.minimum(a, b), ((3, 4), (3, 4))),
    "a reshape": (lambda _, x: op.reshape(x, [4, 6]), ((2, 3, 4),)),
    "a permutation": (lambda _, x: op.permute_dims(x, [2, 0, 1]), ((2, 3, 4),)),
    "a reversal of axes": (lambda _, x: op.permute_dims(x), ((2, 3, 4),)),
    "a broadcast": (lambda _, x: op.broadcast_to(x, [5, 3, 4]), ((3, 1),)),
    "an expansion": (lambda _, x: op.expand_dims(x, [0, 2]), ((3, 4),)),
    "a squeeze": (lambda _, x: op.squeeze(x, [1]), ((3, 1, 4),)),
    "a slice": (lambda _, x: op.strided_slice(x, [1, 2], [1, 0], [3, 4], [1, 2]), ((2, 3, 4),)),
    "a slice backwards": (lambda _, x: op.strided_slice(x, [1], [3], [-5], [-1]), ((2, 4),)),
    "a concatenation": (lambda _, a, b: op.concat([a, b], -1), ((2, 3), (2, 4))),
    "a part of a split": (lambda e, x: e.emit(op.split(x, [1, 3], 1))[1], ((2, 4),)),
    "a gather by constants": (
        lambda _, x: op.take(x, constant(np.array([[2, 0], [1, 1]]), "int32"), 0),
        ((3, 4),),
    ),
    "a gather that wraps": (
        lambda _, x: op.take(x, constant(np.array([-1, 4]), "int64"), 1, "wrap"),
        ((3, 4),),
    ),
    "a padding": (lambda _, x: op.nn.pad(x, [0, 0, 1, 2], "constant", 1.5), ((2, 3),)),
    "a choice": (lambda _, a, b: op.where(op.greater(a, b), a, b), ((3, 4), (3, 4))),
    "a sum of integers": (lambda _, a, b: op.add(a, b), (((3,), "int64"), ((3,), "int64"))),
    "a remainder": (lambda _, x: op.floor_mod(x, constant(3, "int64")), (((5,), "int64"),)),
    "a quotient of integers": (
        lambda _, x: op.divide(x, constant(3, "int64")),
        (((5,), "int64"),),
    ),
    "a change of type": (lambda _, x: op.astype(x, "int32"), ((3, 4),)),
    "a truth turned round": (lambda _, x: op.logical_not(op.equal(x, x)), (((4,), "int64"),)),
    "a table": (lambda e, x: float_pwl(e, x, fit_table("tanh", -2.0, 2.0)), ((3, 40),)),
    "a line": (lambda e, x: float_pwl(e, x, fit_table("identity", -2.0, 2.0)), ((3, 4),)),
    "an argmax": (lambda _, x: op.argmax(x, 1), ((3, 4),)),
    "the best three": (lambda e, x: e.emit(op.topk(x, 3, -1))[0], ((2, 5),)),
    "a cumulative sum": (lambda _, x: op.cumsum(x, 1), ((3, 4),)),
}
"""Bodies and the types of their inputs; the last ones are host operators, which only LLVM knows."""

PARAMETERS = {
    "leaky_relu": {"alpha": 0.1},
    "clip": {"lo": -0.5, "hi": 0.75},
    "hard_sigmoid": {"alpha": 0.2, "beta": 0.5},
    "thresholded_relu": {"alpha": 0.5},
    "shrink": {"lambd": 0.5, "bias": 0.1},
    "swish": {"alpha": 1.5},
    "elu": {"alpha": 0.7},
    "celu": {"alpha": 0.7},
    "selu": {"alpha": 1.67, "gamma": 1.05},
    "rsqrt": {"eps": 1e-3},
    "pow": {"exponent": 1.5},
    **{
        name: {"threshold": 0.0}
        for name in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
    },
    **{name: {"step": 0.25, "lowest": -0.75, "highest": 0.75} for name in ("floor", "ceil", "round")},
    "cubic_kernel": {"a": -0.75},
    "mirror": {"low": -0.25, "high": 0.25, "phase": 0.1, "lowest": -1.0, "highest": 1.0},
}

POSITIVE = frozenset({"log", "sqrt", "rsqrt", "reciprocal", "pow"})


def sample(shape: Shape | tuple[Shape, str], seed: int) -> np.ndarray:
    """Normal floats or small integers of either sign."""
    if shape and isinstance(shape[-1], str):
        return np.random.default_rng(seed).integers(-9, 9, shape[0]).astype(shape[1])
    return random_array(*shape, seed=seed)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_has_the_value_that_llvm_gives_it(name: str) -> None:
    body, types = CALLS[name]
    module = build_module(body, *types)
    arrays = [sample(shape, seed) for seed, shape in enumerate(types)]
    expected, result = build(module).run(arrays)[0], interpret(module).run(arrays)
    assert result.dtype == expected.dtype
    # sums of seven products of normal numbers at most, in another order
    np.testing.assert_allclose(result, expected, rtol=0, atol=64 * np.finfo(np.float32).eps)


def test_every_unary_function_has_the_values_that_llvm_gives_it() -> None:
    def body(emitter: Emitter, any_sign: relax.Var, positive: relax.Var) -> tuple[relax.Expr, ...]:
        return tuple(
            unary(
                emitter,
                positive if name in POSITIVE or name == "acosh" else any_sign,
                name,
                **PARAMETERS.get(name, {}),
            )
            for name in FUNCTIONS
        )

    module = build_module(body, (41,), (41,))
    arrays = [np.linspace(-0.95, 0.95, 41, dtype=np.float32), np.linspace(1.0, 4.0, 41, dtype=np.float32)]
    for name, result, expected in zip(
        FUNCTIONS, interpret(module).run(arrays), build(module).run(arrays), strict=True
    ):
        # chains of a few operations on numbers below 64, each rounded by either side
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=2e-6, err_msg=name)


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_windows_are_those_of_im2col_exactly(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 2))

    def extents(low: int, high: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(low, high)) for _ in range(rank))

    groups = data.draw(st.integers(1, 3))
    window = Window(extents(1, 3), extents(1, 2), extents(1, 2), extents(0, 2), extents(0, 2), groups)
    shape = (data.draw(st.integers(1, 2)), groups * data.draw(st.integers(1, 3)), *extents(5, 7))
    module = build_module(lambda emitter, x: im2col(emitter, x, window, -7.0), shape)
    x = random_array(*shape)
    np.testing.assert_array_equal(interpret(module).run([x]), build(module).run([x])[0])


def test_an_observer_sees_every_tensor_once_in_order_with_its_value() -> None:
    def body(emitter: Emitter, x: relax.Var) -> relax.Expr:
        return op.add(emitter.emit(unary(emitter, x, "exp")), constant(1.0))

    seen: dict[str, np.ndarray] = {}
    x = random_array(3)
    interpret(build_module(body, (3,))).run([x], lambda name, array: seen.setdefault(name, array.copy()))
    assert list(seen) == ["x0", "y", "y#1", "output"]
    np.testing.assert_array_equal(seen["x0"], x)
    np.testing.assert_array_equal(seen["y"], np.exp(x))
    np.testing.assert_array_equal(seen["y#1"], np.exp(x) + np.float32(1.0))


def test_a_tensor_is_freed_after_its_last_use() -> None:
    def chain(emitter: Emitter, x: relax.Var) -> relax.Expr:
        for _ in range(3):
            x = emitter.emit(op.multiply(x, x))
        return x

    steps = interpret(build_module(chain, (2,))).steps
    assert [[v.name for v in step.last_used] for step in steps] == [["x0"], ["y"], ["y#1"], ["y#2"]]


def test_equal_calls_that_only_llvm_knows_are_built_once() -> None:
    def body(emitter: Emitter, a: relax.Var, b: relax.Var) -> tuple[relax.Expr, ...]:
        return op.argmax(a, 1), op.argmax(b, 1), op.argmax(a, 0)

    module = build_module(body, (3, 4), (3, 4))
    calls = SingleCalls(module)
    first, second, other = (calls.built(b.value) for b in module["main"].body.blocks[0].bindings[:3])
    assert first is second
    assert first is not other
