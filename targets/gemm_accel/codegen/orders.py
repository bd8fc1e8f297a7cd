"""Walking the elements of flat views in another order: that of one of them in memory."""

from collections.abc import Sequence
from dataclasses import replace

from targets.gemm_accel.codegen.views import Axis, View, common_extents, cut, merged


def is_whole(view: View) -> bool:
    """Whether a flat view walks its whole buffer in memory order."""
    factors = merged(view.factors)
    dense = not factors or (len(factors) == 1 and factors[0].strides == (1,))
    return view.is_plain and view.origin == (0,) and view.size == view.buffer.size and dense


def in_memory_order(views: Sequence[View], model: View) -> list[View] | None:
    """The flat views walked in the order in which `model`, which walks with them, lies in its buffer.

    None unless the model reaches every element of its buffer exactly once, or the views cannot be cut alike.
    """
    if not model.is_plain or model.origin != (0,) or model.size != model.buffer.size:
        return None
    extents = common_extents([view.axes[0] for view in [model, *views]])
    if extents is None:
        return None
    digits = cut(model.axes[0], extents)
    order = sorted(range(len(digits)), key=lambda index: -digits[index].strides[0])
    stride = 1
    for index in reversed(order):
        if digits[index].strides[0] != stride:
            return None
        stride *= digits[index].extent
    return [replace(view, axes=(_in_order(view, extents, order),)) for view in views]


def _in_order(view: View, extents: Sequence[int], order: Sequence[int]) -> Axis:
    digits = cut(view.axes[0], extents)
    return merged([digits[index] for index in order])
