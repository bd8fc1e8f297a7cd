"""Kernels: nodes that run together, tile by tile, with their intermediate values on chip.

All values of a kernel are walked in one order of elements, its `axes`: for a gemm [groups, M, N], for a
depthwise convolution [batch, height, width, channels], for element-wise operations the digits that all
operands have in common. A value is the result of one node; it is written to memory only where a node
outside the kernel reads it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from targets.gemm_accel.codegen.buffers import Buffer
from targets.gemm_accel.codegen.nodes import Copy, Depthwise, Elementwise, Gemm, Node
from targets.gemm_accel.codegen.views import (
    Axis,
    View,
    common_extents,
    cut,
    merged,
    permuted,
    reshaped,
)

OverAxes = Callable[[View], View | None]
"""Turns a flat view into one over a kernel's axes, where it can."""


@dataclass(frozen=True)
class Operand:
    """What a step reads: the value of an earlier node of the kernel (its index), or a view over the
    kernel's axes."""

    value: int | None
    view: View | None
    dtype: str


@dataclass(frozen=True, eq=False)
class Step:
    """An element-wise node of a kernel and its operands."""

    node: Node
    operands: tuple[Operand, ...]


@dataclass(frozen=True, eq=False)
class Kernel:
    """`head` (if any) produces value 0, the steps the following ones. `stores` maps a value to the places
    it is written to, views over the axes; a value that is in none stays on chip."""

    head: Node | None
    steps: tuple[Step, ...]
    extents: tuple[int, ...]
    stores: dict[int, tuple[View, ...]]

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes in order; the index of each is the number of its value."""
        heads = () if self.head is None else (self.head,)
        return (*heads, *(step.node for step in self.steps))

    @property
    def layer(self) -> str:
        """The layer of the head, or of the first step."""
        return self.nodes[0].layer

    def views(self) -> tuple[View, ...]:
        """The views over the axes that the steps read, each once."""
        return self._views

    @cached_property
    def _views(self) -> tuple[View, ...]:
        views = [operand.view for step in self.steps for operand in step.operands]
        return tuple(dict.fromkeys(view for view in views if view is not None))


def kernel_of(nodes: Sequence[Node], stored: Sequence[bool]) -> Kernel | None:
    """The kernel of these nodes, of which those flagged write their result; None when no axes fit all their
    views.

    Only the first node may be other than element-wise or a copy, and all flat views are in the same order.
    A copy of another node's value is one more place that this value is written to; who reads that place gets the value.
    """
    head = None if isinstance(nodes[0].operation, Elementwise | Copy) else nodes[0]
    over_axes = _axes_function(head, [view for node in nodes for view in flat_views(node)])
    if over_axes is None:
        return None
    values: list[Node] = []
    held: list[tuple[View, int]] = []
    steps: list[Step] = []
    places: list[tuple[int, View | None]] = []
    for node, is_stored in zip(nodes, stored, strict=True):
        copied = _value_read(held, node.operation.source) if isinstance(node.operation, Copy) else None
        if copied is not None:
            held.append((node.destination, copied))
            places.append((copied, over_axes(node.destination)))
            continue
        if is_stored:
            places.append((len(values), over_axes(node.destination)))
        if node is not head:
            step = _step(node, values, held, over_axes)
            if step is None:
                return None
            steps.append(step)
        held.append((node.destination, len(values)))
        values.append(node)
    space = over_axes(nodes[0].destination)
    if space is None or any(view is None for _, view in places):
        return None
    stores = {
        value: tuple(view for v, view in places if v == value and view is not None) for value, _ in places
    }
    return Kernel(head, tuple(steps), space.shape, stores)


def _step(
    node: Node, earlier: Sequence[Node], held: Sequence[tuple[View, int]], over_axes: OverAxes
) -> Step | None:
    """The node as a step after others; None when a view of it does not fit the axes."""
    operands = []
    for source in node.sources:
        value = _value_read(held, source)
        view = over_axes(source) if value is None else None
        if value is None and view is None:
            return None
        operands.append(Operand(value, view, source.buffer.dtype if value is None else earlier[value].dtype))
    return Step(node, tuple(operands))


def flat_views(node: Node) -> list[View]:
    """The views of a node that walk the order of its result."""
    views = list(node.sources) if isinstance(node.operation, Elementwise | Copy) else []
    return [*views, node.destination]


def _value_read(held: Sequence[tuple[View, int]], source: View) -> int | None:
    """The value that a view reads; `held` says which value lies where."""
    for place, value in held:
        if same_elements(place, source):
            return value
    return None


def same_elements(a: View, b: View) -> bool:
    """Whether two flat views walk the same elements in the same order."""
    return (
        a.buffer is b.buffer
        and a.origin == b.origin
        and a.limits == b.limits
        and merged(a.factors) == merged(b.factors)
    )


def _axes_function(head: Node | None, flat: Sequence[View]) -> OverAxes | None:
    """A function that turns a flat view into one over the kernel's axes (None where it cannot)."""
    if head is not None:
        return lambda view: head_axes(head, view)
    digits = common_extents([view.axes[0] for view in flat])
    if digits is None:
        return None
    extents = _fewest(digits, [cut(view.axes[0], digits) for view in flat])
    return lambda view: replace(view, axes=_one_each(cut(view.axes[0], extents)))


def _one_each(axis: Axis) -> tuple[Axis, ...]:
    return tuple((factor,) for factor in axis)


def _fewest(digits: Sequence[int], cuts: Sequence[Axis]) -> tuple[int, ...]:
    """The digits with neighbours joined where every view allows it."""
    extents: list[int] = []
    for position, extent in enumerate(digits):
        joins = position > 0 and all(
            axis[position - 1].strides == tuple(s * extent for s in axis[position].strides) for axis in cuts
        )
        if joins:
            extents[-1] *= extent
        else:
            extents.append(extent)
    return tuple(extents)


def head_axes(head: Node, view: View) -> View | None:
    """A flat view in the order of the head's result, over the axes of the head's kernel; None where it
    cannot be cut."""
    operation = head.operation
    if isinstance(operation, Gemm):
        groups, rows, _ = operation.a.shape
        cut_view = reshaped(view, (rows, groups, operation.b.shape[2]))
        return None if cut_view is None else permuted(cut_view, (1, 0, 2))
    if isinstance(operation, Depthwise):
        return reshaped(view, depthwise_shape(operation))
    return reshaped(view, (view.size,))


@lru_cache(maxsize=64)
def depthwise_shape(operation: Depthwise) -> tuple[int, int, int, int]:
    """[batch, output height, output width, channels] of a depthwise convolution."""
    batch, channels, *spatial = operation.x.shape
    height, width = operation.window.output_extents(spatial)
    return batch, height, width, channels


def buffers_read(kernel: Kernel) -> set[Buffer]:
    """The buffers that the kernel reads from memory."""
    heads = [] if kernel.head is None else [view.buffer for view in kernel.head.sources]
    return {*heads, *(view.buffer for view in kernel.views())}


def elements(extents: Sequence[int]) -> int:
    """The number of elements of a tile or kernel."""
    return math.prod(extents)
