"""The bodies of the integer operations, compiled, against the fixed-point reference in numpy."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import relax

from nmc.pwl.functions import function_named
from nmc.pwl.quantised_table import QuantisedTable
from nmc.quant import fixed_point
from passes.matrix_form.elementwise import add, hadamard
from passes.matrix_form.gemm import gemm
from passes.matrix_form.host import dequantise, quantise
from passes.matrix_form.pwl import ADDRESSES, pwl, table_of
from passes.rewrite import Emitter, bindings_of, straight_line_body
from targets.cpu import build

Operation = Callable[[Emitter, Sequence[relax.Var]], relax.Expr]
FEW = settings(max_examples=8, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)


def run(operation: Operation, *inputs: np.ndarray) -> np.ndarray:
    """What an operation of these inputs computes when LLVM compiles its body."""
    builder = relax.BlockBuilder()
    parameters = [relax.Var(f"x{i}", relax.TensorType(a.shape, str(a.dtype))) for i, a in enumerate(inputs)]
    emitter = Emitter(builder, "operation")
    body = straight_line_body(builder, emitter.bindings, emitter.emit(operation(emitter, parameters)))
    builder.add_func(
        relax.Function(parameters, body, ret_ty=body.ty).with_attr("global_symbol", "main"), "main"
    )
    return build(builder.get()).run(inputs)[0]


def integers(generator: np.random.Generator, dtype: str, shape: Sequence[int]) -> np.ndarray:
    """Random integers of the whole range of a type, its two extremes among them more often than by chance."""
    limits = np.iinfo(dtype)
    values = generator.integers(limits.min, limits.max, shape, endpoint=True)
    extreme = generator.choice([limits.min, limits.max], shape)
    return np.where(generator.random(shape) < 0.1, extreme, values).astype(dtype)


@FEW
@given(
    seed=SEEDS,
    extents=st.tuples(*[st.integers(1, 40)] * 3),
    groups=st.integers(1, 3),
    shared=st.booleans(),
    types=st.sampled_from(
        [("int16", "int16", "int16"), ("int8", "int8", "int8"), ("int16", "int8", "int32")]
    ),
)
def test_gemm_equals_the_reference(seed, extents, groups, shared, types) -> None:
    generator = np.random.default_rng(seed)
    (rows, depth, columns), (a_type, b_type, out_type) = extents, types
    a, b = (
        integers(generator, a_type, (groups, rows, depth)),
        integers(generator, b_type, (groups, depth, columns)),
    )
    sets = 1 if shared else groups
    bias = generator.integers(-(2**40), 2**40, (sets, columns))
    multiplier = generator.integers(-(2**31), 2**31 - 1, (sets, columns)).astype(np.int32)
    shift = generator.integers(17, 62, (sets, columns), endpoint=True).astype(np.int32)

    def operation(emitter: Emitter, x: Sequence[relax.Var]) -> relax.Expr:
        parameters = [
            emitter.constant(bias, "int64"),
            *(emitter.constant(v, "int32") for v in (multiplier, shift)),
        ]
        return gemm(emitter, x[0], x[1], *parameters, out_type)

    bits = int(out_type.removeprefix("int"))
    expected = fixed_point.gemm(a, b, bias[:, None, :], multiplier[:, None, :], shift[:, None, :], bits)
    np.testing.assert_array_equal(run(operation, a, b), expected)


SHAPES = st.sampled_from([((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((2, 1, 4), (3, 1)), ((5,), ()), ((), (2, 2))])


@FEW
@given(
    seed=SEEDS,
    shapes=SHAPES,
    types=st.sampled_from([("int16", "int16"), ("int32", "int16"), ("int8", "int32")]),
)
def test_hadamard_equals_the_reference(seed, shapes, types) -> None:
    generator = np.random.default_rng(seed)
    a, b = (integers(generator, dtype, shape) for dtype, shape in zip(types, shapes, strict=True))
    # |a·b| must be below 2^47, so the wide operand's lowest value is not allowed to meet the narrow one's
    a, b = (np.maximum(v, -np.iinfo(v.dtype).max) for v in (a, b))
    multiplier, shift = int(generator.integers(-(2**31), 2**31)), int(generator.integers(17, 63))
    expected = fixed_point.hadamard(a, b, multiplier, shift, 16)
    actual = run(lambda emitter, x: hadamard(emitter, x[0], x[1], multiplier, shift, "int16"), a, b)
    np.testing.assert_array_equal(actual, expected)


@FEW
@given(
    seed=SEEDS,
    shapes=SHAPES,
    types=st.sampled_from([("int16", "int16"), ("int32", "int16"), ("int32", "int32")]),
)
def test_add_equals_the_reference(seed, shapes, types) -> None:
    generator = np.random.default_rng(seed)
    a, b = (integers(generator, dtype, shape) for dtype, shape in zip(types, shapes, strict=True))
    multipliers = [int(v) for v in generator.integers(-(2**30) + 1, 2**30, 2)]
    shift = int(generator.integers(1, 63))
    expected = fixed_point.add(a, b, *multipliers, shift, 32)
    actual = run(lambda emitter, x: add(emitter, x[0], x[1], *multipliers, shift, "int32"), a, b)
    np.testing.assert_array_equal(actual, expected)


def random_table(generator: np.random.Generator, addressing: str, bits: int, signed: bool) -> QuantisedTable:
    """A table of any entries; the numbers need not approximate anything."""
    entries = int(generator.choice([1, 2, 8, 32]))
    if signed:
        entries = max(entries, 2)
    if addressing.endswith("blocks"):
        entries = 36
    count = entries - 1 if addressing == "breakpoints" else 0
    blocks = np.stack([np.arange(6) * 6, generator.integers(0, 6, 6), generator.integers(1, 7, 6)], axis=1)
    limits = np.iinfo(f"int{bits}")
    return QuantisedTable(
        addressing=addressing,
        origin=int(generator.integers(limits.min, 1)),
        shift=int(generator.integers(0, bits)),
        e_min=int(generator.integers(0, 8)),
        mantissa_bits=int(generator.integers(0, 4)),
        signed=signed,
        breakpoints=np.sort(generator.integers(limits.min, limits.max, count)).astype(np.int32),
        blocks=(blocks if addressing.endswith("blocks") else blocks[:0]).astype(np.int32),
        slopes=integers(generator, "int16", entries),
        intercepts=generator.integers(-(2**46), 2**46, entries),
        shifts=generator.integers(0, 48, entries).astype(np.uint8),
        input_bits=bits,
        output_bits=16,
        function=function_named("identity"),
        lo=0.0,
        hi=1.0,
        input_scale=1.0,
        output_scale=1.0,
        table_max_error=0.0,
    )


ADDRESSINGS = [*ADDRESSES, "signed octave", "signed octave-blocks"]


@settings(max_examples=28, deadline=None)
@given(
    seed=SEEDS,
    addressing=st.sampled_from(ADDRESSINGS),
    dtype=st.sampled_from(["int8", "int16", "int32"]),
)
def test_pwl_equals_the_reference_and_carries_its_table(seed, addressing, dtype) -> None:
    generator = np.random.default_rng(seed)
    bits = int(dtype.removeprefix("int"))
    table = random_table(generator, addressing.split()[-1], bits, addressing.startswith("signed"))
    small = generator.integers(-20, 20, 30)
    x = np.concatenate([integers(generator, dtype, (30,)), small]).astype(dtype).reshape(5, 12)
    carried = []

    def operation(emitter: Emitter, parameters: Sequence[relax.Var]) -> relax.Expr:
        call = pwl(emitter, parameters[0], table, "int16")
        carried.append(table_of(call, table.addressing, "int16"))
        return call

    np.testing.assert_array_equal(run(operation, x), table(x))
    np.testing.assert_array_equal(carried[0](x), table(x))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_the_host_border_quantises_as_the_reference_does(dtype: str) -> None:
    generator = np.random.default_rng(1)
    x = np.concatenate([generator.standard_normal(200) * 1e3, [0.0, 0.5, -0.5, 3e38, -3e38]]).astype(
        np.float32
    )
    bits = int(dtype.removeprefix("int"))
    integers_ = run(lambda emitter, p: quantise(emitter, p[0], 0.37, dtype), x)
    np.testing.assert_array_equal(integers_, fixed_point.quantise(x, 0.37, bits))
    assert str(integers_.dtype) == dtype
    back = run(lambda emitter, p: dequantise(emitter, p[0], 0.37), integers_)
    np.testing.assert_array_equal(back, fixed_point.dequantise(integers_, 0.37))


def test_equal_composites_share_one_function() -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4,), "int16"))
    emitter = Emitter(builder, "twice")
    once = emitter.emit(add(emitter, x, x, 1, 1, 1, "int16"))
    twice = emitter.emit(add(emitter, once, x, 3, 5, 7, "int16"))
    body = straight_line_body(builder, emitter.bindings, twice)
    builder.add_func(relax.Function([x], body, ret_ty=body.ty).with_attr("global_symbol", "main"), "main")
    callees = {binding.value.op.name_hint for binding in bindings_of(builder.get()["main"])[:2]}
    assert len(callees) == 1
