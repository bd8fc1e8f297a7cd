"""Grid sampling is a product with a matrix of weights, which are computed from the grid; larger ones stay.

Run on level 1, before `passes.lower_unary`. Along each axis the weight of element i for a sample at place p is a function of
p - i: a hat for linear interpolation and for the nearest element of a rounded place, Keys' kernel for cubic. The weights of
an image's elements are the products of those of its axes. Padding moves the place (ONNX GridSample, padding_mode).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import ir, relax

from passes.float_rules import rewrite_float_calls
from passes.matrix_along import matrix_along
from passes.matrix_form.unary import unary
from passes.rewrite import Emitter, Rule, shape_of
from passes.views import reshape, slice_axis

_op = relax.op

MOST_WEIGHTS = 1 << 22
"""Elements of the matrix of weights, elements of the images times samples: beyond, the host reads elements one by one."""

REFLECTIONS = 16
"""How many widths of the image beside it places may lie that are reflected."""

KERNELS = {"nearest": ("hat", 1), "bilinear": ("hat", 1), "bicubic": ("cubic_kernel", 2)}
"""The weight as a function of the distance, and how far it reaches."""

CUBIC_COEFFICIENT = -0.75
"""The standard's coefficient of Keys' kernel."""


@dataclass(frozen=True)
class Axis:
    """One axis of an image of `size` elements, and how it is sampled."""

    size: int
    method: str
    padding: str
    align_corners: bool

    @property
    def ends(self) -> tuple[float, float]:
        """Where places are reflected: at the outermost elements' centres or at their outer edges."""
        return (0.0, self.size - 1.0) if self.align_corners else (-0.5, self.size - 0.5)

    @property
    def overhang(self) -> int:
        """How many elements beyond each end are read although they stand for others within."""
        if self.padding == "zeros" or self.method == "nearest":
            return 0
        return KERNELS[self.method][1] if self.method == "bicubic" or self.padding == "reflection" else 0


def _grid_sample(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    x, grid = call.args
    batch, channels, *sizes = shape_of(x)
    places = shape_of(grid)[2:]
    samples, elements = int(np.prod(places)), int(np.prod(sizes))
    if batch * samples * elements > MOST_WEIGHTS:
        return None
    sampling = (str(call.attrs.method), str(call.attrs.padding_mode), bool(call.attrs.align_corners))
    total: relax.Expr | None = None
    for number, size in enumerate(sizes):
        part = slice_axis(emitter, grid, 1, len(sizes) - 1 - number, 1)  # the grid names the last axis first
        axis = Axis(size, *sampling)
        own = _weights(emitter, reshape(emitter, part, (batch, 1, samples)), axis)
        if total is None:
            total = own
        else:
            before = reshape(emitter, total, (batch, shape_of(total)[1], 1, samples))
            after = reshape(emitter, own, (batch, 1, size, samples))
            product = emitter.emit(_op.multiply(before, after))
            total = reshape(emitter, product, (batch, shape_of(total)[1] * size, samples))
    images = reshape(emitter, x, (batch, channels, elements))
    return reshape(emitter, emitter.emit(_op.matmul(images, total)), (batch, channels, *places))


def _weights(emitter: Emitter, grid: relax.Expr, axis: Axis) -> relax.Expr:
    """The weights of an axis's elements, [batch, size, samples], for grid [batch, 1, samples] from -1 to 1."""
    place = _place(emitter, grid, axis)
    function, _ = KERNELS[axis.method]
    taps = np.arange(-axis.overhang, axis.size + axis.overhang)
    distances = emitter.emit(_op.subtract(place, emitter.constant(taps.reshape(1, -1, 1).astype(np.float32))))
    parameters = {"a": CUBIC_COEFFICIENT} if axis.method == "bicubic" else {}
    weights = emitter.emit(unary(emitter, distances, function, **parameters))
    if not axis.overhang:
        return weights
    fold = np.zeros((axis.size, len(taps)), np.float32)
    fold[_inside(taps, axis), np.arange(len(taps))] = 1.0
    return matrix_along(emitter, weights, fold, 1)


def _place(emitter: Emitter, grid: relax.Expr, axis: Axis) -> relax.Expr:
    """Where samples lie along an axis, in elements, after padding; rounded for the nearest element."""
    span = axis.size - 1 if axis.align_corners else axis.size
    scaled = emitter.emit(_op.multiply(grid, emitter.constant(span / 2)))
    place = emitter.emit(_op.add(scaled, emitter.constant((axis.size - 1) / 2)))
    low, high = axis.ends
    if axis.padding == "reflection" and high > low:
        reach = REFLECTIONS * (high - low)
        bounds = {"low": low, "high": high, "lowest": low - reach, "highest": high + reach}
        place = emitter.emit(unary(emitter, place, "mirror", phase=0.0, **bounds))
    if axis.method == "nearest":
        place = emitter.emit(_op.round(place))
    if axis.padding == "border" or (axis.padding == "reflection" and axis.method == "nearest"):
        beyond = max(axis.overhang - 1.0, 0.0)  # from there on all that is read is the outermost element
        place = emitter.emit(unary(emitter, place, "clip", lo=-beyond, hi=axis.size - 1 + beyond))
    return place


def _inside(taps: np.ndarray, axis: Axis) -> np.ndarray:
    """The element that each tap beyond the ends reads."""
    low, high = axis.ends
    if axis.padding == "border" or low == high:
        return np.clip(taps, 0, axis.size - 1)
    width = high - low
    return np.rint(low + width - np.abs((taps - low) % (2 * width) - width)).astype(np.int64)


RULES: Mapping[str, Rule] = {"relax.image.grid_sample": _grid_sample}


@tvm.transform.module_pass(opt_level=0, name="nmc.LowerSampling")
def lower_sampling(module: ir.IRModule, context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to the float operators of main."""
    return rewrite_float_calls(module, RULES)
