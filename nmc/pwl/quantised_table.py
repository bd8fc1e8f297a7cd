"""Tables in integers: what the accelerator's table memory holds, and its exact meaning.

The segments are those of the real-valued table. A slope is rounded to 16 bits at the largest shift that it
and its intercept allow; the intercept is then chosen anew, so that the deviation from the function over the
integers of the segment is the same above and below.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nmc.pwl.functions import FloatArray, Function, TableError, next_above
from nmc.pwl.segments import SAMPLE_FRACTIONS
from nmc.quant import fixed_point

if TYPE_CHECKING:
    from nmc.pwl.table import Table

SLOPE_LIMIT = (1 << 15) - 1
"""Largest magnitude of a stored slope."""
INTERCEPT_MAGNITUDE_BITS = 46
"""|intercept| + half < 2^46; a wide input times a slope is as small, so their sum fits 48 bits."""
EXACT_BITS = 48
"""Whole numbers of this many bits are exact as float64."""
NO_BLOCKS = np.zeros((0, 3), np.int32)
"""What a table whose blocks are not divided has for `blocks`."""
EXHAUSTIVE_BITS = 16
"""Inputs up to this width are fitted and measured on every integer, wider ones on samples of each segment."""


@dataclass(frozen=True, eq=False)
class QuantisedTable:
    """Integer segments: y = saturate((slopes[i] * x + intercepts[i] + half) >> shifts[i]), i = address(x).

    slopes int16, intercepts int64, shifts uint8, all [entries]; half is 2^(shift-1), or 0. Uniform addressing
    uses `origin` and `shift`; octaves `e_min`, `mantissa_bits` and `signed`; breakpoints the sorted int32
    `breakpoints` [entries-1]; divided blocks the int32 `blocks` [n, 3]: first entry, shift and segments of each.
    Fields after `blocks` are for reports: errors are in real units, rounding of the output included, over the
    integers of the range fitted; `table_max_error` is the real-valued table's part of it. `clipped_slopes` counts
    segments of that range too steep to store, wrong but in their middle.
    """

    addressing: str
    origin: int
    shift: int
    e_min: int
    mantissa_bits: int
    signed: bool
    breakpoints: NDArray[np.int32]
    slopes: NDArray[np.int16]
    intercepts: NDArray[np.int64]
    shifts: NDArray[np.uint8]
    output_bits: int
    blocks: NDArray[np.int32] = field(default_factory=lambda: NO_BLOCKS)
    input_bits: int = 16
    function: Function | None = None
    lo: float = 0.0
    hi: float = 0.0
    input_scale: float = 1.0
    output_scale: float = 1.0
    table_max_error: float = 0.0
    clipped_slopes: int = 0
    max_error: float = 0.0
    mean_error: float = 0.0

    @property
    def entries(self) -> int:
        """The number of segments."""
        return len(self.slopes)

    def address(self, x: ArrayLike) -> NDArray[np.int64]:
        """The entry for each integer x; int64, of x's shape."""
        if self.addressing == "uniform":
            return fixed_point.uniform_address(x, self.origin, self.shift, self.entries)
        if self.addressing == "octave":
            return fixed_point.octave_address(x, self.e_min, self.mantissa_bits, self.entries, self.signed)
        if self.addressing == "blocks":
            return fixed_point.block_address(x, self.origin, self.shift, self.blocks)
        if self.addressing == "octave-blocks":
            return fixed_point.octave_block_address(
                x, self.e_min, self.mantissa_bits, self.blocks, self.signed
            )
        return fixed_point.breakpoint_address(x, self.breakpoints)

    def __call__(self, x: ArrayLike) -> NDArray[np.int64]:
        """The table's integer outputs, int64 of x's shape, saturated to `output_bits`."""
        index = self.address(x)
        return fixed_point.pwl(x, index, self.slopes, self.intercepts, self.shifts, self.output_bits)


def arguments(function: Function, x: NDArray[np.int64], scale: float) -> FloatArray:
    """The real values, float64, that integers x of a scale stand for; one that a jump of the function is rounded to stands
    for the jump itself."""
    real = np.asarray(x * scale, np.float64)
    for jump in function.jumps:
        real[x == fixed_point.quantise(jump, scale, EXACT_BITS)] = jump
    return real


def quantise_table(
    table: "Table", input_scale: float, output_scale: float, input_bits: int, output_bits: int
) -> QuantisedTable:
    """The integer table of a real one; see `Table.quantise`."""
    addressing = _addressing(table, input_scale, input_bits)
    order, breakpoints = addressing.order, addressing.breakpoints
    left, right = _fitted_extents(table, order)
    line_slopes, line_intercepts = _integer_lines(table, order, input_scale, output_scale)
    slopes, intercepts, shifts = _rounded_lines(line_slopes, line_intercepts)
    rounded = QuantisedTable(
        addressing=table.addressing,
        origin=addressing.origin,
        shift=addressing.shift,
        e_min=table.e_min,
        mantissa_bits=table.mantissa_bits,
        signed=table.signed,
        breakpoints=breakpoints,
        blocks=addressing.blocks,
        slopes=slopes,
        intercepts=intercepts,
        shifts=shifts,
        input_bits=input_bits,
        output_bits=output_bits,
        function=table.function,
        lo=table.lo,
        hi=table.hi,
        input_scale=float(input_scale),
        output_scale=float(output_scale),
        table_max_error=table.max_error,
        clipped_slopes=int(((np.abs(line_slopes) > SLOPE_LIMIT + 0.5) & _reaches_into(table, order)).sum()),
    )
    x, weight = _sampled_integers(left, right, input_scale, input_bits)
    real, index = arguments(table.function, x, input_scale), rounded.address(x)
    wanted = table.function(real)
    holds = (real >= left[index]) & (real <= right[index]) & np.isfinite(wanted)
    x, index, wanted, weight = x[holds], index[holds], wanted[holds], weight[holds]
    # A tail stays centred on its own line: the function's deviation at its inner end is no reason for a bias.
    line = table.slopes[order][index] * real[holds] + table.intercepts[order][index]
    aim = np.where((np.isinf(left) | np.isinf(right))[index], line, wanted)
    aim = aim / output_scale
    # What saturates is right at any slope that does so: centred on it, too, a line would be off by what its slope is there.
    limit = float(1 << (output_bits - 1))
    unsaturated = np.abs(aim) <= limit
    intercepts = _centred_intercepts(rounded, x[unsaturated], index[unsaturated], aim[unsaturated])
    for array in (breakpoints, addressing.blocks, slopes, intercepts, shifts):
        array.setflags(write=False)
    return _measured(replace(rounded, intercepts=intercepts), x, wanted, weight)


def _fitted_extents(table: "Table", order: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Where each segment is to be close: in the fitted range if it reaches into it, else wherever it holds.

    A segment that goes on beyond the range would else be centred on what inputs never take, and miss what they do.
    """
    left, right = table.left[order], table.right[order]
    inside = _reaches_into(table, order)
    return np.where(inside, np.maximum(left, table.lo), left), np.where(
        inside, np.minimum(right, table.hi), right
    )


def _reaches_into(table: "Table", order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which segments hold some of the fitted range."""
    return (table.left[order] < table.hi) & (table.right[order] > table.lo)


def _measured(
    table: QuantisedTable, x: NDArray[np.int64], wanted: FloatArray, weight: FloatArray
) -> QuantisedTable:
    """The table with its error in real units over those of the integers x that lie in the fitted range."""
    inside = (x * table.input_scale >= table.lo) & (x * table.input_scale <= table.hi)
    if not inside.any():
        return table
    error = np.abs(table(x[inside]) * table.output_scale - wanted[inside])
    mean = float(np.average(error, weights=weight[inside]))
    return replace(table, max_error=float(error.max()), mean_error=mean)


@dataclass(frozen=True)
class _Addressing:
    """The integer addressing of a table; `order` [entries] tells which of its segments each entry holds."""

    order: NDArray[np.int64]
    origin: int = 0
    shift: int = 0
    breakpoints: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    blocks: NDArray[np.int32] = field(default_factory=lambda: NO_BLOCKS)


def _addressing(table: "Table", scale: float, bits: int) -> _Addressing:
    """How integers of this scale and width address the same segments; those never reached are left out."""
    if not (np.isfinite(scale) and scale > 0):
        raise TableError(f"{table.function}: the input scale is {scale}; it must be a positive number")
    ascending = np.arange(table.entries)
    if table.addressing == "breakpoints":
        first = np.ceil(table.boundaries / scale)
        # The smallest integer whose real value is not below the boundary, whatever the division rounded to.
        first += (first * scale < table.boundaries).astype(np.float64)
        first -= ((first - 1) * scale >= table.boundaries).astype(np.float64)
        for jump in table.function.jumps:  # rounded as an argument that equals it is
            rounded = float(fixed_point.quantise(jump, scale, EXACT_BITS))
            first[table.boundaries == jump] = rounded
            first[table.boundaries == next_above(jump)] = rounded + 1.0
        lowest, highest = -float(1 << (bits - 1)), float((1 << (bits - 1)) - 1)
        reached = (first > lowest) & (first <= highest)
        start = int((first <= lowest).sum())
        order = ascending[start : start + int(reached.sum()) + 1]
        return _Addressing(order, breakpoints=first[reached].astype(np.int32))
    step = table.input_step
    if step is None or abs(step - scale) > 1e-12 * scale or bits != table.input_bits:
        raise TableError(
            f"{table.function}: {table.addressing} segments were not fitted for {bits}-bit inputs of scale "
            f"{scale:g}; give fit_table input_step={scale:g} and input_bits={bits}"
        )
    if table.addressing in ("uniform", "blocks"):
        shift = round(np.log2(table.width / scale))
        blocks = _directory(table.blocks, np.full(len(table.blocks), shift), signed=False)
        return _Addressing(ascending, round(table.origin / scale), shift, blocks=blocks)
    # A signed table has the segments of x >= 0 first and then those of x < 0, both by growing magnitude.
    half = table.entries // 2
    order = np.concatenate([ascending[half:], ascending[:half][::-1]]) if table.signed else ascending
    widths = np.maximum(
        table.e_min + (np.arange(len(table.blocks)) >> table.mantissa_bits) - table.mantissa_bits, 0
    )
    return _Addressing(order, blocks=_directory(table.blocks, widths, table.signed))


def _directory(
    blocks: tuple[tuple[int, int], ...], widths: NDArray[np.int64], signed: bool
) -> NDArray[np.int32]:
    """First entry, shift and segments [n, 3] of divided blocks of 2^width integers, those of x < 0 last if signed."""
    if not blocks:
        return NO_BLOCKS
    bits, segments = np.array(blocks, np.int64).T
    rows = np.stack([np.cumsum(segments) - segments, widths - bits, segments], axis=1)
    if signed:
        rows = np.concatenate([rows, rows + np.array([segments.sum(), 0, 0])])
    return rows.astype(np.int32)


def _integer_lines(
    table: "Table", order: NDArray[np.int64], input_scale: float, output_scale: float
) -> tuple[FloatArray, FloatArray]:
    """Slopes and intercepts in units of the output's step a step of the input.

    A segment of a single integer that is too steep to store needs no slope: it becomes its value.
    """
    slopes = table.slopes[order] * (input_scale / output_scale)
    intercepts = table.intercepts[order] / output_scale
    left, right = table.left[order], table.right[order]
    steep = (np.abs(slopes) > SLOPE_LIMIT) & (right - left < input_scale * (1 + 1e-9))
    middle = np.where(steep, 0.5 * (np.where(steep, left, 0.0) + np.where(steep, right, 0.0)), 0.0)
    values = slopes * (middle / input_scale) + intercepts
    return np.where(steep, 0.0, slopes), np.where(steep, values, intercepts)


def _rounded_lines(
    slopes: FloatArray, intercepts: FloatArray
) -> tuple[NDArray[np.int16], NDArray[np.int64], NDArray[np.uint8]]:
    """Lines y = slope * x + intercept of integers, as integer slopes and intercepts at the largest shifts."""
    # frexp: |slope| < 2^e, so slope * 2^(15-e) has 15 bits; rounding may carry into a sixteenth.
    shift = 15 - np.frexp(slopes)[1]
    shift -= np.abs(np.rint(np.ldexp(slopes, np.clip(shift, 0, 1000)))) > SLOPE_LIMIT
    room = INTERCEPT_MAGNITUDE_BITS - np.frexp(np.abs(intercepts) + 2.0)[1]
    shift = np.where(slopes == 0, room, np.minimum(shift, room))
    shift = np.clip(shift, 0, INTERCEPT_MAGNITUDE_BITS)
    integer_slopes = np.clip(np.rint(np.ldexp(slopes, shift)), -SLOPE_LIMIT, SLOPE_LIMIT).astype(np.int16)
    return integer_slopes, _integer_intercepts(intercepts, shift), shift.astype(np.uint8)


def _integer_intercepts(intercepts: FloatArray, shift: NDArray[np.int64]) -> NDArray[np.int64]:
    half = (np.int64(1) << shift.astype(np.int64)) >> 1
    limit = (np.int64(1) << INTERCEPT_MAGNITUDE_BITS) - 1 - half
    scaled = np.nan_to_num(np.ldexp(intercepts, shift.astype(np.int64)))
    return np.clip(np.rint(np.clip(scaled, -limit, limit)).astype(np.int64), -limit, limit)


def _centred_intercepts(
    table: QuantisedTable, x: NDArray[np.int64], index: NDArray[np.int64], wanted: FloatArray
) -> NDArray[np.int64]:
    """Intercepts that centre the rounded slopes on what is wanted of their samples; others stay."""
    slope = np.ldexp(table.slopes.astype(np.float64), -table.shifts.astype(np.int64))
    offset = wanted - slope[index] * x
    highest, lowest = np.full(table.entries, -np.inf), np.full(table.entries, np.inf)
    np.maximum.at(highest, index, offset)
    np.minimum.at(lowest, index, offset)
    sampled = np.isfinite(highest)
    centre = np.where(sampled, 0.5 * (np.where(sampled, highest, 0.0) + np.where(sampled, lowest, 0.0)), 0.0)
    return np.where(sampled, _integer_intercepts(centre, table.shifts.astype(np.int64)), table.intercepts)


def _sampled_integers(
    left: FloatArray, right: FloatArray, scale: float, bits: int
) -> tuple[NDArray[np.int64], FloatArray]:
    """Integers to fit and measure on, and how many neighbours each of them stands for."""
    limit = 1 << (bits - 1)
    if bits <= EXHAUSTIVE_BITS:
        return np.arange(-limit, limit, dtype=np.int64), np.ones(2 * limit)
    left = np.clip(left / scale, -limit, limit - 1)
    right = np.clip(right / scale, -limit, limit - 1)
    sampled = np.rint(left[:, None] + (right - left)[:, None] * SAMPLE_FRACTIONS).astype(np.int64)
    weight = np.gradient(SAMPLE_FRACTIONS)[None, :] * (right - left)[:, None]
    return sampled.ravel(), weight.ravel()
