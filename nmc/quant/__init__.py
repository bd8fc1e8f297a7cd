"""Quantisation: the fixed-point arithmetic of the quantised level, and the choice of scales. Plain numpy."""

from nmc.quant.fixed_point import (
    QuantisationError,
    add,
    add_multipliers,
    block_address,
    breakpoint_address,
    dequantise,
    gemm,
    hadamard,
    multiplier_and_shift,
    multipliers_and_shifts,
    octave_address,
    octave_block_address,
    pwl,
    quantise,
    requantise,
    saturate,
    uniform_address,
)
from nmc.quant.ranges import scale_for

__all__ = [
    "QuantisationError",
    "add",
    "add_multipliers",
    "block_address",
    "breakpoint_address",
    "dequantise",
    "gemm",
    "hadamard",
    "multiplier_and_shift",
    "multipliers_and_shifts",
    "octave_address",
    "octave_block_address",
    "pwl",
    "quantise",
    "requantise",
    "saturate",
    "scale_for",
    "uniform_address",
]
