"""What quantisation knows of a tensor: the range its values take, and the integers that represent them."""

from dataclasses import dataclass

DATA_BITS = 16
"""The width of tensors and constants, unless accuracy needs more or a product is asked to read less."""

WIDE_BITS = 32

MINUS_INFINITY = -1.0e30
"""Values below this stand for minus infinity, as in attention masks: a row of scores that is masked whole has no other."""


MASKED = -(2.0**126)
"""What an input's minus infinity becomes: a quarter of float32's range, so that sums of four stay finite."""


@dataclass(frozen=True)
class TensorRange:
    """The smallest and the largest value that calibration saw, both finite."""

    low: float
    high: float
    ordinary_low: float | None = None
    """The smallest value that is no stand-in for minus infinity; None where that is `low`."""

    @property
    def magnitude(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))

    def union(self, other: "TensorRange") -> "TensorRange":
        """The smallest range that holds both."""
        lows = [low for part in (self, other) if (low := part.lowest_ordinary) > MINUS_INFINITY]
        low, high = min(self.low, other.low), max(self.high, other.high)
        return TensorRange(low, high, min(lows) if lows and min(lows) > low else None)

    @property
    def lowest_ordinary(self) -> float:
        """The smallest value that is no stand-in for minus infinity, or `low` where there is none."""
        return self.low if self.ordinary_low is None else self.ordinary_low


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
