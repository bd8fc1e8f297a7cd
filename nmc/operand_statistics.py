"""What calibration keeps of the operands of products: the range of every column, and some rows."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tvm import ir, relax

from passes.narrow_products import is_product
from passes.rewrite import bindings_of

ELEMENTS_A_SAMPLE = 1 << 14
"""Elements kept of each operand for each calibration sample, in whole rows."""
MOST_ELEMENTS = 1 << 19
"""Elements kept of each operand in all."""
LARGEST_ROWS = 4
"""Groups whose row with the largest value is kept beyond those."""
SPREAD = 0.6180339887498949
"""The golden ratio: multiples of it modulo 1 begin the rows of each sample at another place."""

Array = NDArray[np.float32]


@dataclass
class Operand:
    """One operand [groups, rows, columns] of a product."""

    halves: list["Half"] = field(default_factory=list)
    """The samples with even and with odd numbers apart, so that what is chosen on one can be tried on the other."""
    samples: int = 0

    @property
    def low(self) -> Array:
        """[groups, columns]: the smallest value of each column on all samples."""
        return np.minimum.reduce([half.low for half in self.halves])

    @property
    def high(self) -> Array:
        """[groups, columns]: the largest value of each column on all samples."""
        return np.maximum.reduce([half.high for half in self.halves])

    @property
    def rows(self) -> Array:
        """The rows that were kept, [groups, rows, columns]."""
        return np.concatenate([half.rows for half in self.halves], axis=1)


@dataclass
class Half:
    """What every other sample had: the range of each column, and some rows."""

    low: Array
    high: Array
    kept: list[Array] = field(default_factory=list)

    @property
    def rows(self) -> Array:
        """The rows that were kept, [groups, rows, columns]."""
        return np.concatenate(self.kept, axis=1)

    def extend(self, low: Array, high: Array, rows: Array | None) -> None:
        """Takes in one sample."""
        np.minimum(self.low, low, out=self.low)
        np.maximum(self.high, high, out=self.high)
        if rows is not None:
            self.kept.append(rows)


class OperandStatistics:
    """Collects the operands of the products of a module as calibration meets them."""

    def __init__(self, module: ir.IRModule):
        """`module` is in matrix form."""
        products = [b.value for b in bindings_of(module["main"]) if is_product(module, b.value)]
        self.names = {a.name for call in products for a in call.args if isinstance(a, relax.Var)}
        self.operands: dict[str, Operand] = {}

    def observe(self, name: str, array: np.ndarray) -> None:
        """Takes in a tensor of a sample, if it is an operand of a product."""
        if name not in self.names or array.size == 0:
            return
        operand = self.operands.setdefault(name, Operand())
        low, high = array.min(axis=1), array.max(axis=1)
        if len(operand.halves) < 2:
            operand.halves.append(Half(low.copy(), high.copy()))
        half = operand.halves[operand.samples % 2]
        half.extend(low, high, _some_rows(array, operand.samples) if _wants_rows(half) else None)
        operand.samples += 1


def _wants_rows(half: Half) -> bool:
    return 2 * sum(part.size for part in half.kept) < MOST_ELEMENTS


def _some_rows(array: Array, sample: int) -> Array:
    groups, rows, columns = array.shape
    count = min(rows, max(4, ELEMENTS_A_SAMPLE // (groups * columns)))
    begin = (sample * SPREAD) % 1.0
    places = ((np.arange(count) + begin) * rows / count).astype(int)
    # the few rows of the largest values are never left out: what clipping them costs must be seen
    largest = np.abs(array).max(axis=2).argmax(axis=1)[:LARGEST_ROWS]
    return array[:, np.union1d(places, largest)]
