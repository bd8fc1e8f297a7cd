"""The commands of the accelerator: the one definition that encoder, decoder, assembler, C++ header and ISA.md derive from.

A command is a frozen dataclass. Each of its fields says how it is encoded and what it means; the class says its opcode,
its queue, what it costs and what it requires.
"""

from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import cache
from typing import Any, ClassVar, TypeVar

ISA_VERSION = 4
DIMENSIONS = 5
NONE = 0xFFFFFFFF
"""The address of an operand that is absent."""
STREAM = 0xFFFFFFFE
"""The address of the stream: what the preceding command of the chain left for the next one."""


class Queue(IntEnum):
    """The three in-order queues."""

    LOAD = 0
    COMPUTE = 1
    STORE = 2


class Type(IntEnum):
    """Signed element types."""

    I8 = 0
    I16 = 1
    I32 = 2
    I64 = 3

    @property
    def bytes(self) -> int:
        """The size of an element."""
        return 1 << int(self)


@cache
def element_type(dtype: str) -> Type:
    """The type of a numpy name such as int16."""
    return Type[dtype.replace("int", "I")]


def encoded(kind: str, meaning: str, *, count: int = 1, default: Any = None) -> Any:
    """A dataclass field that is encoded as `count` little-endian integers of `kind`: u8, u16, u32, i32 or i64."""
    metadata = {"kind": kind, "count": count, "meaning": meaning}
    if default is None:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


def nested(meaning: str) -> Any:
    """A dataclass field that is itself a group of encoded fields."""
    return field(metadata={"kind": "group", "count": 1, "meaning": meaning})


@dataclass(frozen=True)
class Bound:
    """A coordinate of a load: start + Σ step·index must lie in 0..limit-1, else the element is the fill value."""

    start: int = encoded("i32", "the coordinate of the first element", default=0)
    steps: tuple[int, ...] = encoded(
        "i32", "its step along each dimension", count=5, default=(0,) * DIMENSIONS
    )
    limit: int = encoded("i32", "the extent, or 0 for no bound", default=0)


UNBOUNDED = Bound()


@dataclass(frozen=True)
class Operand:
    """A source of an element-wise command: element [o, r, c] lies at address + o·pitch₀ + r·pitch₁ + c·step."""

    address: int = encoded("u32", "the scratchpad byte, or STREAM")
    type: Type = encoded("u8", "the element type", default=Type.I16)
    pitches: tuple[int, int] = encoded(
        "i32", "bytes from one outer index and one row to the next; 0 repeats", count=2, default=(0, 0)
    )
    step: int = encoded("i32", "bytes from one column to the next; 0 repeats", default=0)


@dataclass(frozen=True)
class Destination:
    """Where a compute command's results go: [o, r, c] at address + o·pitch₀ + r·pitch₁ + c·step."""

    address: int = encoded("u32", "the scratchpad byte, or STREAM")
    type: Type = encoded("u8", "the element type that results are saturated to", default=Type.I16)
    pitches: tuple[int, int] = encoded(
        "i32", "bytes from one outer index and one row to the next", count=2, default=(0, 0)
    )
    step: int = encoded("i32", "bytes from one column to the next, or 0 where columns are dense", default=0)


class Command:
    """Base of all commands."""

    opcode: ClassVar[int]
    queue: ClassVar[Queue | None]
    cost: ClassVar[str]


COMMANDS: dict[str, type[Command]] = {}
"""By mnemonic."""


CommandClass = TypeVar("CommandClass", bound="type[Command]")


def command(cls: CommandClass) -> CommandClass:
    """Registers a command under its mnemonic."""
    COMMANDS[mnemonic(cls)] = cls
    return cls


def mnemonic(cls: type[Command]) -> str:
    """The name of a command in a listing, such as LOAD_TABLE."""
    return "".join("_" + c if c.isupper() and i else c for i, c in enumerate(cls.__name__)).upper()


@command
@dataclass(frozen=True)
class Load(Command):
    """Copies a grid of up to five dimensions from DRAM to the scratchpad. Outside its bounds an element is `fill`, and
    DRAM is not read: so padding and im2col need no memory of their own."""

    opcode: ClassVar[int] = 1
    queue: ClassVar[Queue | None] = Queue.LOAD
    cost: ClassVar[str] = (
        "one beat of the DRAM port for each dram_bytes_per_cycle, or part of it, of a contiguous run"
    )
    dram: int = encoded("i64", "the byte of element [0, 0, 0, 0, 0]; outside bounds it need not exist")
    scratchpad: int = encoded("u32", "the byte where element [0, 0, 0, 0, 0] goes")
    type: Type = encoded("u8", "the element type")
    counts: tuple[int, ...] = encoded("u32", "extents, outermost first", count=5)
    dram_strides: tuple[int, ...] = encoded("i32", "bytes between neighbours in DRAM", count=5)
    scratchpad_strides: tuple[int, ...] = encoded(
        "i32", "bytes between neighbours in the scratchpad", count=5
    )
    y: Bound = field(
        default=UNBOUNDED, metadata={"kind": "group", "count": 1, "meaning": "the first bounded coordinate"}
    )
    x: Bound = field(
        default=UNBOUNDED, metadata={"kind": "group", "count": 1, "meaning": "the second bounded coordinate"}
    )
    fill: int = encoded("i32", "the value outside bounds", default=0)


@command
@dataclass(frozen=True)
class Gather(Command):
    """A load whose outermost dimension steps by index: row i begins index[i]·dram_strides[0] after `dram`. A negative
    index counts from the end of the table: index_limit is added. One outside -index_limit..index_limit-1 ends the run
    with an error."""

    opcode: ClassVar[int] = 2
    queue: ClassVar[Queue | None] = Queue.LOAD
    cost: ClassVar[str] = "as LOAD, and the beats that read the indices; two latencies, since they come first"
    dram: int = encoded("i64", "the byte of row 0 of the table")
    scratchpad: int = encoded("u32", "the byte where element [0, 0, 0, 0, 0] goes")
    type: Type = encoded("u8", "the element type")
    counts: tuple[int, ...] = encoded(
        "u32", "extents, outermost first; the first is the number of indices", count=5
    )
    dram_strides: tuple[int, ...] = encoded("i32", "bytes between neighbours in DRAM", count=5)
    scratchpad_strides: tuple[int, ...] = encoded(
        "i32", "bytes between neighbours in the scratchpad", count=5
    )
    index: int = encoded("i64", "the DRAM byte of the first index, i32, dense")
    index_limit: int = encoded("u32", "the number of rows of the table")


@command
@dataclass(frozen=True)
class LoadTable(Command):
    """Fills a slot of the table memory from a table in DRAM."""

    opcode: ClassVar[int] = 3
    queue: ClassVar[Queue | None] = Queue.LOAD
    cost: ClassVar[str] = "the beats of the table's bytes"
    dram: int = encoded("i64", "the byte of the table")
    slot: int = encoded("u8", "the slot")


@command
@dataclass(frozen=True)
class Store(Command):
    """Copies a grid of up to five dimensions from the scratchpad to DRAM."""

    opcode: ClassVar[int] = 4
    queue: ClassVar[Queue | None] = Queue.STORE
    cost: ClassVar[str] = Load.cost
    dram: int = encoded("i64", "the byte where element [0, 0, 0, 0, 0] goes")
    scratchpad: int = encoded("u32", "the byte of element [0, 0, 0, 0, 0]")
    type: Type = encoded("u8", "the element type")
    counts: tuple[int, ...] = encoded("u32", "extents, outermost first", count=5)
    dram_strides: tuple[int, ...] = encoded("i32", "bytes between neighbours in DRAM", count=5)
    scratchpad_strides: tuple[int, ...] = encoded(
        "i32", "bytes between neighbours in the scratchpad", count=5
    )


@command
@dataclass(frozen=True)
class Gemm(Command):
    """accumulator[m, n] = A[m, k]·B[k, n], or += . Rows of A and of B are dense; the accumulators hold m·n sums, row by
    row."""

    opcode: ClassVar[int] = 5
    queue: ClassVar[Queue | None] = Queue.COMPUTE
    cost: ClassVar[str] = (
        "for each block of B, of `rows` rows or what is left of k and of `columns` columns or what is left of n,"
        " max(m·passes of A·passes of B, rows of the next block) cycles of the array; the last has no next"
    )
    a: int = encoded("u32", "the scratchpad byte of A[0, 0]")
    a_type: Type = encoded("u8", "the type of A: i8, i16 or i32")
    a_pitch: int = encoded("i32", "bytes from one row of A to the next")
    b: int = encoded("u32", "the scratchpad byte of B[0, 0]")
    b_type: Type = encoded("u8", "the type of B: i8 or i16")
    b_pitch: int = encoded("i32", "bytes from one row of B to the next")
    m: int = encoded("u32", "the rows of A")
    k: int = encoded("u32", "the columns of A, the rows of B")
    n: int = encoded("u32", "the columns of B")
    accumulator: int = encoded("u32", "the accumulator of sum [0, 0]")
    accumulate: int = encoded("u8", "1 adds to the sums, 0 begins anew", default=0)


@command
@dataclass(frozen=True)
class Filter(Command):
    """accumulator[y, x, c] = Σ A[y + i, x + j, c]·B[i, j, c], or += : each channel is filtered by itself, over an image of
    which A has `kernel` - 1 rows and columns more than there are sums. The channels of a place of A and of a tap of B are
    dense, taps lie row by row, and the accumulators hold the sums row by row, channels innermost. The taps have one cell
    each: there are at most `rows`, in at most `delay_lines` + 1 rows, and with more rows of taps than one the sums have at
    most `delay_entries` + 1 columns."""

    opcode: ClassVar[int] = 6
    queue: ClassVar[Queue | None] = Queue.COMPUTE
    cost: ClassVar[str] = (
        "for each `columns` channels or what is left of them, max((rows + kernel rows - 1)·(columns + kernel columns - 1)"
        "·passes of A·passes of B, all taps) cycles of the array; the last has no other taps to wait for"
    )
    a: int = encoded("u32", "the scratchpad byte of A[0, 0, 0]")
    a_type: Type = encoded("u8", "the type of A: i8, i16 or i32")
    a_pitches: tuple[int, int] = encoded("i32", "bytes from one row and from one column to the next", count=2)
    b: int = encoded("u32", "the scratchpad byte of B[0, 0, 0]")
    b_type: Type = encoded("u8", "the type of B: i8 or i16")
    b_pitch: int = encoded("i32", "bytes from one tap to the next")
    kernel: tuple[int, int] = encoded("u32", "rows and columns of taps", count=2)
    counts: tuple[int, int, int] = encoded("u32", "rows, columns and channels of the sums", count=3)
    accumulator: int = encoded("u32", "the accumulator of sum [0, 0, 0]")
    accumulate: int = encoded("u8", "1 adds to the sums, 0 begins anew", default=0)


@command
@dataclass(frozen=True)
class Drain(Command):
    """saturate(requantise(accumulator[o, r, c] + bias[c], multiplier[c], shift[c])), to the scratchpad or into the stream;
    the sums are dense. `scale` holds a multiplier (i32) for each column, then a shift (i32) for each; with `shared`, one of
    each, and `bias` one."""

    opcode: ClassVar[int] = 7
    queue: ClassVar[Queue | None] = Queue.COMPUTE
    cost: ClassVar[str] = "outer·rows·⌈columns/array columns⌉ cycles of the drain unit, its chain included"
    accumulator: int = encoded("u32", "the accumulator of element [0, 0, 0]")
    counts: tuple[int, int, int] = encoded("u32", "outer, rows, columns", count=3)
    bias: int = encoded("u32", "the scratchpad byte of the biases (i64), or NONE")
    scale: int = encoded("u32", "the scratchpad byte of the multipliers and shifts")
    destination: Destination = nested("where results go")
    shared: int = encoded("u8", "1 where all columns share the bias, multiplier and shift", default=0)


@command
@dataclass(frozen=True)
class Hadamard(Command):
    """saturate(requantise(a·b, multiplier, shift)). At most one operand is 32 bits wide."""

    opcode: ClassVar[int] = 8
    queue: ClassVar[Queue | None] = Queue.COMPUTE
    cost: ClassVar[str] = (
        "outer·rows·⌈columns/array columns⌉·passes of each operand cycles of the array; no cycles of its own when `a` is the"
        " stream of a DRAIN"
    )
    a: Operand = nested("the first factor")
    b: Operand = nested("the second factor; not the stream")
    multiplier: int = encoded("i32", "the multiplier")
    shift: int = encoded("u8", "the shift, 17 to 62")
    counts: tuple[int, int, int] = encoded("u32", "outer, rows, columns", count=3)
    destination: Destination = nested("where results go")


@command
@dataclass(frozen=True)
class Add(Command):
    """saturate((a·multiplier_a + b·multiplier_b + 2^(shift-1)) >> shift)."""

    opcode: ClassVar[int] = 9
    queue: ClassVar[Queue | None] = Queue.COMPUTE
    cost: ClassVar[str] = (
        "outer·rows·⌈columns/array columns⌉ cycles of the array; none of its own when `a` is the stream"
    )
    a: Operand = nested("the first term")
    b: Operand = nested("the second term; not the stream")
    multiplier_a: int = encoded("i32", "below 2^30 in magnitude")
    multiplier_b: int = encoded("i32", "below 2^30 in magnitude")
    shift: int = encoded("u8", "the shift, 1 to 62")
    counts: tuple[int, int, int] = encoded("u32", "outer, rows, columns", count=3)
    destination: Destination = nested("where results go")


@command
@dataclass(frozen=True)
class Pwl(Command):
    """saturate((slope·a + intercept, rounded) >> shift) of the segment that `a` addresses in a table slot."""

    opcode: ClassVar[int] = 10
    queue: ClassVar[Queue | None] = Queue.COMPUTE
    cost: ClassVar[str] = Hadamard.cost
    a: Operand = nested("the argument")
    slot: int = encoded("u8", "the table slot")
    counts: tuple[int, int, int] = encoded("u32", "outer, rows, columns", count=3)
    destination: Destination = nested("where results go")


@command
@dataclass(frozen=True)
class Signal(Command):
    """Adds one to a semaphore once every earlier command of its queue is complete; later commands need not wait for it."""

    opcode: ClassVar[int] = 11
    queue: ClassVar[Queue | None] = None
    cost: ClassVar[str] = "nothing"
    on: Queue = encoded("u8", "the queue that signals")
    semaphore: int = encoded("u16", "the semaphore")


@command
@dataclass(frozen=True)
class Wait(Command):
    """Holds its queue until a semaphore is above zero, then subtracts one."""

    opcode: ClassVar[int] = 12
    queue: ClassVar[Queue | None] = None
    cost: ClassVar[str] = "nothing but the time it holds the queue"
    on: Queue = encoded("u8", "the queue that waits")
    semaphore: int = encoded("u16", "the semaphore")


@command
@dataclass(frozen=True)
class End(Command):
    """The end of the program: it is complete when all queues are empty."""

    opcode: ClassVar[int] = 13
    queue: ClassVar[Queue | None] = None
    cost: ClassVar[str] = "nothing"


HOLDERS = (Signal, Wait)
"""The commands that any queue may execute."""


def queue_of(item: Command) -> Queue | None:
    """The queue that executes a command; None for END."""
    return item.on if isinstance(item, HOLDERS) else item.queue


def field_values(item: Any) -> list[tuple[Any, Any]]:
    """The (field, value) pairs of a command or a group, in the order of encoding."""
    return [(each, getattr(item, each.name)) for each in fields(item)]
