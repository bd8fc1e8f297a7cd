"""Copies disappear where the producer of what they copy can write to their place itself.

A concatenation's parts and the region's outputs are copies at first; most of them are the only reader of
what they copy.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from targets.gemm_accel.codegen.buffers import Buffer, Place
from targets.gemm_accel.codegen.kernels import kernel_of
from targets.gemm_accel.codegen.nodes import Copy, Node
from targets.gemm_accel.codegen.orders import in_memory_order, is_whole


def forwarded(nodes: Sequence[Node]) -> list[Node]:
    """The nodes without the copies whose source can be written to the copy's destination at once."""
    result: list[Node | None] = list(nodes)
    readers = Counter(view.buffer for node in nodes for view in node.sources)
    writers: dict[Buffer, list[int]] = defaultdict(list)
    for index, writer in enumerate(nodes):
        writers[writer.result].append(index)
    for index in reversed(range(len(nodes))):
        node = result[index]
        if node is None or not isinstance(node.operation, Copy):
            continue
        source = node.operation.source.buffer
        if source.place is not Place.INTERMEDIATE or readers[source] != 1 or len(writers[source]) != 1:
            continue
        producer = result[writers[source][0]]
        moved = None if producer is None else _writing_to(producer, node)
        if moved is not None:
            result[writers[source][0]] = moved
            result[index] = None
            writers[node.result] = [writers[source][0] if w == index else w for w in writers[node.result]]
    return [node for node in result if node is not None]


def _writing_to(producer: Node, copy: Node) -> Node | None:
    """The producer with the copy's destination; None when it cannot write there."""
    assert isinstance(copy.operation, Copy)
    if not is_whole(producer.destination):
        return None
    destinations = in_memory_order([copy.destination], copy.operation.source)
    if destinations is None:
        return None
    moved = replace(producer, destination=destinations[0])
    return moved if kernel_of([moved], [True]) is not None else None
