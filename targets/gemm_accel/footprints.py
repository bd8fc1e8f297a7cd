"""Which bytes of the scratchpad and of DRAM a command reads and writes, as whole ranges: for maps of the memories.

Gaps between rows count as touched. The simulator's checks (sim/footprint.cc) are exact; a picture need not be.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from targets.gemm_accel import isa

SCRATCHPAD, DRAM = "scratchpad", "DRAM"
BIAS_BYTES, SCALE_BYTES, INDEX_BYTES = 8, 8, 4


@dataclass(frozen=True)
class Footprint:
    """Bytes begin..end of a memory that a command reads or writes."""

    memory: str
    begin: int
    end: int
    writes: bool


def footprints(command: isa.Command) -> list[Footprint]:
    """What a command touches; operands that are absent or the stream touch nothing."""
    return [each for each in _all(command) if each.end > each.begin]


def _all(command: isa.Command) -> Iterator[Footprint]:
    if isinstance(command, isa.Load | isa.Gather | isa.Store):
        yield from _transfer(command)
    elif isinstance(command, isa.Gemm):
        yield from _product(command)
    elif isinstance(command, isa.Filter):
        yield from _filter(command)
    elif isinstance(command, isa.Drain):
        sets = 1 if command.shared else command.counts[2]
        if command.bias != isa.NONE:
            yield Footprint(SCRATCHPAD, command.bias, command.bias + BIAS_BYTES * sets, False)
        yield Footprint(SCRATCHPAD, command.scale, command.scale + SCALE_BYTES * sets, False)
        yield from _element_wise(command.destination, command.counts, True)
    elif isinstance(command, isa.Hadamard | isa.Add | isa.Pwl):
        yield from _element_wise(command.a, command.counts, False)
        if not isinstance(command, isa.Pwl):
            yield from _element_wise(command.b, command.counts, False)
        yield from _element_wise(command.destination, command.counts, True)


def _product(command: isa.Gemm) -> Iterator[Footprint]:
    rows = (command.m, command.a_pitch), (command.k, command.a_type.bytes)
    yield _grid(command.a, rows, command.a_type)
    depth = (command.k, command.b_pitch), (command.n, command.b_type.bytes)
    yield _grid(command.b, depth, command.b_type)


def _filter(command: isa.Filter) -> Iterator[Footprint]:
    (high, wide), (rows, columns, channels) = command.kernel, command.counts
    image = (rows + high - 1, command.a_pitches[0]), (columns + wide - 1, command.a_pitches[1])
    yield _grid(command.a, [*image, (channels, command.a_type.bytes)], command.a_type)
    taps = (high * wide, command.b_pitch), (channels, command.b_type.bytes)
    yield _grid(command.b, taps, command.b_type)


def _transfer(command: isa.Load | isa.Gather | isa.Store) -> Iterator[Footprint]:
    stores = isinstance(command, isa.Store)
    near = list(zip(command.counts, command.scratchpad_strides, strict=True))
    far = list(zip(command.counts, command.dram_strides, strict=True))
    yield _grid(command.scratchpad, near, command.type, writes=not stores)
    if isinstance(command, isa.Gather):
        yield Footprint(DRAM, command.index, command.index + INDEX_BYTES * command.counts[0], False)
        far[0] = (command.index_limit, command.dram_strides[0])
    bounded = isinstance(command, isa.Load) and (command.y.limit or command.x.limit)
    whole = _grid(command.dram, far, command.type, DRAM, stores)
    # outside its bounds a load reads nothing: what begins before the memory does is padding
    yield Footprint(DRAM, max(whole.begin, 0), whole.end, stores) if bounded else whole


def _element_wise(
    place: isa.Operand | isa.Destination, counts: tuple[int, int, int], writes: bool
) -> Iterator[Footprint]:
    if place.address not in (isa.NONE, isa.STREAM):
        step = place.step or (place.type.bytes if writes else 0)
        steps = list(zip(counts, (*place.pitches, step), strict=True))
        yield _grid(place.address, steps, place.type, writes=writes)


def _grid(
    base: int,
    steps: Sequence[tuple[int, int]],
    kind: isa.Type,
    memory: str = SCRATCHPAD,
    writes: bool = False,
) -> Footprint:
    """The hull of base + Σ step·index."""
    reaches = [(count - 1) * step for count, step in steps]
    begin = base + sum(min(reach, 0) for reach in reaches)
    end = base + sum(max(reach, 0) for reach in reaches) + kind.bytes
    return Footprint(memory, begin, end if all(count for count, _ in steps) else begin, writes)
