"""im2col as a view: the window's positions and its taps become factors of the source's strides."""

from dataclasses import replace

from passes.matrix_form.im2col import Window
from targets.gemm_accel.codegen.views import (
    Axis,
    Factor,
    View,
    merged,
    moved,
    reshaped,
    scaled,
    with_coordinate,
    without_satisfied_limits,
)


def windowed(view: View, window: Window, fill: int) -> View | None:
    """Windows of [batch, channels, *spatial] as [groups, batch·outputs, taps·group channels].

    None when an axis of the source is no plain digit, or another fill is already part of the view.
    """
    batch, channels, *spatial = view.shape
    split = reshaped(view, (batch, window.groups, channels // window.groups, *spatial))
    if split is None or any(len(merged(axis)) > 1 for axis in split.axes[3:]):
        return None
    outputs = window.output_extents(spatial)
    padded = any(window.pads_begin) or any(window.pads_end)
    if padded and split.limits and split.fill != fill:
        return None
    positions: list[Factor] = []
    taps: list[Factor] = []
    for dimension, extent in enumerate(spatial):
        split, position, tap = _slide(split, window, dimension, extent, outputs[dimension], fill)
        width = len(split.origin)
        positions = [*(_wider(factor, width) for factor in positions), position]
        taps = [*(_wider(factor, width) for factor in taps), tap]
    images, groups, group_channels = split.axes[:3]
    axes = (groups, (*images, *positions), (*taps, *group_channels))
    return without_satisfied_limits(replace(split, axes=tuple(_without_ones(axis) for axis in axes)))


def _slide(
    view: View, window: Window, dimension: int, extent: int, outputs: int, fill: int
) -> tuple[View, Factor, Factor]:
    """The view with the coordinate of a spatial dimension added, and the factors of its positions and its
    taps."""
    axis = merged(view.axes[3 + dimension])
    strides = axis[0].strides if axis else (0,) * len(view.origin)
    stride, dilation = window.strides[dimension], window.dilations[dimension]
    begin = -window.pads_begin[dimension]
    view = with_coordinate(replace(view, origin=moved(view.origin, strides, begin)), begin, extent, fill)
    position = Factor(outputs, (*scaled(strides, stride), stride))
    tap = Factor(window.kernel[dimension], (*scaled(strides, dilation), dilation))
    return view, position, tap


def _wider(factor: Factor, width: int) -> Factor:
    return Factor(factor.extent, factor.strides + (0,) * (width - len(factor.strides)))


def _without_ones(axis: Axis) -> Axis:
    return tuple(factor for factor in axis if factor.extent != 1)
