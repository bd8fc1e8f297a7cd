"""Space in the scratchpad for one kernel, and the slots that its tiles take turns in."""

from collections.abc import Hashable
from dataclasses import dataclass, field

ALIGNMENT_BYTES = 16


def aligned(size: int) -> int:
    """The size rounded up to the alignment of a slot."""
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


@dataclass
class Slots:
    """Places of one size that tiles take in turn. A tile that is still in its place need not be loaded
    again."""

    addresses: tuple[int, ...]
    _keys: list[Hashable] = field(default_factory=list)
    _next: int = 0

    def place(self, key: Hashable) -> tuple[int, bool]:
        """The address for the tile of this key, and whether the tile is there already."""
        if key in self._keys:
            return self.addresses[self._keys.index(key)], True
        if len(self._keys) < len(self.addresses):
            self._keys.append(key)
            return self.addresses[len(self._keys) - 1], False
        address = self.addresses[self._next]
        self._keys[self._next] = key
        self._next = (self._next + 1) % len(self.addresses)
        return address, False


@dataclass
class Scratchpad:
    """Gives out the bytes from `base` up to `limit`, once."""

    base: int
    limit: int
    _used: int = 0

    def slots(self, size: int, count: int) -> Slots:
        """`count` places of `size` bytes."""
        step = aligned(size)
        first = self.base + self._used
        self._used += step * count
        assert self.base + self._used <= self.limit, "a kernel's tiles were chosen larger than the scratchpad"
        return Slots(tuple(first + step * index for index in range(count)))
