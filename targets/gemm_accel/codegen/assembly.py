"""Builds the command stream: turns tiles and operands into commands, each with its layer and in its place
in time.

Addresses in the arena are counted from ARENA until the constant region, which lies before the arena, has
its final size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from nmc.pwl.quantised_table import QuantisedTable
from targets.gemm_accel import isa
from targets.gemm_accel.codegen.buffers import BYTES, Buffer
from targets.gemm_accel.codegen.command_parts import (
    Counts,
    at_most_four,
    bounds,
    dense_or,
    destination_of,
    dram_access,
    grid_of,
    operand,
    operand_access,
    tile_access,
    transfer_access,
)
from targets.gemm_accel.codegen.constants import ConstantRegion
from targets.gemm_accel.codegen.kernels import Step
from targets.gemm_accel.codegen.nodes import Elementwise
from targets.gemm_accel.codegen.synchronise import QUEUES, Access, Synchroniser
from targets.gemm_accel.codegen.tiles import Grid, Placed
from targets.gemm_accel.codegen.transfers import Dimension, Range, transfers
from targets.gemm_accel.codegen.views import View
from targets.gemm_accel.config import AcceleratorConfig
from targets.gemm_accel.tables import table_bytes

ARENA = 1 << 40
"""Where the arena is taken to begin while commands are built."""


@dataclass(frozen=True)
class Matrix:
    """A matrix of dense rows in the scratchpad: address, and bytes from row to row."""

    address: int
    dtype: str
    pitch: int

    def access(self, rows: int, columns: int) -> Access:
        """The scratchpad that so many rows and columns lie in."""
        place = isa.Operand(self.address, isa.element_type(self.dtype), (0, self.pitch), BYTES[self.dtype])
        return operand_access(place, (1, rows, columns))


@dataclass
class Assembly:
    """The program as it grows; `layer` labels the commands that are added next."""

    config: AcceleratorConfig
    addresses: dict[Buffer, int]
    layer: str = ""
    constants: ConstantRegion = field(default_factory=ConstantRegion)
    _commands: list[tuple[isa.Command, str, tuple[int, ...]]] = field(default_factory=list)
    _synchroniser: Synchroniser = field(default_factory=Synchroniser)
    _table_addresses: dict[QuantisedTable, int] = field(default_factory=dict)
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
        base, kind = self.address_of(view.buffer), isa.element_type(view.buffer.dtype)
        readable = dram_access(base, view, writes=False)
        for transfer in transfers(view, ranges, place.strides):
            dram, scratchpad = base + transfer.origin[0] * kind.bytes, place.address + transfer.scratchpad
            counts, dram_strides, strides = grid_of(transfer.dimensions, kind.bytes)
            y, x = bounds(transfer)
            fill = view.fill if transfer.limits else 0
            command = isa.Load(dram, scratchpad, kind, counts, dram_strides, strides, y, x, fill)
            read = transfer_access(transfer, base, kind.bytes, readable)
            self._add(command, [read, tile_access(transfer.dimensions, scratchpad, kind)])

    def load_constant(self, dram: int, scratchpad: int, dtype: str, count: int) -> None:
        """Brings `count` elements that lie densely in the constant region to the scratchpad."""
        kind = isa.element_type(dtype)
        strides = (0, 0, 0, 0, kind.bytes)
        command = isa.Load(dram, scratchpad, kind, (1, 1, 1, 1, count), strides, strides)
        self._add(command, [Access("scratchpad", scratchpad, scratchpad + count * kind.bytes, True)])

    def gather(self, table: View, index: View, ranges: Sequence[Range], place: Placed) -> None:
        """Brings rows of `table` to the scratchpad: `ranges` of the index vector and of the table's further
        axes."""
        kind, (first, stop) = isa.element_type(table.buffer.dtype), ranges[0]
        base = self.address_of(table.buffer)
        indices = self.address_of(index.buffer) + (index.origin[0] + first) * BYTES["int32"]
        read = [
            dram_access(base, table, writes=False),
            Access("dram", indices, indices + (stop - first) * BYTES["int32"], False),
        ]
        row_stride = table.axes[0][0].strides if table.axes[0] else (0,)
        by_index = Dimension(stop - first, row_stride, place.strides[0])
        rest = replace(table, axes=table.axes[1:])
        for transfer in transfers(rest, ranges[1:], place.strides[1:]):
            for part in at_most_four(transfer):
                dram, scratchpad = base + part.origin[0] * kind.bytes, place.address + part.scratchpad
                dimensions = (by_index, *part.dimensions)
                counts, dram_strides, strides = grid_of(dimensions, kind.bytes, kept=1)
                limit = table.shape[0]
                command = isa.Gather(dram, scratchpad, kind, counts, dram_strides, strides, indices, limit)
                self._add(command, [*read, tile_access(dimensions, scratchpad, kind)])

    def store(self, view: View, ranges: Sequence[Range], place: Placed) -> None:
        """Writes a tile from the scratchpad to its part of a view."""
        base, kind = self.address_of(view.buffer), isa.element_type(view.buffer.dtype)
        writable = dram_access(base, view, writes=True)
        for transfer in transfers(view, ranges, place.strides):
            dram, scratchpad = base + transfer.origin[0] * kind.bytes, place.address + transfer.scratchpad
            counts, dram_strides, strides = grid_of(transfer.dimensions, kind.bytes)
            command = isa.Store(dram, scratchpad, kind, counts, dram_strides, strides)
            read = tile_access(transfer.dimensions, scratchpad, kind, writes=False)
            self._add(command, [read, transfer_access(transfer, base, kind.bytes, writable)])

    def gemm(self, a: Matrix, b: Matrix, m: int, k: int, n: int, accumulator: int, accumulate: bool) -> None:
        """accumulator[m, n] = or += A·B."""
        a_type, b_type = isa.element_type(a.dtype), isa.element_type(b.dtype)
        command = isa.Gemm(
            a.address,
            a_type,
            a.pitch,
            b.address,
            b_type,
            b.pitch,
            m,
            k,
            n,
            accumulator,
            int(accumulate),
        )
        self._add(command, [a.access(m, k), b.access(k, n)])

    def filter(
        self,
        a: Placed,
        b: Placed,
        kernel: tuple[int, int],
        counts: tuple[int, int, int],
        accumulator: int,
        accumulate: bool,
    ) -> None:
        """accumulator[rows, columns, channels] = or += `a` filtered by the taps of `b`, channel by channel; the strides of
        `a` are those from row to row and from column to column, the first of `b` that from tap to tap."""
        a_type, b_type = isa.element_type(a.dtype), isa.element_type(b.dtype)
        pitches = (a.strides[0], a.strides[1])
        command = isa.Filter(
            a.address,
            a_type,
            pitches,
            b.address,
            b_type,
            b.strides[0],
            kernel,
            counts,
            accumulator,
            int(accumulate),
        )
        rows, columns, channels = counts
        seen = isa.Operand(a.address, a_type, pitches, a_type.bytes)
        taps = isa.Operand(b.address, b_type, (0, b.strides[0]), b_type.bytes)
        image = (rows + kernel[0] - 1, columns + kernel[1] - 1, channels)
        accesses = [
            operand_access(seen, image),
            operand_access(taps, (1, kernel[0] * kernel[1], channels)),
        ]
        self._add(command, accesses)

    def drain(
        self,
        accumulator: int,
        counts: Counts,
        scale: int,
        dtype: str,
        place: Placed | None,
        shared: bool = False,
    ) -> None:
        """Requantises accumulators to a place of [outer, rows, columns] in the scratchpad, or into the stream.

        `scale` is the address of int64 biases, int32 multipliers and int32 shifts, one each if they are `shared`.
        """
        kind, scales = isa.element_type(dtype), 1 if shared else counts[2]
        accesses = [Access("scratchpad", scale, scale + 16 * scales, False)]
        if place is None:
            destination = isa.Destination(isa.STREAM, kind)
        else:
            outer, pitch, step = place.strides[-3:]
            destination = isa.Destination(place.address, kind, (outer, pitch), dense_or(step, kind))
            written = isa.Operand(place.address, kind, (outer, pitch), step)
            accesses.append(operand_access(written, counts).written())
        command = isa.Drain(accumulator, counts, scale, scale + 8 * scales, destination, int(shared))
        self._add(command, accesses)

    def elementwise(
        self, step: Step, grid: Grid, operands: Sequence[int | None], destination: int | None
    ) -> None:
        """A step on one grid; operands and destination are indices into the grid's addresses, or None for
        the stream."""
        operation = step.node.operation
        assert isinstance(operation, Elementwise), "a copy has no command"
        counts = (grid.counts[0], grid.counts[1], grid.counts[2])
        sources = [
            operand(grid, index, source.dtype) for index, source in zip(operands, step.operands, strict=True)
        ]
        accesses = [operand_access(source, counts) for source in sources if source.address != isa.STREAM]
        target = destination_of(grid, destination, step.node.dtype)
        if target.address != isa.STREAM:
            written = isa.Operand(
                target.address, target.type, target.pitches, target.step or target.type.bytes
            )
            accesses.append(operand_access(written, counts).written())
        if operation.table is not None:
            slot = self._table_slot(operation.table)
            accesses.append(Access("table", slot, slot + 1, False))
            self._add(isa.Pwl(sources[0], slot, counts, target), accesses)
        else:
            self._add(_combination(operation, sources, counts, target), accesses)

    def _table_slot(self, table: QuantisedTable) -> int:
        """The slot that holds a table, loading it over the one unused for longest where it is not there."""
        if table not in self._table_addresses:
            self._table_addresses[table] = self.constant(table_bytes(table))
        address, slots = self._table_addresses[table], self._tables
        if address not in slots:
            slot = len(slots) if len(slots) < self.config.table_slots else self._recent_slots[0]
            slots[slot : slot + 1] = [address]
            waits = self._synchroniser.add(isa.Queue.LOAD.value, [Access("table", slot, slot + 1, True)])
            self._commands.append((isa.LoadTable(address, slot), self.layer, waits))
        slot = slots.index(address)
        if slot in self._recent_slots:
            self._recent_slots.remove(slot)
        self._recent_slots.append(slot)
        return slot

    def _add(self, command: isa.Command, accesses: Sequence[Access]) -> None:
        streams = _streams(command)
        if not streams and not self._chain:
            waits = self._synchroniser.add(_queue(command), accesses)
            self._commands.append((command, self.layer, waits))
            return
        self._chain.append((command, self.layer, accesses))
        if streams:
            return
        chain, self._chain = self._chain, []
        # nothing may stand between the commands of a chain, so all its waits come first
        waits = tuple(w for item, _, needs in chain for w in self._synchroniser.add(_queue(item), needs))
        for item, layer, _ in chain:
            self._commands.append((item, layer, waits))
            waits = ()

    def finish(self) -> tuple[list[isa.Command], list[str]]:
        """All commands with waits and signals in place and final addresses, and the layer of each."""
        arena, all_signals = self.constants.size, self._synchroniser.signals
        commands: list[isa.Command] = []
        layers: list[str] = []
        numbers = [0] * len(QUEUES)
        held: list[isa.Command] = []
        for command, layer, waits in self._commands:
            queue, before = _queue(command), len(commands)
            commands += [_wait(queue, other) for other in waits]
            commands.append(command if queue == isa.Queue.COMPUTE else _relocated(command, arena))
            if signals := all_signals.get((queue, numbers[queue])):
                held += [_signal(queue, other) for other in signals]
            if held and not _streams(command):
                commands += held
                held = []
            numbers[queue] += 1
            layers += [layer] * (len(commands) - before)
        return [*commands, isa.End()], [*layers, layers[-1] if layers else ""]


def _combination(
    operation: Elementwise, sources: Sequence[isa.Operand], counts: Counts, target: isa.Destination
) -> isa.Command:
    """HADAMARD or ADD; the stream enters the array on the first operand's side only."""
    order = (1, 0) if sources[1].address == isa.STREAM else (0, 1)
    a, b = (sources[index] for index in order)
    if operation.kind == "hadamard":
        return isa.Hadamard(a, b, operation.multipliers[0], operation.shift, counts, target)
    first, second = (operation.multipliers[index] for index in order)
    return isa.Add(a, b, first, second, operation.shift, counts, target)


def _streams(command: isa.Command) -> bool:
    """Whether the next command of the queue takes this one's results from the stream."""
    destination = getattr(command, "destination", None)
    return destination is not None and destination.address == isa.STREAM


@cache
def _wait(queue: int, other: int) -> isa.Wait:
    """Holds a queue for another."""
    return isa.Wait(isa.Queue(queue), _semaphore(other, queue))


@cache
def _signal(queue: int, other: int) -> isa.Signal:
    """Tells another queue of the end of a queue's commands."""
    return isa.Signal(isa.Queue(queue), _semaphore(queue, other))


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


def _queue(command: isa.Command) -> int:
    """The queue of a command that does work; END, which has none, is added last and never ordered."""
    assert command.queue is not None, "END is not ordered among the commands"
    return command.queue.value
