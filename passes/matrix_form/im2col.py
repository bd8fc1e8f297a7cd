"""im2col: the windows of a tensor as the rows of a matrix. The same definition for floats and integers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tvm import ir, relax, te, tirx

from passes.matrix_form.composite import call_composite, call_kernel
from passes.rewrite import Emitter, dtype_of, shape_of

IM2COL = "gemm_accel.im2col"


@dataclass(frozen=True)
class Window:
    """The geometry of a sliding window over the spatial axes of [batch, channels, *spatial]; one number an axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads_begin: tuple[int, ...]
    pads_end: tuple[int, ...]
    groups: int = 1

    def output_extents(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """How many positions the window takes along each spatial axis."""
        return tuple(
            (extent + begin + end - dilation * (kernel - 1) - 1) // stride + 1
            for extent, kernel, stride, dilation, begin, end in zip(
                spatial,
                self.kernel,
                self.strides,
                self.dilations,
                self.pads_begin,
                self.pads_end,
                strict=True,
            )
        )


def im2col(emitter: Emitter, x: relax.Expr, window: Window, fill: float = 0.0) -> relax.Call:
    """Windows of x [batch, channels, *spatial] as [groups, batch·Πoutput, Πkernel·channels/groups].

    Rows run over batch and output positions, columns over kernel positions and then the channels of the group.
    Positions in the padding hold `fill`.
    """
    batch, channels, *spatial = shape_of(x)
    outputs = window.output_extents(spatial)
    group_channels = channels // window.groups
    rows, columns = batch * int(np.prod(outputs)), int(np.prod(window.kernel)) * group_channels

    def body(inner: Emitter, parameters: Sequence[relax.Var]) -> relax.Expr:
        kernel = inner.builder.add_func(_kernel(parameters[0], window, outputs, fill), "im2col")
        full_shape = [window.groups, batch, *outputs, *window.kernel, group_channels]
        windows = inner.emit(call_kernel(inner, kernel, parameters, full_shape, dtype_of(x)))
        return relax.op.reshape(windows, [window.groups, rows, columns])

    attributes = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(window).items()}
    return call_composite(emitter, IM2COL, [x], body, {**attributes, "fill": fill})


def window_of(attributes: dict[str, Any]) -> tuple[Window, float]:
    """The window and the fill value that an im2col function was built from, read back from its attributes."""
    lists = ("kernel", "strides", "dilations", "pads_begin", "pads_end")
    extents = {name: tuple(int(v) for v in attributes[name]) for name in lists}
    return Window(**extents, groups=int(str(attributes["groups"]))), float(str(attributes["fill"]))


def _kernel(x: relax.Expr, window: Window, outputs: Sequence[int], fill: float) -> tirx.PrimFunc:
    batch, channels, *spatial = shape_of(x)
    dtype, rank = dtype_of(x), len(spatial)
    group_channels = channels // window.groups
    source = te.placeholder((batch, channels, *spatial), dtype, name="x")

    def element(group: tirx.Var, image: tirx.Var, *axes: tirx.Var) -> ir.Expr:
        output, kernel, channel = axes[:rank], axes[rank : 2 * rank], axes[-1]
        position = [
            o * stride + k * dilation - begin
            for o, k, stride, dilation, begin in zip(
                output, kernel, window.strides, window.dilations, window.pads_begin, strict=True
            )
        ]
        value = source[(image, group * group_channels + channel, *position)]
        inside = [tirx.all(p >= 0, p < extent) for p, extent in zip(position, spatial, strict=True)]
        if not any(window.pads_begin) and not any(window.pads_end):
            return value
        return tirx.if_then_else(tirx.all(*inside), value, tirx.const(fill, dtype))

    shape = (window.groups, batch, *outputs, *window.kernel, group_channels)
    result = te.compute(shape, element, name="im2col")
    return te.create_prim_func([source, result]).without_attr("global_symbol")
