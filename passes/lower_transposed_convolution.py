"""Transposed convolution is ordinary convolution, one a phase of the output; no inserted zero is multiplied.

Run on level 1. With stride s, the outputs at positions ≡ φ (mod s) read only the kernel's taps k with
k·dilation ≡ φ (mod s): a dense convolution of stride 1 with those taps (the sub-pixel form, Shi et al.,
arXiv 1609.07009). Phases whose windows coincide, as all do when the stride divides the kernel, share one
product; the phases then interleave by moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product as every_combination

import numpy as np
import tvm
from tvm import ir, relax

from passes.float_rules import rewrite_float_calls
from passes.lower_convolution import spatial_layouts, weight_matrices, windows_times
from passes.matrix_form.im2col import Window
from passes.rewrite import Emitter, Rule, shape_of
from passes.views import concatenate, gather, permute, reshape, slice_axis


@dataclass(frozen=True)
class Phase:
    """The kernel's taps along one axis that meet outputs of one residue, in the order of what they read.

    The output of index q in the phase reads the inputs q + offset, q + offset + dilation, …
    """

    taps: tuple[int, ...]
    offset: int
    dilation: int


@dataclass(frozen=True)
class Axis:
    """One spatial axis: its phases, the first and the number of the indices q kept, and the final crop."""

    phases: tuple[Phase, ...]
    first: int
    count: int
    crop: int
    extent: int


def _transposed_convolution(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    attributes = call.attrs
    rank = len(attributes.strides)
    data, kernel, out = spatial_layouts(attributes, rank, "IO")
    if data is None or kernel is None or out is None:
        return None
    x = permute(emitter, call.args[0], data)
    weight = permute(emitter, call.args[1], kernel)
    result_shape = shape_of(call)
    axes = [
        _axis(
            kernel=shape_of(weight)[2 + i],
            stride=int(attributes.strides[i]),
            dilation=int(attributes.dilation[i]),
            pad=int(attributes.padding[i]),
            extent=result_shape[out[2 + i]],
        )
        for i in range(rank)
    ]
    interleaved = _interleaved(emitter, _phases(emitter, x, weight, int(attributes.groups), axes), axes)
    return permute(emitter, interleaved, [out.index(axis) for axis in range(rank + 2)])


def _axis(kernel: int, stride: int, dilation: int, pad: int, extent: int) -> Axis:
    """Output t - pad, t = q·stride + φ, sums x[q + (φ - k·dilation) / stride]·w[k] over the taps k of φ."""
    phases = []
    for residue in range(stride):
        taps = [k for k in reversed(range(kernel)) if k * dilation % stride == residue]
        offset = (residue - taps[0] * dilation) // stride if taps else 0
        phases.append(Phase(tuple(taps), offset, dilation // int(np.gcd(stride, dilation))))
    first = pad // stride
    count = (pad + extent - 1) // stride - first + 1
    return Axis(tuple(phases), first, count, pad - first * stride, extent)


def _phases(
    emitter: Emitter, x: relax.Expr, weight: relax.Expr, groups: int, axes: Sequence[Axis]
) -> relax.Expr:
    """Every phase as [batch, *counts, phases, outputs], phases in row-major order over the axes."""
    combinations = list(every_combination(*(axis.phases for axis in axes)))
    windows = {tuple((len(p.taps), p.offset) for p in phases) for phases in combinations}
    if len(windows) == 1:
        return _shared_window(emitter, x, weight, groups, axes, combinations)
    parts = [_shared_window(emitter, x, weight, groups, axes, [phases]) for phases in combinations]
    return concatenate(emitter, parts, len(axes) + 1)


def _shared_window(
    emitter: Emitter,
    x: relax.Expr,
    weight: relax.Expr,
    groups: int,
    axes: Sequence[Axis],
    combinations: Sequence[Sequence[Phase]],
) -> relax.Expr:
    """Phases that read the same windows, from one product: [batch, *counts, phases, outputs]."""
    inputs, outputs, *_ = shape_of(weight)
    counts = [axis.count for axis in axes]
    shape = (shape_of(x)[0], *counts, len(combinations), groups * outputs)
    if not all(phase.taps for phase in combinations[0]):
        return emitter.constant(np.zeros(shape))
    # weights [inputs, outputs/groups, *kernel] of each phase as [outputs, inputs/groups, *taps]
    matrices = []
    for phases in combinations:
        taps = weight
        for index, phase in enumerate(phases):
            taps = gather(emitter, taps, 2 + index, phase.taps)
        kernel = shape_of(taps)[2:]
        grouped = reshape(emitter, taps, (groups, inputs // groups, outputs, *kernel))
        turned = permute(emitter, grouped, (0, 2, 1, *range(3, 3 + len(kernel))))
        ordinary = reshape(emitter, turned, (groups * outputs, inputs // groups, *kernel))
        matrices.append(weight_matrices(emitter, ordinary, groups))
    x, window = _cropped(emitter, x, axes, combinations[0], groups)
    product = windows_times(emitter, x, window, _beside(emitter, matrices))
    split = reshape(emitter, product, (groups, shape[0], *counts, len(combinations), outputs))
    last = len(counts) + 2
    return reshape(emitter, permute(emitter, split, (*range(1, last + 1), 0, last + 1)), shape)


def _beside(emitter: Emitter, matrices: Sequence[relax.Expr]) -> relax.Expr:
    """Matrices [groups, K, N] next to each other."""
    constants = [matrix.value.numpy() for matrix in matrices if isinstance(matrix, ir.GenericConst)]
    if len(constants) == len(matrices):
        return emitter.constant(np.concatenate(constants, axis=2))
    return concatenate(emitter, matrices, 2)


def _cropped(
    emitter: Emitter, x: relax.Expr, axes: Sequence[Axis], phases: Sequence[Phase], groups: int
) -> tuple[relax.Expr, Window]:
    """The part of x [batch, inputs, *spatial] that the phases read, and their window over it."""
    begins, ends = [], []
    for index, (axis, phase) in enumerate(zip(axes, phases, strict=True)):
        extent = shape_of(x)[2 + index]
        first = axis.first + phase.offset
        last = first + axis.count - 1 + (len(phase.taps) - 1) * phase.dilation
        low, high = min(max(first, 0), extent - 1), max(min(last, extent - 1), 0)
        high = max(low, high)
        x = slice_axis(emitter, x, 2 + index, low, high - low + 1)
        begins.append(low - first)
        ends.append(last - high)
    window = Window(
        kernel=tuple(len(phase.taps) for phase in phases),
        strides=(1,) * len(axes),
        dilations=tuple(phase.dilation for phase in phases),
        pads_begin=tuple(begins),
        pads_end=tuple(ends),
        groups=groups,
    )
    return x, window


def _interleaved(emitter: Emitter, phases: relax.Expr, axes: Sequence[Axis]) -> relax.Expr:
    """[batch, *counts, phases, outputs] as [batch, outputs, *extents]: phases take turns along each axis."""
    rank = len(axes)
    batch, outputs = shape_of(phases)[0], shape_of(phases)[-1]
    counts, strides = [axis.count for axis in axes], [len(axis.phases) for axis in axes]
    split = reshape(emitter, phases, (batch, *counts, *strides, outputs))
    pairs = [position for i in range(rank) for position in (1 + i, 1 + rank + i)]
    woven = permute(emitter, split, (0, 2 * rank + 1, *pairs))
    extents = [count * stride for count, stride in zip(counts, strides, strict=True)]
    result = reshape(emitter, woven, (batch, outputs, *extents))
    for index, axis in enumerate(axes):
        result = slice_axis(emitter, result, 2 + index, axis.crop, axis.extent)
    return result


RULES: Mapping[str, Rule] = {f"relax.nn.conv{rank}d_transpose": _transposed_convolution for rank in (1, 2, 3)}


@tvm.transform.module_pass(opt_level=0, name="nmc.LowerTransposedConvolution")
def lower_transposed_convolution(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to main."""
    return rewrite_float_calls(module, RULES)
