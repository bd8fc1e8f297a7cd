"""Requantisation and saturation as TensorIR expressions; the reference is `nmc.quant.fixed_point`."""

from tvm import ir, tirx

ACCUMULATOR_BITS = 48


def int64(value: ir.Expr | int) -> ir.Expr:
    """The value as a 64-bit integer expression."""
    return tirx.const(value, "int64") if isinstance(value, int) else tirx.Cast("int64", value)


def saturate(value: ir.Expr, dtype: str) -> ir.Expr:
    """An int64 value limited to the range of a signed integer type, in that type."""
    limit = 1 << (int(dtype.removeprefix("int")) - 1)
    return tirx.Cast(dtype, tirx.min(tirx.max(value, int64(-limit)), int64(limit - 1)))


def requantise(accumulator: ir.Expr, multiplier: ir.Expr, shift: ir.Expr) -> ir.Expr:
    """floor((accumulator · multiplier + 2^(shift-1)) / 2^shift), all int64, for |accumulator| < 2^47 and 17 ≤ shift ≤ 62.

    The product needs up to 79 bits, so the accumulator is split at bit 16: the floor of the low part's product
    cannot change the floor of the whole.
    """
    high = accumulator >> int64(16)
    low = accumulator & int64(0xFFFF)
    product = high * multiplier + ((low * multiplier) >> int64(16))
    return (product + (int64(1) << (shift - int64(17)))) >> (shift - int64(16))


def round_shift(value: ir.Expr, shift: ir.Expr) -> ir.Expr:
    """floor((value + 2^(shift-1)) / 2^shift), and the value itself when the shift is 0; all int64."""
    return (value + ((int64(1) << shift) >> int64(1))) >> shift
