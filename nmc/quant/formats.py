"""What quantisation knows of a tensor: the range its values take, and the integers that represent them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorRange:
    """The smallest and the largest value that calibration saw, both finite."""

    low: float
    high: float

    @property
    def magnitude(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))

    def union(self, other: "TensorRange") -> "TensorRange":
        """The smallest range that holds both."""
        return TensorRange(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class TensorFormat:
    """Signed integers of `bits` bits that stand for integer · scale; scale > 0."""

    scale: float
    bits: int

    @property
    def dtype(self) -> str:
        """The element type, such as int16."""
        return f"int{self.bits}"

    @property
    def highest(self) -> int:
        """The largest integer of the format."""
        return 2 ** (self.bits - 1) - 1
