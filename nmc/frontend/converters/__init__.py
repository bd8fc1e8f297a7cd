"""ONNX operators as plain Relax operations. One module a family; each enters its own into one table."""

from nmc.frontend.converters import (
    activations,
    convolution,
    einsum,
    elementwise,
    indexing,
    linear,
    movement,
    normalisation,
    pooled_indices,
    pooling,
    quantisation,
    recurrent,
    reduction,
    resize,
    sampling,
    signal,
)
from nmc.frontend.converters.registry import CONVERTERS, Converter

__all__ = [
    "CONVERTERS",
    "Converter",
    "activations",
    "convolution",
    "einsum",
    "elementwise",
    "find_converter",
    "indexing",
    "linear",
    "movement",
    "normalisation",
    "pooled_indices",
    "pooling",
    "quantisation",
    "recurrent",
    "reduction",
    "resize",
    "sampling",
    "signal",
]


def find_converter(domain: str, operator: str) -> Converter | None:
    """The converter of an operator, or None where it has none of its own."""
    return CONVERTERS.get((domain, operator))
