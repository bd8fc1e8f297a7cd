"""Bands: equal parts of the rows of several kernels, which run band by band, so that what one leaves to the
next stays on chip.

A buffer can stay when each band of every kernel touches only the same part of its memory. Then an element
that lies n elements after the beginning of that part lies n elements after its place in the scratchpad, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from targets.gemm_accel.codegen.buffers import Buffer
from targets.gemm_accel.codegen.tiles import Placed
from targets.gemm_accel.codegen.transfers import Range
from targets.gemm_accel.codegen.views import View, merged


@dataclass(frozen=True)
class Band:
    """Part `number` of `count`. `places` are the addresses in the scratchpad that the parts of a resident
    buffer take in turn; those of `stored` go to the DRAM as well."""

    number: int = 0
    count: int = 1
    places: Mapping[Buffer, tuple[int, ...]] = field(default_factory=dict)
    stored: frozenset[Buffer] = frozenset()

    def span(self, extent: int) -> Range:
        """The band's part of an axis, in equal parts."""
        step = extent // self.count
        return self.number * step, (self.number + 1) * step

    def address(self, buffer: Buffer) -> int:
        """Where the band's part of a resident buffer begins."""
        places = self.places[buffer]
        return places[self.number % len(places)]

    def place(self, view: View, ranges: Sequence[Range]) -> Placed:
        """Where a tile of a view of a resident buffer lies."""
        strides = [axis[0].strides[0] if axis else 0 for axis in map(merged, view.axes)]
        first, _ = self.span(view.buffer.size)
        offset = view.origin[0] - first + sum(s * r[0] for s, r in zip(strides, ranges, strict=True))
        element = view.buffer.element_bytes
        address = self.address(view.buffer) + offset * element
        return Placed(address, view.buffer.dtype, tuple(stride * element for stride in strides))


WHOLE = Band()
"""Everything at once, nothing resident."""


def stays_in_band(view: View, axis: int, count: int) -> bool:
    """Whether each of `count` equal parts of an axis of the view touches only the same part of its buffer."""
    axes = [merged(factors) for factors in view.axes]
    size = view.buffer.size
    if not view.is_plain or size % count or view.shape[axis] % count or any(len(a) > 1 for a in axes):
        return False
    if count > 1 and (not axes[axis] or axes[axis][0].strides[0] * view.shape[axis] != size):
        return False
    reach = [a[0].strides[0] * (a[0].extent - 1) for i, a in enumerate(axes) if a and i != axis]
    inner = axes[axis][0].strides[0] * (view.shape[axis] // count - 1) if axes[axis] else 0
    lowest = view.origin[0] + sum(min(r, 0) for r in reach)
    highest = view.origin[0] + inner + sum(max(r, 0) for r in reach)
    return lowest >= 0 and highest < size // count
