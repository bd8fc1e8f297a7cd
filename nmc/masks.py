"""Which inputs are masks: their values may be minus infinity, which the lowest integer of their format stands for.

An input is one if nothing that reads it tells values apart from some point on, as exp does not below what underflows, and
its format reaches that far. So calibration has to have seen it mask something.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from tvm import ir

from nmc.data import checked_samples
from nmc.frontend import TensorSpec
from nmc.quant.formats import MINUS_INFINITY, TensorFormat
from passes.ranges import EVERYTHING, Ranges, needed_ranges


def possible_masks(inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The inputs, of which each that holds floats may be a mask, before anything is known of its use."""
    return tuple(replace(spec, is_mask=spec.dtype == "float32") for spec in inputs)


def found_masks(
    inputs: Sequence[TensorSpec], module: ir.IRModule, ranges: Ranges, formats: Mapping[str, TensorFormat]
) -> tuple[TensorSpec, ...]:
    """The inputs, of which those are masks that are; module, ranges and formats are those of level 2."""
    needed = needed_ranges(module, ranges)

    def is_mask(name: str) -> bool:
        low = needed.get(name, EVERYTHING).low
        return low > MINUS_INFINITY and -formats[name].scale * (formats[name].highest + 1) <= low

    return tuple(replace(spec, is_mask=spec.name in formats and is_mask(spec.name)) for spec in inputs)


def require_masks(data: Mapping[str, np.ndarray] | None, inputs: Sequence[TensorSpec], source: str) -> None:
    """Raises CalibrationError where data holds minus infinity for an input that is none of the masks."""
    if data is not None:
        checked_samples(data, inputs, source)
