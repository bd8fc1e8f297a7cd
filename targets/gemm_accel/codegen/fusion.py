"""Groups the nodes of a graph into kernels: an element-wise node joins the kernel that computes one of its
operands.

Its own order of elements then becomes the kernel's. A kernel runs where its last node stood, so a node
joins only if nothing outside the kernel has read the kernel's results before.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from targets.gemm_accel.codegen.buffers import Buffer, Place
from targets.gemm_accel.codegen.kernels import Kernel, kernel_of, same_elements
from targets.gemm_accel.codegen.nodes import Copy, Elementwise, Gather, Node
from targets.gemm_accel.codegen.orders import in_memory_order, is_whole
from targets.gemm_accel.codegen.views import View

MAXIMUM_NODES = 16
"""Nodes of a kernel: longer chains gain little and would need much of the scratchpad."""


@dataclass
class _Group:
    """Nodes that run together, by their index in the graph; `position` is where the group runs: at its last
    node, but for copies, which may well be made earlier than they stand."""

    members: list[int]
    nodes: list[Node]
    position: int


@dataclass
class _Fusion:
    """The groups formed so far, and who reads and writes each buffer."""

    nodes: Sequence[Node]
    table_slots: int
    groups: list[_Group] = field(default_factory=list)
    readers: dict[Buffer, list[int]] = field(default_factory=lambda: defaultdict(list))
    group_of_writer: dict[Buffer, list[_Group]] = field(default_factory=lambda: defaultdict(list))

    def add(self, index: int) -> None:
        """Puts a node into the group of an operand's producer if it can, else into one of its own."""
        node = self.nodes[index]
        for group in self._candidates(node):
            joined = self._joined(group, node, index)
            if joined is not None:
                group.members.append(index)
                group.nodes.append(joined)
                if not isinstance(joined.operation, Copy):
                    group.position = index
                self.group_of_writer[joined.result].append(group)
                return
        group = _Group([index], [node], index)
        self.groups.append(group)
        self.group_of_writer[node.result].append(group)

    def _candidates(self, node: Node) -> list[_Group]:
        """The groups that compute an operand, the latest first."""
        if not isinstance(node.operation, Elementwise | Copy):
            return []
        found = {id(g): g for view in node.sources for g in self.group_of_writer[view.buffer]}
        return sorted(found.values(), key=lambda group: -group.position)

    def _joined(self, group: _Group, node: Node, index: int) -> Node | None:
        """The node in the group's order, when it may join."""
        first = group.nodes[0].operation
        if isinstance(first, Copy | Gather) or len(group.nodes) >= MAXIMUM_NODES:
            return None
        written = {member.result for member in group.nodes}
        waits = not isinstance(node.operation, Copy)
        if waits and any(
            r < index and r not in group.members for buffer in written for r in self.readers[buffer]
        ):
            return None
        joined = _in_order_of(group.nodes, node)
        if joined is None or not _reads_only_values(group.nodes, joined):
            return None
        nodes = [*group.nodes, joined]
        if _table_count(nodes) > self.table_slots:
            return None
        return joined if kernel_of(nodes, [True] * len(nodes)) is not None else None

    def kernel(self, group: _Group) -> Kernel:
        """The kernel of a finished group: a value is stored when anything but the group's own nodes reads
        it."""
        members = set(group.members)
        stored = [
            node.result.place is Place.OUTPUT
            or any(reader not in members for reader in self.readers[node.result])
            for node in group.nodes
        ]
        if not any(stored) and not any(isinstance(node.operation, Copy) for node in group.nodes):
            stored[-1] = True
        kernel = kernel_of(group.nodes, stored)
        assert kernel is not None, "nodes join a kernel only if they fit its axes"
        return kernel


def kernels_of(nodes: Sequence[Node], table_slots: int) -> list[Kernel]:
    """The kernels of a graph in an order in which they can run; none uses more than `table_slots` tables."""
    fusion = _Fusion(nodes, table_slots)
    for index, node in enumerate(nodes):
        for view in node.sources:
            fusion.readers[view.buffer].append(index)
    for index in range(len(nodes)):
        fusion.add(index)
    groups = sorted(fusion.groups, key=lambda group: group.position)
    return [fusion.kernel(group) for group in groups]


def _in_order_of(nodes: Sequence[Node], node: Node) -> Node | None:
    """The node walking its elements as the group does: one of its operands is then a value of the group."""
    for source in node.sources:
        for member in nodes:
            if source.buffer is not member.result:
                continue
            if same_elements(source, member.destination):
                return node
            if is_whole(member.destination):
                views = in_memory_order([*node.sources, node.destination], source)
                if views is not None:
                    return _with_views(node, views[:-1], views[-1])
    return None


def _with_views(node: Node, operands: Sequence[View], destination: View) -> Node:
    if isinstance(node.operation, Copy):
        return replace(node, operation=Copy(operands[0]), destination=destination)
    assert isinstance(node.operation, Elementwise), "only these are walked in any order"
    return replace(node, operation=replace(node.operation, operands=tuple(operands)), destination=destination)


def _reads_only_values(nodes: Sequence[Node], node: Node) -> bool:
    """Whether what the node reads of the group's results are whole values, element by element."""
    return all(
        any(same_elements(source, member.destination) for member in nodes)
        for source in node.sources
        if any(source.buffer is member.result for member in nodes)
    )


def _table_count(nodes: Sequence[Node]) -> int:
    tables = [n.operation.table for n in nodes if isinstance(n.operation, Elementwise) and n.operation.table]
    return len({id(table) for table in tables})
