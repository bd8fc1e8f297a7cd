"""Copies of a whole buffer disappear where all who write and read the buffer can use its place in the copy.

`forwarding.py` moves a single writer away from a single reader; here there may be many of both. Keys that are an output of
the region and enter a product are written to the output's place, and the product reads them there.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from targets.gemm_accel.codegen.buffers import Buffer, Place
from targets.gemm_accel.codegen.nodes import Copy, Depthwise, Elementwise, Gather, Gemm, Node, Operation
from targets.gemm_accel.codegen.orders import in_memory_order
from targets.gemm_accel.codegen.views import View, element_range, merged

LARGEST_GROWTH = 1.25
"""How much larger than the buffer the one it is copied into may be, as that one then lives as long."""


def without_aliases(nodes: Sequence[Node]) -> list[Node]:
    """The nodes without the copies of whole buffers whose place in the copy serves all."""
    writers: dict[Buffer, list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        writers[node.result].append(index)
    places: dict[Buffer, View] = {}
    kept = []
    for index, node in enumerate(nodes):
        place = _whole_place(node)
        if place is not None and isinstance(node.operation, Copy):
            source = node.operation.source.buffer
            others = [nodes[other].destination for other in writers[node.result] if other != index]
            if (
                source not in places
                and _end(node.result, places) is not source
                and max(writers[source], default=index) < index
                and all(_apart(place, other) for other in others)
            ):
                places[source] = place
                continue
        kept.append(node)
    return [_redirected(node, places) for node in kept]


def _whole_place(node: Node) -> View | None:
    """Where a copy of a whole buffer puts it, densely and in the order of its memory; None for any other node."""
    if not isinstance(node.operation, Copy):
        return None
    source, place = node.operation.source, node.destination
    small = place.buffer.size <= LARGEST_GROWTH * source.buffer.size
    if source.buffer.place is not Place.INTERMEDIATE or not small or not place.is_plain:
        return None
    ordered = in_memory_order([place], source)
    if ordered is None:
        return None
    factors = merged(ordered[0].factors)
    return ordered[0] if not factors or [factor.strides for factor in factors] == [(1,)] else None


def _apart(one: View, other: View) -> bool:
    """Whether two views reach no element of their buffer in common, by the ranges they lie in."""
    (start, stop), (first, last) = element_range(one), element_range(other)
    return last <= start or first >= stop


def _end(buffer: Buffer, places: Mapping[Buffer, View]) -> Buffer:
    """The buffer that takes the place of this one in the end."""
    while buffer in places:
        buffer = places[buffer].buffer
    return buffer


def _redirected(node: Node, places: Mapping[Buffer, View]) -> Node:
    """The node with each of its views where the elements lie now."""

    def there(view: View) -> View:
        while view.buffer in places:
            place = places[view.buffer]
            origin = (view.origin[0] + place.origin[0], *view.origin[1:])
            view = replace(view, buffer=place.buffer, origin=origin)
        return view

    operation: Operation = node.operation
    if isinstance(operation, Gemm):
        operation = replace(operation, a=there(operation.a), b=there(operation.b))
    elif isinstance(operation, Depthwise):
        operation = replace(operation, x=there(operation.x))
    elif isinstance(operation, Gather):
        operation = replace(operation, table=there(operation.table), index=there(operation.index))
    elif isinstance(operation, Elementwise):
        operation = replace(operation, operands=tuple(map(there, operation.operands)))
    else:
        operation = replace(operation, source=there(operation.source))
    return replace(node, operation=operation, destination=there(node.destination))
