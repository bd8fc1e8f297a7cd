"""Which part of a tensor's range its integers stand for, when there are so few that a long thin tail costs too much."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from nmc.quant.formats import TensorRange

Values = NDArray[np.floating]

PERCENTILE = 99.99
CANDIDATES = np.linspace(0.25, 1.0, 31)
"""The thresholds tried, as parts of the largest magnitude."""
HISTOGRAM_BINS = 2048
ENTROPY_LEVELS = 128
"""Magnitudes that 8-bit integers tell apart."""


def clipped_range(values: Values, span: TensorRange, method: str, bits: int) -> TensorRange:
    """The part of `span` that `bits`-bit integers shall stand for, zero included; what is outside saturates.

    `values` are a sample of those that span the range; the method is one of METHODS.
    """
    span = span.union(TensorRange(0.0, 0.0))
    flat = np.asarray(values).reshape(-1)
    if method == "min-max" or span.magnitude == 0.0 or flat.size == 0:
        return span
    threshold = min(METHODS[method](flat, span, bits), span.magnitude)
    return TensorRange(max(span.low, -threshold), min(span.high, threshold))


def affine_scale(span: TensorRange, bits: int) -> tuple[float, int]:
    """The scale, exact in float32, and the integer for 0, with which integers just hold a range that has 0 in it."""
    steps = (1 << bits) - 1
    scale = float(np.float32((span.high - span.low) / steps or 1.0 / steps))
    lowest = -(1 << (bits - 1))
    return scale, int(np.clip(round(lowest - span.low / scale), lowest, lowest + steps))


def affine_integers(values: Values, scale: float, zero: int, bits: int) -> Values:
    """round(values / scale), as floats, so far as they are integers once `zero` is added and saturated."""
    lowest = -(1 << (bits - 1))
    integers: Values = np.clip(np.rint(values / scale), lowest - zero, lowest + (1 << bits) - 1 - zero)
    return integers


def _by_min_max(values: Values, span: TensorRange, bits: int) -> float:
    return span.magnitude


def _by_percentile(values: Values, span: TensorRange, bits: int) -> float:
    """All but one in ten thousand magnitudes are inside."""
    return float(np.percentile(np.abs(values), PERCENTILE))


def _by_squared_error(values: Values, span: TensorRange, bits: int) -> float:
    """The least mean squared error of rounding and clipping together."""
    counts, edges = np.histogram(values, HISTOGRAM_BINS, (span.low, span.high))
    middles = 0.5 * (edges[1:] + edges[:-1])
    thresholds = CANDIDATES * span.magnitude
    errors = []
    for threshold in thresholds:
        kept = TensorRange(max(span.low, -threshold), min(span.high, threshold))
        scale, _ = affine_scale(kept, bits)
        clipped = middles - np.clip(middles, kept.low, kept.high)
        errors.append(float(counts @ np.where(clipped == 0.0, scale**2 / 12.0, clipped**2)))
    return float(thresholds[int(np.argmin(errors))])


def _by_entropy(values: Values, span: TensorRange, bits: int) -> float:
    """The least Kullback-Leibler divergence of the quantised distribution from the clipped one (Migacz, GTC 2017)."""
    counts, _ = np.histogram(np.abs(values), HISTOGRAM_BINS, (0.0, span.magnitude))
    ends = np.unique(np.maximum((CANDIDATES * HISTOGRAM_BINS).astype(int), ENTROPY_LEVELS))
    divergences = [_divergence(counts, int(end)) for end in ends]
    return float(ends[int(np.argmin(divergences))] / HISTOGRAM_BINS * span.magnitude)


def _divergence(counts: NDArray[np.integer], end: int) -> float:
    """Of the first `end` bins spread evenly within each level from the same bins with all that is beyond in the last."""
    reference = counts[:end].astype(np.float64)
    level = np.arange(end) * ENTROPY_LEVELS // end
    used = reference > 0
    filled = np.bincount(level, used, ENTROPY_LEVELS)
    sums = np.bincount(level, reference, ENTROPY_LEVELS)
    quantised = np.where(used, (sums / np.maximum(filled, 1.0))[level], 0.0)
    reference[-1] += counts[end:].sum()
    reference, quantised = reference / reference.sum(), quantised / max(quantised.sum(), 1e-300)
    both = reference > 0
    ratio = reference[both] / np.maximum(quantised[both], 1e-12)
    return float((reference[both] * np.log(ratio)).sum())


METHODS: Mapping[str, Callable[[Values, TensorRange, int], float]] = {
    "min-max": _by_min_max,
    "percentile": _by_percentile,
    "entropy": _by_entropy,
    "mse": _by_squared_error,
}
"""From a sample of values, their range and the bits to the largest magnitude that is not clipped."""
