"""A table of few segments, evaluated on the values that a kernel holds in registers."""

from typing import Any

from tvm.script import tirx as T

LANES = 16
"""Values that are evaluated at a time."""
FEW = 16
"""Up to so many segments are tried one after the other, which costs less than another pass over the values."""


@T.inline
def through_table(
    values: Any,
    i: Any,
    own_slope: Any,
    own_intercept: Any,
    boundary: Any,
    slope: Any,
    intercept: Any,
    segments: Any,
) -> None:
    """values[i, :], of LANES elements, become slope[s]·x + intercept[s], s being the number of boundaries not above x.

    `own_slope` and `own_intercept` are local buffers of LANES elements.
    """
    for lane in T.vectorized(LANES):
        own_slope[lane] = slope[0]
        own_intercept[lane] = intercept[0]
    for k in range(segments - T.int64(1)):
        for lane in T.vectorized(LANES):
            own_slope[lane] = T.Select(boundary[k] <= values[i, lane], slope[k + 1], own_slope[lane])
            own_intercept[lane] = T.Select(
                boundary[k] <= values[i, lane], intercept[k + 1], own_intercept[lane]
            )
    for lane in T.vectorized(LANES):
        values[i, lane] = own_slope[lane] * values[i, lane] + own_intercept[lane]
