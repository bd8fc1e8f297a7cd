"""Graph networks: messages along edges, summed where they arrive."""

import numpy as np

from tests.architectures.layers import linear
from tests.architectures.writer import Architecture, Writer


def message_passing(nodes: int = 10, edges: int = 24, width: int = 8, given: bool = False) -> Architecture:
    """Messages of gathered sources and edges, added up by ScatterElements and then by ScatterND.

    The edges are an input when `given`, else constants.
    """
    writer = Writer("message_passing")
    features = writer.image("features", nodes, width)
    attributes = writer.image("attributes", edges, 4)
    if given:
        ends = writer.integers("edges", 0, nodes, 2, edges)
    else:
        ends = writer.constant(np.random.default_rng(5).integers(0, nodes, (2, edges)), np.int64)
    source, target = (writer.node("Gather", ends, writer.constant(row, np.int64), axis=0) for row in (0, 1))
    tensor = features
    for spread in (_by_elements, _by_rows):
        sent = writer.node("Concat", writer.node("Gather", tensor, source), attributes, axis=1)
        message = writer.node("Relu", linear(writer, sent, width + 4, width))
        arrived = spread(writer, message, target, nodes, edges, width)
        both = writer.node("Concat", tensor, arrived, axis=1)
        tensor = writer.node("Tanh", linear(writer, both, 2 * width, width))
    total = writer.node("ReduceSum", tensor, writer.shape(0))
    return writer.finish(linear(writer, total, width, 3), tensor)


def _by_elements(writer: Writer, message: str, target: str, nodes: int, edges: int, width: int) -> str:
    zeros = writer.constant(np.zeros((nodes, width)))
    column = writer.node("Unsqueeze", target, writer.shape(1))
    everywhere = writer.node("Expand", column, writer.shape(edges, width))
    return writer.node("ScatterElements", zeros, everywhere, message, axis=0, reduction="add")


def _by_rows(writer: Writer, message: str, target: str, nodes: int, edges: int, width: int) -> str:
    zeros = writer.constant(np.zeros((nodes, width)))
    column = writer.node("Unsqueeze", target, writer.shape(1))
    return writer.node("ScatterND", zeros, column, message, reduction="add")
