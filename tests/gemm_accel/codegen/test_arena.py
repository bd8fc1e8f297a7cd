"""The plan of the arena keeps live buffers apart and wastes little."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

from passes.rewrite import Emitter
from targets.gemm_accel.codegen.arena import Lifetime, plan_arena
from targets.gemm_accel.config import AcceleratorConfig
from tests.gemm_accel.codegen.support import Draw, Parameter, assert_equal_to_bodies

LIFETIMES = st.lists(
    st.builds(
        lambda size, first, length: Lifetime(size, first, first + length),
        st.integers(0, 5000),
        st.integers(0, 30),
        st.integers(0, 8),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(LIFETIMES)
def test_buffers_that_are_alive_together_never_overlap(lifetimes: list[Lifetime]) -> None:
    plan = plan_arena(lifetimes)
    for i, a in enumerate(lifetimes):
        assert plan.addresses[i] >= 0 and plan.addresses[i] + a.bytes <= plan.bytes
        for j, b in enumerate(lifetimes[:i]):
            if a.first <= b.last and b.first <= a.last:
                apart = (
                    plan.addresses[i] + a.bytes <= plan.addresses[j]
                    or plan.addresses[j] + b.bytes <= plan.addresses[i]
                )
                assert apart, (a, b)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(LIFETIMES)
def test_the_lower_bound_is_below_the_plan_and_above_every_buffer(lifetimes: list[Lifetime]) -> None:
    plan = plan_arena(lifetimes)
    assert max((life.bytes for life in lifetimes), default=0) <= plan.lower_bound <= plan.bytes


def test_a_chain_of_equal_buffers_needs_the_place_of_two() -> None:
    plan = plan_arena([Lifetime(640, time, time + 1) for time in range(10)])
    assert plan.bytes == plan.lower_bound == 2 * 640


def test_an_element_wise_result_takes_the_place_of_an_operand_that_is_read_no_more() -> None:
    def body(emitter: Emitter, p: Sequence[relax.Expr]) -> relax.Expr:
        draw = Draw(emitter, np.random.default_rng(0))
        weights = draw.constant((1, 32, 32), "int16")
        stream = draw.gemm(p[0], weights, "int16")
        for _ in range(3):
            stream = draw.add(
                stream, draw.gemm(draw.gemm(stream, weights, "int16"), weights, "int16"), "int16"
            )
        return stream

    parameters: list[Parameter] = [((1, 64, 32), "int16")]
    region = assert_equal_to_bodies(parameters, body, AcceleratorConfig())
    # the residual stream and one product; a sum beside its operands would be a third
    assert region.arena_bytes == region.arena_lower_bound == 2 * 64 * 32 * 2
