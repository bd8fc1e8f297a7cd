"""Resize and Upsample: separable, so each axis is a gather by constant indices or a product with a constant
matrix.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import relax

from nmc.frontend.converters.linear import matrix_along
from nmc.frontend.converters.registry import converts
from nmc.frontend.emitter import Emitter, shape_of
from nmc.frontend.values import ConversionError, Node, Value


@dataclass(frozen=True)
class Axis:
    """One resized axis: sizes, the scale its coordinates use, and its region of interest (fractions of the
    input).
    """

    index: int
    size: int
    new_size: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@converts("Resize", "Upsample")
def _resize(emitter: Emitter, node: Node) -> Sequence[Value]:
    x = node.tensor(0)
    mode = node.attributes.get("mode", "nearest")
    old = node.operator == "Upsample" or node.opset < 11
    transform = node.attributes.get("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    coordinates = [(axis, _coordinates(transform, axis)) for axis in _axes(node, shape_of(x), old)]
    outside = {}
    for axis, places in coordinates:
        if transform == "tf_crop_and_resize":
            outside[axis.index] = (places < 0) | (places > axis.size - 1)
        elif axis.size == axis.new_size and np.array_equal(places, np.arange(axis.size)):
            continue
        if mode == "nearest":
            rounding = node.attributes.get("nearest_mode", "floor" if old else "round_prefer_floor")
            x = emitter.take(
                x, np.clip(_rounded(rounding, places), 0, axis.size - 1).astype(np.int64), axis.index
            )
        else:
            x = matrix_along(emitter, x, _matrix(node, mode, axis, places), axis.index)
    if any(mask.any() for mask in outside.values()):
        x = _extrapolate(emitter, x, outside, float(node.attributes.get("extrapolation_value", 0.0)))
    return [x]


def _axes(node: Node, shape: Sequence[int], old: bool) -> list[Axis]:
    """The resized axes in order, from whichever of scales and sizes is given."""
    indices = [axis % len(shape) for axis in node.attributes.get("axes") or range(len(shape))]
    roi: list[float] = []
    if old:
        given = node.constant(1)
        scales = node.attributes.get("scales") if given is None else given.tolist()
        sizes = None
    else:
        region, factors, targets = node.constant(1), node.constant(2), node.constant(3)
        roi = [] if region is None else [float(number) for number in region]
        scales = None if factors is None or factors.size == 0 else [float(number) for number in factors]
        sizes = None if targets is None or targets.size == 0 else [int(number) for number in targets]
    if scales is None and sizes is None:
        raise ConversionError("has neither scales nor sizes")
    axes = []
    for position, index in enumerate(indices):
        size = shape[index]
        if sizes is not None:
            scale = _kept_ratio(node, shape, indices, sizes) or sizes[position] / size
            new = (
                sizes[position]
                if not _kept_ratio(node, shape, indices, sizes)
                else math.floor(scale * size + 0.5)
            )
        elif scales is not None:
            scale = float(scales[position])
            new = math.floor(size * scale + 1e-6)
        start, end = (roi[position], roi[position + len(indices)]) if roi else (0.0, 1.0)
        axes.append(Axis(index, size, new, scale, start, end))
    return axes


def _kept_ratio(node: Node, shape: Sequence[int], indices: list[int], sizes: list[int]) -> float | None:
    """The one scale of all axes under keep_aspect_ratio_policy, or None for "stretch"."""
    policy = node.attributes.get("keep_aspect_ratio_policy", "stretch")
    ratios = [size / shape[index] for index, size in zip(indices, sizes, strict=True)]
    return {"not_larger": min(ratios), "not_smaller": max(ratios)}.get(policy)


def _coordinates(transform: str, axis: Axis) -> np.ndarray:
    """Where each new element lies in the input (ONNX Resize, coordinate_transformation_mode)."""
    place, size, new, scale = np.arange(axis.new_size, dtype=np.float64), axis.size, axis.new_size, axis.scale
    if transform == "asymmetric":
        return place / scale
    if transform == "align_corners":
        return place * (size - 1) / (new - 1) if new > 1 else np.zeros(1)
    if transform == "tf_crop_and_resize":
        if new == 1:
            return np.full(1, 0.5 * (axis.start + axis.end) * (size - 1))
        return axis.start * (size - 1) + place * (axis.end - axis.start) * (size - 1) / (new - 1)
    if transform == "tf_half_pixel_for_nn":
        return (place + 0.5) / scale
    half_pixel = (place + 0.5) / scale - 0.5
    if transform == "pytorch_half_pixel" and new == 1:
        return np.zeros(1)
    if transform == "half_pixel_symmetric":
        return size / 2 * (1 - new / (scale * size)) + half_pixel
    if transform in ("half_pixel", "pytorch_half_pixel"):
        return half_pixel
    raise ConversionError(f"coordinate_transformation_mode '{transform}' is not supported")


def _rounded(rounding: str, places: np.ndarray) -> np.ndarray:
    functions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "round_prefer_floor": lambda p: np.ceil(p - 0.5),
        "round_prefer_ceil": lambda p: np.floor(p + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    return functions[rounding](places)


def _matrix(node: Node, mode: str, axis: Axis, places: np.ndarray) -> np.ndarray:
    """The interpolation weights, shape [new size, size]; places beyond an edge repeat it or are left out."""
    kernel, reach = _kernel(mode, float(node.attributes.get("cubic_coeff_a", -0.75)))
    antialias = bool(node.attributes.get("antialias", 0))
    exclude = bool(node.attributes.get("exclude_outside", 0))
    squeeze = min(1.0, axis.scale) if antialias else 1.0
    matrix = np.zeros((axis.new_size, axis.size))
    for row, place in enumerate(places):
        taps = np.arange(math.floor(place - reach / squeeze), math.ceil(place + reach / squeeze) + 1)
        weights = kernel(np.abs(taps - place) * squeeze)
        if exclude:
            weights = np.where((taps < 0) | (taps >= axis.size), 0.0, weights)
        np.add.at(matrix[row], np.clip(taps, 0, axis.size - 1), weights / weights.sum())
    return matrix.astype(np.float32)


def _kernel(mode: str, a: float) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Weight by distance, and how far it reaches (cubic: Keys 1981, equation 4, with coefficient a)."""
    if mode == "linear":
        return lambda distance: np.maximum(1 - distance, 0), 1
    if mode != "cubic":
        raise ConversionError(f"mode '{mode}' is not supported")

    def cubic(distance: np.ndarray) -> np.ndarray:
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = (((distance - 5) * distance + 8) * distance - 4) * a
        return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))

    return cubic, 2


def _extrapolate(emitter: Emitter, x: Value, outside: dict[int, np.ndarray], number: float) -> Value:
    mask = np.zeros(shape_of(x), bool)
    for axis, flags in outside.items():
        shape = [1] * mask.ndim
        shape[axis] = len(flags)
        mask |= flags.reshape(shape)
    return emitter.call(relax.op.where, mask, np.float32(number), x)
