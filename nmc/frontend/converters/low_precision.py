"""Casts to element types of 8 bits and fewer, as exact functions of what carries their values.

A cast to floats is a search among their values: rounding to nearest with ties to even, saturation and overflow are as the
standard's tables for Cast say, for they are taken from the types themselves.
"""

from functools import cache

import ml_dtypes
import numpy as np
from tvm import relax

from nmc.frontend.emitter import Emitter
from nmc.frontend.low_precision import CARRIERS, integer_range
from nmc.frontend.values import ConversionError, Value

EXPONENTS_ALONE = "float8_e8m0fnu"
"""The type of scales: powers of two without a sign."""

Steps = tuple[np.ndarray, np.ndarray, np.float32]
"""The values that a cast gives, in order; from which argument on each but the first is given; what NaN becomes."""


def cast_to_low(
    emitter: Emitter, x: Value, dtype: str, saturate: bool = True, round_mode: str = "up"
) -> relax.Var:
    """The values of `x` rounded to those of the low-precision type `dtype`, in its carrier.

    Beyond the largest value of a float type the result is that value with `saturate`, else infinity or NaN, whichever the
    type has; `round_mode` ("up", "down", "nearest") is that of powers of two. Integers keep their lowest bits.
    """
    if CARRIERS[dtype] != "float32":
        result = _lowest_bits(emitter, x, dtype)
    else:
        steps = _power_steps(round_mode, saturate) if dtype == EXPONENTS_ALONE else _steps(dtype, saturate)
        wide = emitter.cast(x, "float32")
        result = _nearest(
            emitter, emitter.call(relax.op.abs, wide) if dtype == EXPONENTS_ALONE else wide, steps
        )
    emitter.low_precision[result] = dtype
    return result


def _nearest(emitter: Emitter, x: Value, steps: Steps) -> relax.Var:
    values, boundaries, of_nan = steps
    index = emitter.call(relax.op.bucketize, x, boundaries, out_int32=True, right=True)
    rounded = emitter.call(relax.op.take, values, index, axis=0, mode="clip")
    return emitter.call(relax.op.where, emitter.call(relax.op.isnan, x), of_nan, rounded)


@cache
def _steps(dtype: str, saturate: bool) -> Steps:
    kind = np.dtype(dtype)
    size = 2 ** ml_dtypes.finfo(kind).bits
    every = np.arange(size, dtype=np.uint8).view(kind).astype(np.float32)
    values = np.unique(every[np.isfinite(every)])
    middles = (values[:-1] + values[1:]) / np.float32(2)
    to_upper = middles.astype(kind).astype(np.float32) == values[1:]
    boundaries = np.where(to_upper, middles, np.nextafter(middles, np.float32(np.inf)))
    if not saturate:
        beyond = values[-1] + (values[-1] - values[-2]) / np.float32(2)
        inside = beyond.astype(kind).astype(np.float32) == values[-1]
        above = np.nextafter(beyond, np.float32(np.inf)) if inside else beyond
        overflow = np.array([-np.inf, np.inf], np.float32).astype(kind).astype(np.float32)
        values = np.concatenate([overflow[:1], values, overflow[1:]])
        below = np.nextafter(-above, np.float32(np.inf))  # from here on the lowest value is given again
        boundaries = np.concatenate([[below], boundaries, [above]]).astype(np.float32)
    return values, boundaries, np.float32(np.float32(np.nan).astype(kind))


@cache
def _power_steps(round_mode: str, saturate: bool) -> Steps:
    """Of magnitudes to powers of two from 2^-127 to 2^127; infinity is NaN."""
    powers = np.exp2(np.arange(-127, 128)).astype(np.float32)
    if round_mode == "nearest":
        boundaries = powers[:-1] * np.float32(1.5)
    elif round_mode == "down":
        boundaries = powers[1:]
    elif round_mode == "up":
        boundaries = np.nextafter(powers[:-1], np.float32(np.inf))
    else:
        raise ConversionError(f"round_mode '{round_mode}' is not supported")
    last = (
        np.float32(np.inf)
        if saturate or round_mode == "down"
        else np.nextafter(powers[-1], np.float32(np.inf))
    )
    return (
        np.append(powers, np.float32(np.nan)),
        np.append(boundaries, last),
        np.float32(np.nan),
    )


def _lowest_bits(emitter: Emitter, x: Value, dtype: str) -> relax.Var:
    low, high = integer_range(dtype)
    whole = emitter.cast(x, "int32")
    bits = emitter.call(relax.op.bitwise_and, whole, np.int32(high - low))
    if low < 0:  # the highest bit is the sign
        sign = np.int32(high + 1)
        bits = emitter.call(relax.op.subtract, emitter.call(relax.op.bitwise_xor, bits, sign), sign)
    return emitter.call(relax.op.astype, bits, CARRIERS[dtype])
