"""The arithmetic of sliding windows that convolution and pooling share: explicit paddings from ONNX's
attributes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from nmc.frontend.values import ConversionError, Node


@dataclass(frozen=True)
class Window:
    """Kernel, strides, dilations (one number an axis) and paddings (begins, then ends) of a moving window."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Elements from the first to the last that a window touches, an axis each."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))


def window_of(node: Node, kernel: Sequence[int], sizes: Sequence[int]) -> Window:
    """Read the window of a convolution or pooling node over an input of the given spatial sizes."""
    rank = len(sizes)
    strides = _per_axis(node, "strides", rank)
    dilations = _per_axis(node, "dilations", rank)
    window = Window(tuple(kernel), strides, dilations, tuple(node.attributes.get("pads") or [0] * 2 * rank))
    mode = node.attributes.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        if len(window.pads) != 2 * rank:
            raise ConversionError(f"pads has {len(window.pads)} entries where {2 * rank} are needed")
        return window
    if mode == "VALID":
        return Window(window.kernel, strides, dilations, (0,) * 2 * rank)
    begins, ends = [], []
    for size, stride, extent in zip(sizes, strides, window.extent, strict=True):
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        small, large = total // 2, total - total // 2
        begins.append(large if mode == "SAME_LOWER" else small)
        ends.append(small if mode == "SAME_LOWER" else large)
    return Window(window.kernel, strides, dilations, (*begins, *ends))


def _per_axis(node: Node, attribute: str, rank: int) -> tuple[int, ...]:
    numbers = tuple(int(i) for i in node.attributes.get(attribute) or [1] * rank)
    if len(numbers) != rank:
        raise ConversionError(f"{attribute} has {len(numbers)} entries where {rank} are needed")
    return numbers
