"""The nodes of a region's graph: what is computed, on which views, into which buffer.

A node produces its result in a fixed order of elements, the order of its result buffer. The operands of an
element-wise node and the destination of every node are flat views: one axis that walks this order.
"""

from dataclasses import dataclass

import numpy as np

from nmc.pwl.quantised_table import QuantisedTable
from passes.matrix_form.im2col import Window
from targets.gemm_accel.codegen.buffers import Buffer
from targets.gemm_accel.codegen.views import View


@dataclass(frozen=True, eq=False)
class ColumnScale:
    """bias int64, multiplier int32 and shift int32, each [sets, columns]: sets is 1 or the number of
    groups."""

    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray

    @property
    def is_uniform(self) -> bool:
        """Whether all columns and groups have the same bias, multiplier and shift."""
        return all(bool((part == part.flat[0]).all()) for part in (self.bias, self.multiplier, self.shift))

    def spread(self, sets: int, columns: int) -> "ColumnScale":
        """A uniform scale for another number of columns."""
        parts = (np.full((sets, columns), part.flat[0]) for part in (self.bias, self.multiplier, self.shift))
        return ColumnScale(*parts)


@dataclass(frozen=True, eq=False)
class Gemm:
    """a [groups, M, K] · b [groups, K, N]; the result's order is [M, groups, N]."""

    a: View
    b: View
    scale: ColumnScale


@dataclass(frozen=True, eq=False)
class Depthwise:
    """Each channel of x [batch, channels, height, width] with its own kernel; weights [taps, channels].

    The result's order is [batch, output height, output width, channels].
    """

    x: View
    window: Window
    fill: int
    weights: np.ndarray
    scale: ColumnScale


@dataclass(frozen=True, eq=False)
class Elementwise:
    """hadamard (a, b; multipliers [m]), add (a, b; multipliers [ma, mb]) or pwl (x; table) of flat views."""

    kind: str
    operands: tuple[View, ...]
    multipliers: tuple[int, ...] = ()
    shift: int = 0
    table: QuantisedTable | None = None


@dataclass(frozen=True, eq=False)
class Copy:
    """The elements of a flat view, unchanged."""

    source: View


@dataclass(frozen=True, eq=False)
class Gather:
    """Rows of `table` [rows, *rest] by the int32 vector `index`, dense in memory; order [index, *rest]."""

    table: View
    index: View


Operation = Gemm | Depthwise | Elementwise | Copy | Gather


@dataclass(frozen=True, eq=False)
class Node:
    """An operation of a layer whose result of `dtype` is written through `destination`, a flat view of its
    buffer."""

    layer: str
    operation: Operation
    destination: View
    dtype: str

    @property
    def result(self) -> Buffer:
        """The buffer that the node writes, or writes a part of."""
        return self.destination.buffer

    @property
    def sources(self) -> tuple[View, ...]:
        """The views that the node reads."""
        operation = self.operation
        if isinstance(operation, Gemm):
            return operation.a, operation.b
        if isinstance(operation, Depthwise):
            return (operation.x,)
        if isinstance(operation, Gather):
            return operation.table, operation.index
        return operation.operands if isinstance(operation, Elementwise) else (operation.source,)
