"""pwl: a table of line segments, in floats (level 2) and in integers (level 3)."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from tvm import ir, relax, tirx
from tvm.script import tirx as T

from nmc.pwl.quantised_table import QuantisedTable
from nmc.pwl.table import Table
from passes.matrix_form.composite import call_composite, call_kernel
from passes.matrix_form.fixed_point import int64, round_shift, saturate
from passes.rewrite import Emitter, constant_value, dtype_of, shape_of

FLOAT_PWL = "nmc.pwl"
PWL = "gemm_accel.pwl"


def float_pwl(emitter: Emitter, x: relax.Expr, table: Table) -> relax.Call:
    """slope[s(x)]·x + intercept[s(x)] in float32, s(x) being the number of boundaries not above x; any shape."""
    constants = [emitter.constant(values) for values in (table.boundaries, table.slopes, table.intercepts)]
    return float_pwl_of(emitter, x, constants)


def float_pwl_of(emitter: Emitter, x: relax.Expr, table: Sequence[relax.Expr]) -> relax.Call:
    """`float_pwl` of a table as it stands in a call of it: boundaries [n-1], slopes [n] and intercepts [n]."""

    def body(inner: Emitter, parameters: Sequence[relax.Var]) -> relax.Expr:
        kernel = inner.builder.add_func(_float_kernel(), "pwl_float")
        return _flattened(inner, kernel, parameters, "float32")

    return call_composite(emitter, FLOAT_PWL, [x, *table], body)


def pwl(emitter: Emitter, x: relax.Expr, table: QuantisedTable, dtype: str) -> relax.Call:
    """saturate((slope·x + intercept, rounded) >> shift) in `dtype` of the segment that x addresses; any shape.

    The arguments of the call hold the whole table (`table_of` reads them back): x, addressing parameters int64
    [origin, shift, e_min, mantissa_bits, signed, blocks], breakpoints int64 [n-1] or the directory of divided blocks
    int64 [blocks*3], slopes int32 [n], intercepts int64 [n], shifts int32 [n].
    """
    addressing = [
        *(table.origin, table.shift, table.e_min, table.mantissa_bits, int(table.signed)),
        len(table.blocks),
    ]
    directory = table.blocks.ravel() if len(table.blocks) else table.breakpoints
    # TensorIR has no buffers of no elements: a table without a directory carries one number that is never reached
    constants = [
        emitter.constant(np.asarray(addressing), "int64"),
        emitter.constant(directory if len(directory) else np.array([2**31 - 1]), "int64"),
        emitter.constant(table.slopes, "int32"),
        emitter.constant(table.intercepts, "int64"),
        emitter.constant(table.shifts, "int32"),
    ]

    def body(inner: Emitter, parameters: Sequence[relax.Var]) -> relax.Expr:
        kernel = inner.builder.add_func(_integer_kernel(table.addressing, dtype_of(x), dtype), "pwl_integer")
        return _flattened(inner, kernel, parameters, dtype)

    return call_composite(emitter, PWL, [x, *constants], body, {"addressing": table.addressing})


def table_of(call: relax.Call, addressing: str, dtype: str) -> QuantisedTable:
    """The table that a call of an integer pwl carries; `dtype` is the call's element type."""
    values = [np.asarray(constant_value(argument)) for argument in call.args[1:]]
    origin, shift, e_min, mantissa_bits, signed, blocks = (int(value) for value in values[0])
    return QuantisedTable(
        addressing=addressing,
        origin=origin,
        shift=shift,
        e_min=e_min,
        mantissa_bits=mantissa_bits,
        signed=bool(signed),
        breakpoints=(
            values[1][: len(values[2]) - 1] if addressing == "breakpoints" else values[1][:0]
        ).astype(np.int32),
        blocks=values[1][: 3 * blocks].reshape(blocks, 3).astype(np.int32),
        slopes=values[2].astype(np.int16),
        intercepts=values[3],
        shifts=values[4].astype(np.uint8),
        output_bits=int(dtype.removeprefix("int")),
    )


def _flattened(
    inner: Emitter, kernel: ir.GlobalVar, parameters: Sequence[relax.Var], dtype: str
) -> relax.Expr:
    """The kernel, which knows vectors only, applied to a tensor of any shape."""
    x, *rest = parameters
    shape = shape_of(x)
    size = int(np.prod(shape))
    flat = inner.emit(relax.op.reshape(x, [size]))
    return relax.op.reshape(inner.emit(call_kernel(inner, kernel, [flat, *rest], [size], dtype)), list(shape))


@T.inline
def _count_not_above(s: Any, x: Any, ordered: Any, count: Any) -> None:
    """s[0] = how many of the first `count` values of `ordered` are not above x, by bisection (at most 511)."""
    s[0] = T.int64(0)
    for step in range(9):
        width: T.let[T.int64] = T.int64(256) >> T.cast(step, "int64")
        if s[0] + width <= count:
            if ordered[s[0] + width - T.int64(1)] <= x:
                s[0] = s[0] + width


@T.inline
def _breakpoints(s: Any, x: Any, parameter: Any, breakpoint: Any, segments: Any) -> None:
    _count_not_above(s, x, breakpoint, segments - T.int64(1))


@T.inline
def _uniform(s: Any, x: Any, parameter: Any, breakpoint: Any, segments: Any) -> None:
    s[0] = T.max(T.min((x - parameter[0]) >> parameter[1], segments - T.int64(1)), T.int64(0))


@T.inline
def _octave(s: Any, x: Any, parameter: Any, breakpoint: Any, segments: Any) -> None:
    """The leading-one position above e_min and the mantissa bits after it; a signed table has a half for each sign."""
    magnitude: T.let[T.int64] = T.if_then_else(parameter[4] != T.int64(0), T.abs(x), T.max(x, T.int64(0)))
    exponent: T.let[T.int64] = T.int64(63) - T.cast(T.clz(T.max(magnitude, T.int64(1))), "int64")
    bits: T.let[T.int64] = parameter[3]
    mantissa: T.let[T.int64] = T.if_then_else(
        exponent >= bits,
        magnitude >> T.max(exponent - bits, T.int64(0)),
        magnitude << T.max(bits - exponent, T.int64(0)),
    ) & ((T.int64(1) << bits) - T.int64(1))
    half: T.let[T.int64] = segments >> parameter[4]
    index: T.let[T.int64] = ((exponent - parameter[2]) << bits) + mantissa
    inside: T.let[T.int64] = T.if_then_else(
        magnitude == T.int64(0), T.int64(0), T.max(T.min(index, half - T.int64(1)), T.int64(0))
    )
    s[0] = T.if_then_else(tirx.all(parameter[4] != T.int64(0), x < T.int64(0)), half + inside, inside)


@T.inline
def _block_segment(s: Any, directory: Any, block: Any, place: Any, width: Any) -> None:
    """The segment at a place in a block of `width` integers (negative places count as 0)."""
    inside: T.let[T.int64] = T.max(T.min(place, width - T.int64(1)), T.int64(0))
    row: T.let[T.int64] = block * T.int64(3)
    s[0] = directory[row] + T.min(
        inside >> directory[row + T.int64(1)], directory[row + T.int64(2)] - T.int64(1)
    )


@T.inline
def _blocks(s: Any, x: Any, parameter: Any, directory: Any, segments: Any) -> None:
    place: T.let[T.int64] = x - parameter[0]
    block: T.let[T.int64] = T.max(T.min(place >> parameter[1], parameter[5] - T.int64(1)), T.int64(0))
    _block_segment(s, directory, block, place - (block << parameter[1]), T.int64(1) << parameter[1])


@T.inline
def _octave_blocks(s: Any, x: Any, parameter: Any, directory: Any, segments: Any) -> None:
    """The segments of octave addressing are the blocks."""
    _octave(s, x, parameter, directory, parameter[5])
    block: T.let[T.int64] = s[0]
    magnitude: T.let[T.int64] = T.if_then_else(parameter[4] != T.int64(0), T.abs(x), T.max(x, T.int64(0)))
    bits: T.let[T.int64] = parameter[3]
    position: T.let[T.int64] = block % (parameter[5] >> parameter[4])
    octave: T.let[T.int64] = parameter[2] + (position >> bits)
    mantissa: T.let[T.int64] = (T.int64(1) << bits) + (position & ((T.int64(1) << bits) - T.int64(1)))
    width: T.let[T.int64] = T.max((T.int64(1) << octave) >> bits, T.int64(1))
    _block_segment(s, directory, block, magnitude - ((mantissa << octave) >> bits), width)


LANES = 16
"""Elements that are evaluated at a time."""
BAND = 256
"""Of those, how many times as many a thread takes."""
FEW = 16
"""Up to so many segments are tried one after the other, which takes no branch; of more so many runs are, and a run is
bisected."""


def _comparisons(boundaries: Any, segments: Any) -> Any:
    """How many boundaries count: a table of one segment carries one that does not."""
    return tirx.min(boundaries, segments - tirx.const(1, "int64"))


@cache
def _float_kernel() -> tirx.PrimFunc:
    @T.prim_func(private=True, s_tir=True)
    def kernel(
        x_handle: T.handle,
        boundary_handle: T.handle,
        slope_handle: T.handle,
        intercept_handle: T.handle,
        out_handle: T.handle,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        size, boundaries, segments = T.int64(), T.int64(), T.int64()
        x = T.match_buffer(x_handle, (size,), "float32")
        boundary = T.match_buffer(boundary_handle, (boundaries,), "float32")
        slope = T.match_buffer(slope_handle, (segments,), "float32")
        intercept = T.match_buffer(intercept_handle, (segments,), "float32")
        out = T.match_buffer(out_handle, (size,), "float32")
        for band in T.parallel(T.ceildiv(size, T.int64(LANES * BAND))):
            with T.sblock("pwl"):
                v_band = T.axis.spatial(T.ceildiv(size, T.int64(LANES * BAND)), band)
                own_slope = T.sblock_alloc_buffer((LANES,), "float32", scope="local")
                own_intercept = T.sblock_alloc_buffer((LANES,), "float32", scope="local")
                s = T.sblock_alloc_buffer((1,), "int64", scope="local")
                place = T.sblock_alloc_buffer((LANES,), "int32", scope="local")
                left = T.sblock_alloc_buffer((1,), "int32", scope="local")
                for part in range(BAND):
                    first: T.let[T.int64] = (v_band * T.int64(BAND) + T.cast(part, "int64")) * T.int64(LANES)
                    if (first + T.int64(LANES) <= size) and (segments <= T.int64(FEW)):
                        for lane in T.vectorized(LANES):
                            own_slope[lane] = slope[0]
                            own_intercept[lane] = intercept[0]
                        for k in range(_comparisons(boundaries, segments)):
                            for lane in T.vectorized(LANES):
                                own_slope[lane] = T.Select(
                                    boundary[k] <= x[first + lane], slope[k + 1], own_slope[lane]
                                )
                                own_intercept[lane] = T.Select(
                                    boundary[k] <= x[first + lane], intercept[k + 1], own_intercept[lane]
                                )
                        for lane in T.vectorized(LANES):
                            out[first + lane] = own_slope[lane] * x[first + lane] + own_intercept[lane]
                    elif first + T.int64(LANES) <= size:
                        for lane in T.vectorized(LANES):
                            place[lane] = 0
                        count: T.let[T.int32] = T.cast(_comparisons(boundaries, segments), "int32")
                        left[0] = (count + FEW - 1) // FEW
                        for k in range(count // left[0]):
                            for lane in T.vectorized(LANES):
                                place[lane] += T.Select(
                                    boundary[(k + 1) * left[0] - 1] <= x[first + lane], left[0], 0
                                )
                        # what is sought is now `place` or one of `left` places after it
                        for lane in T.vectorized(LANES):
                            place[lane] = T.min(place[lane], count - left[0])
                        while left[0] > 1:
                            half: T.let[T.int32] = left[0] >> 1
                            for lane in T.vectorized(LANES):
                                place[lane] += T.Select(
                                    boundary[place[lane] + half - 1] <= x[first + lane], half, 0
                                )
                            left[0] = left[0] - half
                        for lane in T.vectorized(LANES):
                            place[lane] += T.Select(boundary[place[lane]] <= x[first + lane], 1, 0)
                        for lane in T.vectorized(LANES):
                            out[first + lane] = slope[place[lane]] * x[first + lane] + intercept[place[lane]]
                    else:
                        for lane in range(LANES):
                            if first + lane < size:
                                _count_not_above(
                                    s, x[first + lane], boundary, _comparisons(boundaries, segments)
                                )
                                out[first + lane] = slope[s[0]] * x[first + lane] + intercept[s[0]]

    return kernel


ADDRESSES = {
    "uniform": _uniform,
    "octave": _octave,
    "breakpoints": _breakpoints,
    "blocks": _blocks,
    "octave-blocks": _octave_blocks,
}
"""Addressing -> what finds a value's segment."""


@cache
def _integer_kernel(addressing: str, in_type: str, out_type: str) -> tirx.PrimFunc:
    address = ADDRESSES[addressing]

    @T.prim_func(private=True, s_tir=True)
    def kernel(
        x_handle: T.handle,
        addressing_handle: T.handle,
        breakpoint_handle: T.handle,
        slope_handle: T.handle,
        intercept_handle: T.handle,
        shift_handle: T.handle,
        out_handle: T.handle,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        size, breakpoints, segments = T.int64(), T.int64(), T.int64()
        x = T.match_buffer(x_handle, (size,), in_type)
        parameter = T.match_buffer(addressing_handle, (6,), "int64")
        breakpoint = T.match_buffer(breakpoint_handle, (breakpoints,), "int64")
        slope = T.match_buffer(slope_handle, (segments,), "int32")
        intercept = T.match_buffer(intercept_handle, (segments,), "int64")
        shift = T.match_buffer(shift_handle, (segments,), "int32")
        out = T.match_buffer(out_handle, (size,), out_type)
        for n in T.parallel(size):
            with T.sblock("pwl"):
                i = T.axis.spatial(size, n)
                s = T.sblock_alloc_buffer((1,), "int64", scope="local")
                address(s, int64(x[i]), parameter, breakpoint, segments)
                out[i] = saturate(
                    round_shift(int64(slope[s[0]]) * int64(x[i]) + intercept[s[0]], int64(shift[s[0]])),
                    out_type,
                )

    return kernel
