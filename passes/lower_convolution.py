"""Convolution is im2col and a matrix product; no `relax.nn.conv*` without transposition is left.

Run on level 1, in any unpacked layout. Rows of the product run over
batch and positions, columns over the output channels of a group, so that a bias can join the product
(`passes.fold_affine`). A convolution of integers stays.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tvm
from tvm import ir, relax

from passes.float_rules import rewrite_float_calls
from passes.matrix_form.im2col import Window, im2col
from passes.rewrite import Emitter, Rule, shape_of
from passes.views import permute, reshape

AXES = "DHW"
"""Names of the spatial axes in layouts; the last ones of them where there are fewer than three."""


def _convolution(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    attributes = call.attrs
    rank = len(attributes.strides)
    data, kernel, out = spatial_layouts(attributes, rank, "OI")
    if data is None or kernel is None or out is None:
        return None
    x = permute(emitter, call.args[0], data)
    weight = permute(emitter, call.args[1], kernel)
    pads = [int(pad) for pad in attributes.padding]
    window = Window(
        kernel=shape_of(weight)[2:],
        strides=tuple(int(stride) for stride in attributes.strides),
        dilations=tuple(int(dilation) for dilation in attributes.dilation),
        pads_begin=tuple(pads[:rank]),
        pads_end=tuple(pads[rank:]),
        groups=int(attributes.groups),
    )
    product = windows_times(emitter, x, window, weight_matrices(emitter, weight, window.groups))
    result = channels_first(emitter, product, shape_of(x)[0], window.output_extents(shape_of(x)[2:]))
    return permute(emitter, result, [out.index(axis) for axis in range(rank + 2)])


def windows_times(emitter: Emitter, x: relax.Expr, window: Window, matrices: relax.Expr) -> relax.Expr:
    """Windows of x [batch, channels, *spatial] times [groups, K, N], as [groups, batch·Πoutput, N]."""
    return emitter.emit(relax.op.matmul(emitter.emit(im2col(emitter, x, window)), matrices))


def weight_matrices(emitter: Emitter, weight: relax.Expr, groups: int) -> relax.Expr:
    """Weights [outputs, inputs/groups, *kernel] as [groups, Πkernel·inputs/groups, outputs/groups]."""
    outputs, inputs, *kernel = shape_of(weight)
    grouped = reshape(emitter, weight, (groups, outputs // groups, inputs, *kernel))
    spatial = range(3, 3 + len(kernel))
    depth_first = permute(emitter, grouped, (0, *spatial, 2, 1))
    return reshape(emitter, depth_first, (groups, inputs * int(np.prod(kernel)), outputs // groups))


def channels_first(emitter: Emitter, product: relax.Expr, batch: int, outputs: Sequence[int]) -> relax.Expr:
    """[groups, batch·Πoutputs, N] as [batch, groups·N, *outputs]."""
    groups, _, columns = shape_of(product)
    positions = reshape(emitter, product, (groups, batch, *outputs, columns))
    spatial = range(2, 2 + len(outputs))
    channels = permute(emitter, positions, (1, 0, 2 + len(outputs), *spatial))
    return reshape(emitter, channels, (batch, groups * columns, *outputs))


def spatial_layouts(
    attributes: relax.op.op_attrs.Conv2DAttrs, rank: int, kernel_order: str
) -> tuple[list[int] | None, list[int] | None, list[int] | None]:
    """How to permute data, kernel and (inversely) result into batch or outputs, channels, spatial axes.

    None for a packed layout, which nmc's frontend does not produce.
    """
    axes = AXES[-rank:]
    data = axis_order(str(attributes.data_layout), "NC" + axes)
    kernel = axis_order(str(attributes.kernel_layout), kernel_order + axes)
    out = axis_order(str(attributes.out_layout) or str(attributes.data_layout), "NC" + axes)
    return data, kernel, out


def axis_order(layout: str, wanted: str) -> list[int] | None:
    """The permutation that brings a layout such as NHWC into another such as NCHW; None if letters differ."""
    return [layout.index(axis) for axis in wanted] if sorted(layout) == sorted(wanted) else None


RULES: Mapping[str, Rule] = {f"relax.nn.conv{rank}d": _convolution for rank in (1, 2, 3)}


@tvm.transform.module_pass(opt_level=0, name="nmc.LowerConvolution")
def lower_convolution(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to main."""
    return rewrite_float_calls(module, RULES)
