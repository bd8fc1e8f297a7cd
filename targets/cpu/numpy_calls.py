"""What calls of matrix form with exact functions compute, in numpy: a table by operator or composite name."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from tvm import ir, relax

from passes.matrix_form.im2col import IM2COL, Window, window_of
from passes.matrix_form.pwl import FLOAT_PWL
from passes.normalise_moves import permutation
from passes.numpy_meaning import evaluate_elementwise
from passes.rewrite import callee_attributes, dtype_of, shape_of

Array = np.ndarray
Compute = Callable[..., Array | tuple[Array, ...]]

INDEX_MODES: Mapping[str, Literal["raise", "wrap", "clip"]] = {"fast": "clip", "clip": "clip", "wrap": "wrap"}
"""numpy's name for what an index outside the axis means; for `fast` there is none."""


def numpy_call(module: ir.IRModule, call: relax.Call, name: str) -> Compute | None:
    """The function from the values of a call's arguments to its value; None where numpy has no equal."""
    if name == IM2COL:
        window, fill = window_of(callee_attributes(module, call))
        return partial(windows, window=window, fill=fill)
    if name == FLOAT_PWL:
        return table_lines
    if not isinstance(call.op, ir.Op):
        return None
    return CALLS[name](call) if name in CALLS else _elementwise(name, call)


def windows(x: Array, window: Window, fill: float) -> Array:
    """The rows of im2col: x [batch, channels, *spatial] as [groups, batch·Πoutput, Πkernel·channels/groups]."""
    batch, channels, *spatial = x.shape
    outputs = window.output_extents(spatial)
    if channels == window.groups:
        return _channel_windows(x, window, outputs, fill)
    # channels last, so that what is copied for each row lies together
    pads = [(0, 0), *zip(window.pads_begin, window.pads_end, strict=True), (0, 0)]
    x = np.moveaxis(x, 1, -1)
    x = np.pad(x, pads, constant_values=fill) if any(map(any, pads)) else np.ascontiguousarray(x)
    batch_stride, *strides, channel_stride = x.strides
    group_channels = channels // window.groups
    steps = [stride * step for stride, step in zip(strides, window.strides, strict=True)]
    gaps = [stride * gap for stride, gap in zip(strides, window.dilations, strict=True)]
    view = np.lib.stride_tricks.as_strided(
        x,
        (window.groups, batch, *outputs, *window.kernel, group_channels),
        (group_channels * channel_stride, batch_stride, *steps, *gaps, channel_stride),
        writeable=False,
    )
    rows = batch * int(np.prod(outputs))
    return view.reshape(window.groups, rows, int(np.prod(window.kernel)) * group_channels)


def _channel_windows(x: Array, window: Window, outputs: Sequence[int], fill: float) -> Array:
    """`windows` of one channel a group: what lies together there are the places that one kernel element meets."""
    batch, channels, *_ = x.shape
    pads = [(0, 0), (0, 0), *zip(window.pads_begin, window.pads_end, strict=True)]
    x = np.pad(x, pads, constant_values=fill) if any(map(any, pads)) else x
    x = x.swapaxes(0, 1)
    met = np.empty((int(np.prod(window.kernel)), channels, batch, *outputs), x.dtype)
    for each, element in zip(met, np.ndindex(*window.kernel), strict=True):
        begins = [place * gap for place, gap in zip(element, window.dilations, strict=True)]
        places = [
            slice(begin, begin + (count - 1) * step + 1, step)
            for begin, count, step in zip(begins, outputs, window.strides, strict=True)
        ]
        each[...] = x[:, :, *places]
    return np.moveaxis(met.reshape(len(met), channels, -1), 0, -1)


def table_lines(x: Array, boundaries: Array, slopes: Array, intercepts: Array) -> Array:
    """slopes[s]·x + intercepts[s] with s the number of boundaries not above x; a table of one segment has none."""
    segment = np.searchsorted(boundaries[: len(slopes) - 1], x, side="right")
    return np.asarray(slopes[segment] * x + intercepts[segment])


def _elementwise(name: str, call: relax.Call) -> Compute | None:
    dtype = dtype_of(call) if isinstance(call.ty, relax.TensorType) else ""
    probe = [np.ones((), dtype_of(argument)) for argument in call.args if _is_tensor(argument)]
    if name == "relax.power" and not dtype.startswith("float"):
        return None  # numpy refuses negative exponents
    if len(probe) < 1 or evaluate_elementwise(call, probe) is None:
        return None
    return lambda *arguments: np.asarray(evaluate_elementwise(call, arguments)).astype(dtype, copy=False)


def _is_tensor(expr: relax.Expr) -> bool:
    return isinstance(expr.ty, relax.TensorType)


def _reshape(call: relax.Call) -> Compute:
    shape = shape_of(call)
    return lambda x, *_: x.reshape(shape)


def _permute_dims(call: relax.Call) -> Compute:
    axes = permutation(call)
    return lambda x: x.transpose(axes)


def _broadcast_to(call: relax.Call) -> Compute:
    shape = shape_of(call)
    return lambda x, _shape: np.broadcast_to(x, shape)


def _strided_slice(call: relax.Call) -> Compute:
    axes, *bounds = [[int(number) for number in part.fields] for part in call.args[1:]]
    places = [slice(None)] * len(shape_of(call))
    for axis, *bound in zip(axes, *bounds, strict=True):
        places[axis] = _within(slice(*bound), shape_of(call.args[0])[axis])
    return lambda x, *_: x[tuple(places)]


def _within(bounds: slice, extent: int) -> slice:
    """The slice with bounds counted from the front, which numpy's own negative ends are not."""
    begin, end, stride = bounds.indices(extent)
    return slice(begin, end if end >= 0 else None, stride)


def _concat(call: relax.Call) -> Compute:
    axis = int(call.attrs.axis or 0)
    return lambda parts: np.concatenate(parts, axis)


def _split(call: relax.Call) -> Compute:
    axis = int(call.attrs.axis)
    ends = np.cumsum([int(part.shape[axis]) for part in call.ty.fields])[:-1]
    return lambda x: tuple(np.split(x, ends, axis))


def _take(call: relax.Call) -> Compute | None:
    axis = None if call.attrs.axis is None else int(call.attrs.axis)
    mode = INDEX_MODES.get(str(call.attrs.mode))
    if mode is None:
        return None
    return lambda x, places: np.asarray(np.take(x, places, axis, mode=mode))


def _pad(call: relax.Call) -> Compute | None:
    if str(call.attrs.pad_mode) != "constant":
        return None
    widths = np.array([int(width) for width in call.attrs.pad_width]).reshape(-1, 2)
    value = float(call.attrs.pad_value)
    return lambda x: np.pad(x, widths, constant_values=value)


CALLS: Mapping[str, Callable[[relax.Call], Compute | None]] = {
    **dict.fromkeys(
        ["relax.reshape", "relax.expand_dims", "relax.squeeze", "relax.flatten", "relax.nn.batch_flatten"],
        _reshape,
    ),
    "relax.permute_dims": _permute_dims,
    "relax.broadcast_to": _broadcast_to,
    "relax.strided_slice": _strided_slice,
    "relax.concat": _concat,
    "relax.split": _split,
    "relax.take": _take,
    "relax.nn.pad": _pad,
    "relax.matmul": lambda call: lambda a, b: np.asarray(np.matmul(a, b)),
    "relax.floor_mod": lambda call: np.mod,
}
"""Operator name -> what makes its function out of a call; element-wise operators are in `passes.numpy_meaning`."""
