"""Builds the command stream: turns tiles and operands into commands, each with its layer and in its place in time.

Addresses in the arena are counted from ARENA until the constant region, which lies before the arena, has its final size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nmc.pwl.quantised_table import QuantisedTable
from targets.gemm_accel import isa
from targets.gemm_accel.codegen.buffers import BYTES, Buffer
from targets.gemm_accel.codegen.constants import ConstantRegion
from targets.gemm_accel.codegen.kernels import Step
from targets.gemm_accel.codegen.synchronise import QUEUES, Access, Synchroniser
from targets.gemm_accel.codegen.tiles import Grid, Placed
from targets.gemm_accel.codegen.transfers import Dimension, Range, Transfer, transfers
from targets.gemm_accel.codegen.views import View, element_range
from targets.gemm_accel.config import AcceleratorConfig
from targets.gemm_accel.tables import table_bytes

ARENA = 1 << 40
"""Where the arena is taken to begin while commands are built."""


@dataclass(frozen=True)
class Matrix:
    """A dense-rowed matrix in the scratchpad: address and bytes from row to row."""

    address: int
    dtype: str
    pitch: int


@dataclass
class Assembly:
    """The program as it grows; `layer` labels the commands that are added next."""

    config: AcceleratorConfig
    addresses: dict[Buffer, int]
    layer: str = ""
    constants: ConstantRegion = field(default_factory=ConstantRegion)
    _commands: list[tuple[isa.Command, str, tuple[int, ...]]] = field(default_factory=list)
    _synchroniser: Synchroniser = field(default_factory=Synchroniser)
    _tables: list[int] = field(default_factory=list)
    _recent_slots: list[int] = field(default_factory=list)
    _chain: list[tuple[isa.Command, str, Sequence[Access]]] = field(default_factory=list)

    def constant(self, value: np.ndarray | bytes) -> int:
        """The DRAM address of a value in the constant region."""
        return self.constants.add(value)

    def address_of(self, buffer: Buffer) -> int:
        """The DRAM address of a buffer's first byte; arena addresses are relative to ARENA."""
        if buffer not in self.addresses:
            assert buffer.value is not None, f"buffer {buffer.name} has no place in the arena"
            self.addresses[buffer] = self.constants.add(buffer.value)
        return self.addresses[buffer]

    def load(self, view: View, ranges: Sequence[Range], place: Placed) -> None:
        """Brings a tile of a view to its place in the scratchpad."""
        dram = _dram_access(self.address_of(view.buffer), view, writes=False)
        base, kind = self.address_of(view.buffer), isa.element_type(view.buffer.dtype)
        for transfer in transfers(view, ranges, place.strides):
            grid = _grid_of(transfer, kind.bytes)
            scratchpad = place.address + transfer.scratchpad
            y, x = _bounds(transfer)
            command = isa.Load(
                base + transfer.origin[0] * kind.bytes, scratchpad, kind, *grid, y, x, view.fill if transfer.limits else 0
            )
            self._add(command, [_transfer_access(transfer, base, kind.bytes, dram), _tile_access(transfer, scratchpad, kind)])

    def load_constant(self, dram: int, scratchpad: int, dtype: str, count: int) -> None:
        """Brings `count` elements that lie densely in the constant region to the scratchpad."""
        kind = isa.element_type(dtype)
        strides = (0, 0, 0, 0, kind.bytes)
        command = isa.Load(dram, scratchpad, kind, (1, 1, 1, 1, count), strides, strides)
        self._add(command, [Access("scratchpad", scratchpad, scratchpad + count * kind.bytes, True)])

    def gather(self, table: View, index: View, ranges: Sequence[Range], place: Placed) -> None:
        """Brings rows of `table` to the scratchpad: `ranges` of the index vector and of the table's further axes."""
        kind = isa.element_type(table.buffer.dtype)
        base, index_base = self.address_of(table.buffer), self.address_of(index.buffer)
        first, stop = ranges[0]
        rows = table.axes[0]
        row_stride = rows[-1].strides[0] if rows else 0
        rest = replace(table, axes=table.axes[1:])
        for transfer in transfers(rest, ranges[1:], place.strides[1:]):
            for part in _at_most_four(transfer):
                indices = Dimension(stop - first, (row_stride,), place.strides[0])
                grid = _grid_of(Transfer(part.origin, part.scratchpad, (indices, *part.dimensions), ()), kind.bytes, 1)
                scratchpad = place.address + part.scratchpad
                address = index_base + (index.origin[0] + first) * BYTES["int32"]
                dram = base + part.origin[0] * kind.bytes
                limit = table.shape[0]
                command = isa.Gather(dram, scratchpad, kind, *grid, address, limit)
                whole = Transfer(part.origin, part.scratchpad, (indices, *part.dimensions), ())
                self._add(
                    command,
                    [
                        _dram_access(base, table, writes=False),
                        Access("dram", address, address + (stop - first) * BYTES["int32"], False),
                        _tile_access(whole, scratchpad, kind),
                    ],
                )

    def store(self, view: View, ranges: Sequence[Range], place: Placed) -> None:
        """Writes a tile from the scratchpad to its part of a view."""
        base, kind = self.address_of(view.buffer), isa.element_type(view.buffer.dtype)
        dram = _dram_access(base, view, writes=True)
        for transfer in transfers(view, ranges, place.strides):
            scratchpad = place.address + transfer.scratchpad
            grid = _grid_of(transfer, kind.bytes)
            command = isa.Store(base + transfer.origin[0] * kind.bytes, scratchpad, kind, *grid)
            tile = replace(_tile_access(transfer, scratchpad, kind), writes=False)
            self._add(command, [tile, _transfer_access(transfer, base, kind.bytes, dram)])

    def gemm(
        self, a: Matrix, b: Matrix, m: int, k: int, n: int, accumulator: int, accumulate: bool
    ) -> None:
        """accumulator[m, n] = or += A·B."""
        a_type, b_type = isa.element_type(a.dtype), isa.element_type(b.dtype)
        command = isa.Gemm(
            a.address, a_type, a.pitch, b.address, b_type, b.pitch, m, k, n, accumulator, int(accumulate)
        )
        accesses = [
            Access("scratchpad", a.address, a.address + (m - 1) * a.pitch + k * a_type.bytes, False),
            Access("scratchpad", b.address, b.address + (k - 1) * b.pitch + n * b_type.bytes, False),
        ]
        self._add(command, accesses)

    def mac(
        self, a: Placed, b: Placed, counts: tuple[int, int, int], accumulator: int, accumulate: bool
    ) -> None:
        """accumulator = or += a ∘ b; the strides of an operand are those from outer to outer and from row to row."""
        operands = [
            isa.Operand(each.address, isa.element_type(each.dtype), (each.strides[0], each.strides[1]), BYTES[each.dtype])
            for each in (a, b)
        ]
        accesses = [_operand_access(operand, counts) for operand in operands]
        self._add(isa.Mac(*operands, counts, accumulator, int(accumulate)), accesses)

    def drain(
        self, accumulator: int, rows: int, columns: int, scale: int, dtype: str, place: Placed | None
    ) -> None:
        """Requantises accumulators to a place of [rows, columns] in the scratchpad, or into the stream.

        `scale` is the address of int64 biases, int32 multipliers and int32 shifts.
        """
        kind = isa.element_type(dtype)
        accesses = [Access("scratchpad", scale, scale + 16 * columns, False)]
        if place is None:
            destination = isa.Destination(isa.STREAM, kind)
        else:
            pitch = place.strides[-2]
            destination = isa.Destination(place.address, kind, (0, pitch))
            stop = place.address + (rows - 1) * pitch + columns * kind.bytes
            accesses.append(Access("scratchpad", place.address, stop, True))
        self._add(isa.Drain(accumulator, rows, columns, scale, scale + 8 * columns, destination), accesses)

    def elementwise(
        self, step: Step, grid: Grid, operands: Sequence[int | None], destination: int | None
    ) -> None:
        """A step on one grid; operands and destination are indices into the grid's addresses, or None for the stream."""
        operation = step.node.operation
        counts = (grid.counts[0], grid.counts[1], grid.counts[2])
        sources = [
            _operand(grid, index, operand.dtype)
            for index, operand in zip(operands, step.operands, strict=True)
        ]
        accesses = [_operand_access(source, counts) for source in sources if source.address != isa.STREAM]
        target = _destination(grid, destination, step.node.dtype)
        if target.address != isa.STREAM:
            written = isa.Operand(target.address, target.type, target.pitches, target.type.bytes)
            accesses.append(replace(_operand_access(written, counts), writes=True))
        if operation.kind == "pwl":
            slot = self._table_slot(operation.table)
            accesses.append(Access("table", slot, slot + 1, False))
            self._add(isa.Pwl(sources[0], slot, counts, target), accesses)
            return
        multipliers = list(operation.multipliers)
        if sources[1].address == isa.STREAM:
            # the stream enters the array on the first operand's side only
            sources.reverse()
            multipliers.reverse()
        make = isa.Hadamard if operation.kind == "hadamard" else isa.Add
        self._add(make(*sources, *multipliers, operation.shift, counts, target), accesses)

    def _table_slot(self, table: QuantisedTable) -> int:
        """The slot that holds a table, loading it over the one unused for longest where it is not there."""
        address = self.constant(table_bytes(table))
        slots = self._tables
        if address not in slots:
            slot = len(slots) if len(slots) < self.config.table_slots else self._recent_slots[0]
            slots[slot : slot + 1] = [address]
            waits = self._synchroniser.add(int(isa.Queue.LOAD), [Access("table", slot, slot + 1, True)])
            self._commands.append((isa.LoadTable(address, slot), self.layer, waits))
        slot = slots.index(address)
        if slot in self._recent_slots:
            self._recent_slots.remove(slot)
        self._recent_slots.append(slot)
        return slot

    def _add(self, command: isa.Command, accesses: Sequence[Access]) -> None:
        assert command.queue is not None
        if self._chain or _streams(command):
            self._chain.append((command, self.layer, accesses))
            if _streams(command):
                return
            chain, self._chain = self._chain, []
        else:
            chain = [(command, self.layer, accesses)]
        # nothing may stand between the commands of a chain, so all its waits come first
        waits = [w for item, _, needs in chain for w in self._synchroniser.add(int(item.queue), needs)]  # type: ignore[arg-type]
        for item, layer, _ in chain:
            self._commands.append((item, layer, tuple(waits)))
            waits = []

    def finish(self) -> tuple[list[isa.Command], list[str]]:
        """All commands with waits and signals in place and final addresses, and the layer of each."""
        arena = len(self.constants.data())
        commands: list[isa.Command] = []
        layers: list[str] = []
        numbers = [0] * len(QUEUES)
        held: list[isa.Command] = []
        for command, layer, waits in self._commands:
            queue = isa.Queue(int(command.queue))  # type: ignore[arg-type]
            group = [isa.Wait(queue, _semaphore(other, queue)) for other in waits]
            signals = self._synchroniser.signals.get((int(queue), numbers[queue]), [])
            held += [isa.Signal(queue, _semaphore(queue, other)) for other in signals]
            after, held = ([], held) if _streams(command) else (held, [])
            numbers[queue] += 1
            commands += [*group, _relocated(command, arena), *after]
            layers += [layer] * (len(group) + 1 + len(after))
        return [*commands, isa.End()], [*layers, layers[-1] if layers else ""]


def _streams(command: isa.Command) -> bool:
    """Whether the next command of the queue takes this one's results from the stream."""
    destination = getattr(command, "destination", None)
    return destination is not None and destination.address == isa.STREAM


def _semaphore(signalling: int, waiting: int) -> int:
    """Each ordered pair of queues has a semaphore of its own."""
    return signalling * len(QUEUES) + waiting


def _relocated(command: isa.Command, arena: int) -> isa.Command:
    """The command with arena addresses counted from byte 0 of the DRAM."""
    if isinstance(command, isa.Load | isa.Store | isa.Gather) and command.dram > ARENA // 2:
        command = replace(command, dram=command.dram - ARENA + arena)
    if isinstance(command, isa.Gather) and command.index > ARENA // 2:
        command = replace(command, index=command.index - ARENA + arena)
    return command


def _grid_of(
    transfer: Transfer, element_bytes: int, kept: int = 0
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Counts and byte strides of five dimensions; the first `kept` dimensions stay in front of the padding."""
    missing = isa.DIMENSIONS - len(transfer.dimensions)
    dimensions = [*transfer.dimensions[:kept], *[None] * missing, *transfer.dimensions[kept:]]
    counts = tuple(1 if d is None else d.count for d in dimensions)
    dram = tuple(0 if d is None else d.strides[0] * element_bytes for d in dimensions)
    scratchpad = tuple(0 if d is None else d.scratchpad_stride for d in dimensions)
    return counts, dram, scratchpad


def _bounds(transfer: Transfer) -> tuple[isa.Bound, isa.Bound]:
    missing = isa.DIMENSIONS - len(transfer.dimensions)
    bounds = [
        isa.Bound(transfer.origin[c], (0,) * missing + tuple(d.strides[c] for d in transfer.dimensions), limit)
        for c, limit in enumerate(transfer.limits, start=1)
    ]
    bounds += [isa.UNBOUNDED] * (2 - len(bounds))
    return bounds[0], bounds[1]


def _at_most_four(transfer: Transfer) -> list[Transfer]:
    """The transfer with a dimension left for the index of a gather."""
    if len(transfer.dimensions) < isa.DIMENSIONS:
        return [transfer]
    first, *rest = transfer.dimensions
    return [
        Transfer(
            tuple(o + i * s for o, s in zip(transfer.origin, first.strides, strict=True)),
            transfer.scratchpad + i * first.scratchpad_stride,
            tuple(rest),
            (),
        )
        for i in range(first.count)
    ]


def _dram_access(base: int, view: View, writes: bool) -> Access:
    first, stop = element_range(view)
    element = view.buffer.element_bytes
    return Access("dram", base + first * element, base + stop * element, writes)


def _transfer_access(transfer: Transfer, base: int, element_bytes: int, whole: Access) -> Access:
    """The DRAM that a transfer may touch, within what its view touches."""
    reach = [d.strides[0] * (d.count - 1) for d in transfer.dimensions]
    first = base + (transfer.origin[0] + sum(min(r, 0) for r in reach)) * element_bytes
    stop = base + (transfer.origin[0] + sum(max(r, 0) for r in reach) + 1) * element_bytes
    return Access("dram", max(first, whole.start), min(stop, whole.stop), whole.writes)


def _tile_access(transfer: Transfer, scratchpad: int, kind: isa.Type) -> Access:
    reach = [d.scratchpad_stride * (d.count - 1) for d in transfer.dimensions]
    start = scratchpad + sum(min(r, 0) for r in reach)
    return Access("scratchpad", start, scratchpad + sum(max(r, 0) for r in reach) + kind.bytes, True)


def _operand(grid: Grid, index: int | None, dtype: str) -> isa.Operand:
    kind = isa.element_type(dtype)
    if index is None:
        return isa.Operand(isa.STREAM, kind)
    outer, row, step = grid.strides[index]
    if grid.counts[2] == 1:
        step = kind.bytes
    return isa.Operand(grid.addresses[index], kind, (outer, row), step)


def _destination(grid: Grid, index: int | None, dtype: str) -> isa.Destination:
    kind = isa.element_type(dtype)
    if index is None:
        return isa.Destination(isa.STREAM, kind)
    outer, row, _ = grid.strides[index]
    return isa.Destination(grid.addresses[index], kind, (outer, row))


def _operand_access(operand: isa.Operand, counts: Sequence[int]) -> Access:
    strides = (*operand.pitches, operand.step)
    reach = sum(stride * (count - 1) for stride, count in zip(strides, counts, strict=True))
    return Access("scratchpad", operand.address, operand.address + reach + operand.type.bytes, False)
