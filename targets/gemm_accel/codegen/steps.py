"""The element-wise steps of a kernel on one tile: operands are loaded, values stay on chip, results are
stored.

A value that only the next step reads is streamed from one command to the next; any other lies in the
scratchpad.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from targets.gemm_accel.codegen.assembly import Assembly
from targets.gemm_accel.codegen.bands import WHOLE, Band
from targets.gemm_accel.codegen.buffers import BYTES, Buffer
from targets.gemm_accel.codegen.kernels import Kernel
from targets.gemm_accel.codegen.nodes import Copy
from targets.gemm_accel.codegen.scratchpad import Scratchpad, Slots, aligned
from targets.gemm_accel.codegen.tiles import (
    Placed,
    counts_of,
    dense_strides,
    grids,
    repeated_axes,
    stored_elements,
)
from targets.gemm_accel.codegen.transfers import Range
from targets.gemm_accel.codegen.views import Vector, View, position


@dataclass(frozen=True)
class Needs:
    """What a kernel's steps keep in the scratchpad: which values, and how many places each tile takes turns
    in. Values in `resident` buffers, and views of those, have their place already."""

    kernel: Kernel
    kept_values: tuple[int, ...]
    views: tuple[View, ...]
    resident: frozenset[Buffer]

    def bytes(self, tile: Sequence[int]) -> int:
        """Scratchpad bytes for tiles of this extent."""
        values = sum(
            self.value_places(v, tile) * aligned(self._value_bytes(v, tile)) for v in self.kept_values
        )
        return values + sum(self.view_places(v, tile) * aligned(_view_bytes(v, tile)) for v in self.views)

    def value_places(self, value: int, tile: Sequence[int]) -> int:
        """Two for a value that is stored while the next tile is computed, else one."""
        tiles = any(extent > step for extent, step in zip(self.kernel.extents, tile, strict=True))
        return 2 if tiles and value in self.kernel.stores else 1

    def view_places(self, view: View, tile: Sequence[int]) -> int:
        """One for a view whose tile is always the same, else two; none for one of a resident buffer."""
        if view.buffer in self.resident:
            return 0
        changes = zip(self.kernel.extents, tile, repeated_axes(view), strict=True)
        return 2 if any(extent > step and not repeats for extent, step, repeats in changes) else 1

    def _value_bytes(self, value: int, tile: Sequence[int]) -> int:
        return stored_elements(tile, [False] * len(tile)) * BYTES[self.kernel.nodes[value].dtype]

    def reserve(self, scratchpad: Scratchpad, tile: Sequence[int], results_far: bool = False) -> "Places":
        """Takes the space for tiles of this extent; that of stored values at the scratchpad's far end if `results_far`."""
        values = {
            v: scratchpad.slots(
                self._value_bytes(v, tile),
                self.value_places(v, tile),
                far=results_far and v in self.kernel.stores,
            )
            for v in self.kept_values
        }
        groups: dict[Hashable, list[View]] = defaultdict(list)
        for view in self.views:
            groups[_alike(view)].append(view)
        slots = {
            key: scratchpad.slots(_view_bytes(views[0], tile), sum(self.view_places(v, tile) for v in views))
            for key, views in groups.items()
        }
        return Places(self, values, slots)


def needs_of(kernel: Kernel, resident: frozenset[Buffer] = frozenset()) -> Needs:
    """The values and the views that the steps of a kernel keep in the scratchpad."""
    values = range(len(kernel.nodes))
    placed = {v for v in values if any(view.buffer in resident for view in kernel.stores.get(v, ()))}
    kept = tuple(value for value in values if value not in placed and not _streams(kernel, value))
    return Needs(kernel, kept, kernel.views(), resident)


def _streams(kernel: Kernel, value: int) -> bool:
    first_step = 0 if kernel.head is None else 1
    readers = [
        number
        for number, step in enumerate(kernel.steps, start=first_step)
        for operand in step.operands
        if operand.value == value
    ]
    return value not in kernel.stores and readers == [value + 1]


def _alike(view: View) -> Hashable:
    """Equal for views whose tiles may be the same: a tile of one is then that of another at another time, as are the rows
    of overlapping windows."""
    return view.buffer, view.axes, view.limits, view.fill


def _first_element(view: View, ranges: Sequence[Range]) -> Vector:
    """Where a tile of a view begins."""
    origin = view.origin
    for axis, (start, _) in zip(view.axes, ranges, strict=True):
        origin = position(origin, axis, start)
    return origin


def _view_bytes(view: View, tile: Sequence[int]) -> int:
    return stored_elements(tile, repeated_axes(view)) * view.buffer.element_bytes


@dataclass(frozen=True)
class Places:
    """The space of a kernel's steps in the scratchpad."""

    needs: Needs
    values: dict[int, Slots]
    views: dict[Hashable, Slots]

    def place_values(self, ranges: Sequence[Range], band: Band = WHOLE) -> dict[int, Placed]:
        """Where the values of a tile go that are kept."""
        counts = counts_of(ranges)
        placed = {}
        for value, views in self.needs.kernel.stores.items():
            for view in views:
                if view.buffer in band.places:
                    placed[value] = band.place(view, ranges)
        for value, slots in self.values.items():
            dtype = self.needs.kernel.nodes[value].dtype
            address, _ = slots.place(tuple(ranges))
            placed[value] = Placed(address, dtype, dense_strides(counts, BYTES[dtype]))
        return placed

    def load_views(self, assembly: Assembly, ranges: Sequence[Range], band: Band = WHOLE) -> list[Placed]:
        """Brings the tiles of the views that the steps read into the scratchpad, unless they are there."""
        counts = counts_of(ranges)
        placed = []
        for view in self.needs.views:
            if view.buffer in band.places:
                placed.append(band.place(view, ranges))
                continue
            repeats = repeated_axes(view)
            own = tuple((0, 1) if repeat else span for span, repeat in zip(ranges, repeats, strict=True))
            strides = dense_strides(counts, view.buffer.element_bytes, repeats)
            address, present = self.views[_alike(view)].place((_first_element(view, own), counts_of(own)))
            place = Placed(address, view.buffer.dtype, strides)
            if not present:
                assembly.load(view, own, place)
            placed.append(place)
        return placed


def run_steps(
    assembly: Assembly,
    places: Places,
    counts: Sequence[int],
    values: dict[int, Placed],
    views: Sequence[Placed],
) -> None:
    """The commands of all steps on a tile of `counts`; `values` and `views` say where what is kept lies."""
    kernel = places.needs.kernel
    if len(kernel.steps) == 1 and isinstance(kernel.steps[0].node.operation, Copy):
        return
    kept = sorted(values)
    first_step = 0 if kernel.head is None else 1
    for grid in grids(counts, [*(values[value] for value in kept), *views]):
        for number, step in enumerate(kernel.steps, start=first_step):
            operands: list[int | None] = []
            for operand in step.operands:
                if operand.view is not None:
                    operands.append(len(kept) + places.needs.views.index(operand.view))
                elif operand.value is not None:
                    operands.append(kept.index(operand.value) if operand.value in values else None)
            destination = kept.index(number) if number in values else None
            assembly.layer = step.node.layer
            assembly.elementwise(step, grid, operands, destination)


def store_values(
    assembly: Assembly,
    kernel: Kernel,
    ranges: Sequence[Range],
    values: dict[int, Placed],
    band: Band = WHOLE,
) -> None:
    """Writes the values of a tile that nodes outside the kernel read."""
    for value, views in kernel.stores.items():
        assembly.layer = kernel.nodes[value].layer
        for view in views:
            if view.buffer not in band.places or view.buffer in band.stored:
                assembly.store(view, ranges, values[value])
