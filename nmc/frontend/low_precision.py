"""Element types of 8 bits and fewer, and the types that carry their values in the module.

Floats of 8 and 4 bits are float32 in a compiled model, as every other float is, and integers of 4 and 2 bits are int8 or
uint8: all their values are numbers of those types. Constants keep their own type until they enter the module.
"""

import ml_dtypes
import numpy as np

CARRIERS = {
    **dict.fromkeys(("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"), "float32"),
    **dict.fromkeys(("float8_e8m0fnu", "float4_e2m1fn"), "float32"),
    **dict.fromkeys(("int4", "int2"), "int8"),
    **dict.fromkeys(("uint4", "uint2"), "uint8"),
}
"""The element type that carries the values of each low-precision type, by numpy's names."""


def carrier_of(dtype: str) -> str:
    """The element type that tensors of `dtype` have in the module: `dtype` itself unless it is a low-precision type."""
    return CARRIERS.get(dtype, dtype)


def carried(array: np.ndarray) -> np.ndarray:
    """The array in the element type that carries its own; the same object unless that is a low-precision type."""
    carrier = carrier_of(str(array.dtype))
    return array if carrier == str(array.dtype) else array.astype(carrier)


def integer_range(dtype: str) -> tuple[int, int]:
    """The smallest and the largest value of a low-precision integer type."""
    info = ml_dtypes.iinfo(np.dtype(dtype))
    return int(info.min), int(info.max)
