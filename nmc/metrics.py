"""Measures how far a result is from the reference it should equal."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class OutputError:
    """The distance of one output from its reference, over all samples together."""

    max_abs: float
    """Largest absolute difference."""
    rmse: float
    """Square root of the mean squared difference."""
    cosine: float
    """Cosine of the angle between the two, each taken as one long vector; 1 when both are zero."""
    snr_db: float | None
    """10·log10 of the reference's energy over the difference's; None if either is zero."""
    top1_agreement: float | None
    """Share of rows along the last axis with the largest element at the same place; None for rows of one."""


def compare(reference: np.ndarray, result: np.ndarray) -> OutputError:
    """The error of `result` against `reference`: same shape, any real element type; [samples, *output shape].

    Equal infinities and NaNs in the same place count as no difference; any other value that is not
    finite makes max_abs infinite.
    """
    if reference.shape != result.shape:
        raise ValueError(f"compared outputs have shapes {reference.shape} and {result.shape}")
    expected, found = reference.astype(np.float64), result.astype(np.float64)
    same = equal_values(expected, found)
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, found - expected)
    difference = np.where(np.isnan(difference), np.inf, difference)
    finite = np.isfinite(expected) & np.isfinite(found)
    largest = float(np.max(np.abs(difference), initial=0.0))
    # squares of parts of the largest value overflow nowhere
    unit = float(max(np.max(np.abs(expected), where=finite, initial=0.0), largest)) or 1.0
    unit = unit if unit < math.inf else 1.0
    expected, found = (np.where(finite, x, 0.0) / unit for x in (expected, found))
    noise = float(np.sum((difference / unit) ** 2))
    signal = float(np.sum(expected**2))
    return OutputError(
        max_abs=largest,
        rmse=math.sqrt(noise / difference.size) * unit if difference.size else 0.0,
        cosine=_cosine(expected, found),
        snr_db=10.0 * math.log10(signal / noise) if 0.0 < noise < math.inf and signal > 0.0 else None,
        top1_agreement=_top1_agreement(reference, result),
    )


def equal_values(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two float arrays hold the same: equal infinities and two that are not numbers, too."""
    return (a == b) | (np.isnan(a) & np.isnan(b))


def _cosine(expected: np.ndarray, found: np.ndarray) -> float:
    lengths = math.sqrt(float(np.sum(expected**2))), math.sqrt(float(np.sum(found**2)))
    if 0.0 in lengths:
        return 1.0 if lengths[0] == lengths[1] else 0.0
    return float(np.sum(expected / lengths[0] * (found / lengths[1])))


def _top1_agreement(reference: np.ndarray, result: np.ndarray) -> float | None:
    # axis 0 counts samples, so an output needs an axis of its own to have a largest element
    if reference.ndim < 2 or reference.shape[-1] < 2 or reference.size == 0:
        return None
    return float(np.mean(np.argmax(reference, axis=-1) == np.argmax(result, axis=-1)))
