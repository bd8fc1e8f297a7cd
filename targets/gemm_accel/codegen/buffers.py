"""Buffers: what a view looks at. Where a buffer lies is decided later, by the plan of the DRAM."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

BYTES = {"int8": 1, "int16": 2, "int32": 4, "int64": 8}
"""Size of an element of each type that a tensor may have."""


class Place(Enum):
    """What a buffer is to the region; constants lie in the constant region, everything else in the arena."""

    INPUT = "input"
    OUTPUT = "output"
    CONSTANT = "constant"
    INTERMEDIATE = "intermediate"


@dataclass(frozen=True, eq=False)
class Buffer:
    """`size` elements of `dtype`, compared by identity; `value` holds a constant's elements, flat."""

    name: str
    size: int
    dtype: str
    place: Place
    value: np.ndarray | None = None

    @property
    def element_bytes(self) -> int:
        """Bytes of an element."""
        return BYTES[self.dtype]

    @property
    def bytes(self) -> int:
        """Bytes of the whole buffer."""
        return self.size * self.element_bytes
