"""Pooling is a tree of maxima over slices, or windows times a constant column; no pooling operator is left.

Run on level 1, before `passes.lower_reductions`. A maximum over a window is a maximum along each axis in
turn. Padding takes no part in it: each padded place repeats an element that all windows over that place
hold anyway, so that no value stands for minus infinity. Averages are depthwise convolutions. Float only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import ir, relax

from passes.float_rules import rewrite_float_calls
from passes.lower_convolution import AXES, axis_order, channels_first, windows_times
from passes.matrix_along import matrix_along
from passes.matrix_form.im2col import Window
from passes.rewrite import Emitter, Rule, shape_of
from passes.views import concatenate, gather, permute, slice_axis

_op = relax.op


@dataclass(frozen=True)
class Slide:
    """A window's way along one axis of `extent` elements.

    At position p its tap k reads element p·stride + k·dilation - pad.
    """

    extent: int
    taps: int
    stride: int
    dilation: int
    pad: int
    positions: int

    @property
    def places(self) -> np.ndarray:
        """The elements that each window reads, [positions, taps]; places outside [0, extent) are padding."""
        starts = np.arange(self.positions)[:, None] * self.stride - self.pad
        return starts + np.arange(self.taps)[None, :] * self.dilation

    @property
    def inside(self) -> np.ndarray:
        """Which of the places are elements, [positions, taps]."""
        return (self.places >= 0) & (self.places < self.extent)

    @property
    def overhang(self) -> int:
        """How far the last window reaches beyond the axis; negative where it ends before."""
        return int(self.places.max()) - (self.extent - 1)


def _slides(call: relax.Call, shape: Sequence[int], out_shape: Sequence[int]) -> list[Slide]:
    attributes = call.attrs
    return [
        Slide(
            extent=shape[2 + i],
            taps=int(attributes.pool_size[i]),
            stride=int(attributes.strides[i]),
            dilation=int(attributes.dilation[i]),
            pad=int(attributes.padding[i]),
            positions=out_shape[2 + i],
        )
        for i in range(len(attributes.pool_size))
    ]


Lowering = Callable[[Emitter, relax.Call, relax.Expr, Sequence[int]], relax.Expr | None]
"""Lowers a pooling call over data in NC… to a result of the given shape in NC…, or refuses."""


def _in_channels_first(lower: Lowering) -> Rule:
    """The rule that brings data of any layout into NC…, lowers the pooling, and brings the result back."""

    def rule(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
        rank = len(shape_of(call)) - 2
        wanted = "NC" + AXES[-rank:]
        order = axis_order(str(call.attrs.layout), wanted)
        out = axis_order(str(call.attrs.out_layout) or str(call.attrs.layout), wanted)
        if order is None or out is None:
            return None
        x = permute(emitter, call.args[0], order)
        result = lower(emitter, call, x, [shape_of(call)[axis] for axis in out])
        if result is None:
            return None
        return permute(emitter, emitter.emit(result), [out.index(axis) for axis in range(rank + 2)])

    return rule


def _maximum(
    emitter: Emitter, call: relax.Call, x: relax.Expr, out_shape: Sequence[int]
) -> relax.Expr | None:
    slides = _slides(call, shape_of(x), out_shape)
    if not all(_only_repeats(slide) for slide in slides):
        return None
    for index, slide in enumerate(slides):
        x = _sliding_maximum(emitter, _padded_by_repeats(emitter, x, 2 + index, slide), 2 + index, slide)
    return x


def _repeated(slide: Slide, place: np.ndarray) -> np.ndarray:
    """For places in the padding the nearest elements that are whole dilations away; other places stay."""
    last = slide.extent - 1
    before, after = place % slide.dilation, last - (last - place) % slide.dilation
    return np.where(place < 0, before, np.where(place > last, after, place))


def _only_repeats(slide: Slide) -> bool:
    """Whether every window holds the elements that stand for its padding anyway."""
    stand_ins = _repeated(slide, slide.places)
    held = (stand_ins[:, :, None] == np.where(slide.inside, slide.places, -1)[:, None, :]).any(axis=2)
    return bool(held.all())


def _padded_by_repeats(emitter: Emitter, x: relax.Expr, axis: int, slide: Slide) -> relax.Expr:
    parts = [x]
    if slide.pad > 0:
        parts.insert(0, gather(emitter, x, axis, _repeated(slide, np.arange(-slide.pad, 0))))
    if slide.overhang > 0:
        beyond = np.arange(slide.extent, slide.extent + slide.overhang)
        parts.append(gather(emitter, x, axis, _repeated(slide, beyond)))
    return concatenate(emitter, parts, axis)


def _sliding_maximum(emitter: Emitter, x: relax.Expr, axis: int, slide: Slide) -> relax.Expr:
    """The maximum over the taps of each window along one axis of padded data."""
    if slide.stride == 1:
        return slice_axis(emitter, _doubled(emitter, x, axis, slide), axis, 0, slide.positions)
    taps = [
        slice_axis(emitter, x, axis, tap * slide.dilation, slide.positions, slide.stride)
        for tap in range(slide.taps)
    ]
    while len(taps) > 1:
        pairs = [emitter.emit(_op.maximum(a, b)) for a, b in zip(taps[::2], taps[1::2], strict=False)]
        taps = pairs + taps[2 * len(pairs) :]
    return taps[0]


def _doubled(emitter: Emitter, x: relax.Expr, axis: int, slide: Slide) -> relax.Expr:
    """Maxima over windows of 1, 2, 4 … taps, the last two overlapping; for stride 1."""
    reach = 1
    while reach < slide.taps:
        step = min(reach, slide.taps - reach)
        count = shape_of(x)[axis] - step * slide.dilation
        first = slice_axis(emitter, x, axis, 0, count)
        x = emitter.emit(_op.maximum(first, slice_axis(emitter, x, axis, step * slide.dilation, count)))
        reach += step
    return x


def _average(
    emitter: Emitter, call: relax.Call, x: relax.Expr, out_shape: Sequence[int]
) -> relax.Expr | None:
    slides = _slides(call, shape_of(x), out_shape)
    result = _window_means(emitter, x, slides)
    if call.attrs.count_include_pad:
        return result
    counts = np.ones(())
    for slide in slides:
        counts = np.multiply.outer(counts, slide.inside.sum(axis=1))
    taps = np.prod([slide.taps for slide in slides])
    if (counts == taps).all():
        return result
    return (
        None if (counts == 0).any() else _op.multiply(result, emitter.constant((taps / counts)[None, None]))
    )


def _window_means(emitter: Emitter, x: relax.Expr, slides: Sequence[Slide]) -> relax.Expr:
    """The sum over each window, padding counted as zeros, divided by the number of taps."""
    batch, channels, *_ = shape_of(x)
    for index, slide in enumerate(slides):
        if slide.overhang < 0:
            x = slice_axis(emitter, x, 2 + index, 0, slide.extent + slide.overhang)
    window = Window(
        kernel=tuple(slide.taps for slide in slides),
        strides=tuple(slide.stride for slide in slides),
        dilations=tuple(slide.dilation for slide in slides),
        pads_begin=tuple(slide.pad for slide in slides),
        pads_end=tuple(max(slide.overhang, 0) for slide in slides),
        groups=channels,
    )
    taps = int(np.prod(window.kernel))
    product = windows_times(emitter, x, window, emitter.constant(np.full((channels, taps, 1), 1.0 / taps)))
    return channels_first(emitter, product, batch, [slide.positions for slide in slides])


def _adaptive_average(
    emitter: Emitter, call: relax.Call, x: relax.Expr, out_shape: Sequence[int]
) -> relax.Expr | None:
    """Output i of O averages elements ⌊i·S/O⌋ to ⌈(i+1)·S/O⌉ of S: equal windows where O divides S."""
    extents, outputs = shape_of(x)[2:], out_shape[2:]
    if all(output == 1 for output in outputs):
        return _op.mean(x, axis=list(range(2, len(out_shape))), keepdims=True)
    if not any(extent % output for extent, output in zip(extents, outputs, strict=True)):
        ratios = [extent // output for extent, output in zip(extents, outputs, strict=True)]
        slides = [
            Slide(extent, taps=ratio, stride=ratio, dilation=1, pad=0, positions=output)
            for extent, ratio, output in zip(extents, ratios, outputs, strict=True)
        ]
        return _window_means(emitter, x, slides)
    for index, (extent, output) in enumerate(zip(extents, outputs, strict=True)):
        starts = np.arange(output) * extent // output
        ends = -(-(np.arange(output) + 1) * extent // output)
        places = np.arange(extent)[None, :]
        inside = (places >= starts[:, None]) & (places < ends[:, None])
        x = matrix_along(emitter, x, inside / inside.sum(axis=1, keepdims=True), 2 + index)
    return x


RULES: Mapping[str, Rule] = {
    f"relax.nn.{kind}_pool{rank}d": _in_channels_first(lower)
    for kind, lower in (("max", _maximum), ("avg", _average), ("adaptive_avg", _adaptive_average))
    for rank in (1, 2, 3)
}


@tvm.transform.module_pass(opt_level=0, name="nmc.LowerPooling")
def lower_pooling(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to main."""
    return rewrite_float_calls(module, RULES)
