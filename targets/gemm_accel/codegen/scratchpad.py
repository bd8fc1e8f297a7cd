"""Space in the scratchpad for one kernel, and the slots that its tiles take turns in."""

from collections.abc import Hashable
from dataclasses import dataclass, field

ALIGNMENT_BYTES = 16


def aligned(size: int) -> int:
    """The size rounded up to the alignment of a slot."""
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


@dataclass
class Slots:
    """Places of one size that tiles take in turn: a new one takes the place of the one unused for longest. A tile that is
    still in its place need not be loaded again."""

    addresses: tuple[int, ...]
    _held: dict[Hashable, int] = field(default_factory=dict)

    def place(self, key: Hashable) -> tuple[int, bool]:
        """The address for the tile of this key, and whether the tile is there already."""
        present = key in self._held
        if present:
            address = self._held.pop(key)
        elif len(self._held) < len(self.addresses):
            address = self.addresses[len(self._held)]
        else:
            address = self._held.pop(next(iter(self._held)))
        self._held[key] = address
        return address, present


@dataclass
class Scratchpad:
    """Gives out the bytes from `base` up to `limit`, once: upward from the base, or `downward` from the limit. What is `far`
    lies at the other end."""

    base: int
    limit: int
    downward: bool = False
    _used: int = 0
    _used_far: int = 0

    def slots(self, size: int, count: int, far: bool = False) -> Slots:
        """`count` places of `size` bytes."""
        step = aligned(size)
        before = self._used_far if far else self._used
        if far:
            self._used_far += step * count
        else:
            self._used += step * count
        assert self.base + self._used + self._used_far <= self.limit, (
            "a kernel's tiles were chosen larger than the scratchpad"
        )
        first = self.limit - before - step * count if far != self.downward else self.base + before
        return Slots(tuple(first + step * index for index in range(count)))
