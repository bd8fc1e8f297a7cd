"""The column of cells that ISA.md describes, register by register, filters what FILTER does in the cycles that the timing
model gives it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from targets.gemm_accel import isa
from targets.gemm_accel.config import AcceleratorConfig
from targets.gemm_accel.simulator import Simulator
from tests.gemm_accel.bench import CONFIG, Integers, program_of, random_integers
from tests.gemm_accel.test_filter import filter_of, filtered

Shape = tuple[tuple[int, int], tuple[int, int]]
"""The rows and columns of the taps, and those of the sums."""


class ConflictError(Exception):
    """Two values in one place."""


@dataclass(frozen=True, eq=False)
class Stream:
    """What a FILTER sends through a column: an image [rows, columns] under taps [rows, columns]."""

    image: Integers
    taps: Integers

    @property
    def cells(self) -> list[int]:
        """The weights, the last tap in the first cell."""
        return self.taps[::-1, ::-1].ravel().tolist()

    def delay(self, cell: int) -> int:
        """The cycles from a cell to the next: two registers, and behind a row of taps a line of one value less than the sums
        have columns."""
        wide, columns = self.taps.shape[1], self.image.shape[1] - self.taps.shape[1] + 1
        return 2 + (columns - 1) * (cell % wide == wide - 1)

    def line(self, cell: int) -> int | None:
        """The delay line behind a cell, if there is one."""
        row, place = divmod(cell, self.taps.shape[1])
        return row if place == self.taps.shape[1] - 1 and row < self.taps.shape[0] - 1 else None


class Column:
    """Values pass two registers a cell and some a delay line, up to the last tap; sums pass a register a cell, all cells."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self._config = config
        self._arriving: dict[tuple[int, int], tuple[Stream, int]] = {}
        self._sums: list[tuple[Stream, int | None] | None] = [None] * config.rows
        self._lines: dict[int, list[int]] = {}

    def clock(self, cycle: int, entering: tuple[Stream, int] | None) -> int | None:
        """One cycle: a value enters the first cell, the sum of a whole window may leave the last."""
        if entering is not None:
            self._arrive(cycle, 0, entering)
        left, self._sums = self._sums[-1], [None if entering is None else (entering[0], 0), *self._sums[:-1]]
        for cell in range(self._config.rows):
            value = self._arriving.pop((cycle, cell), None)
            held = self._sums[cell]
            if held is not None and held[1] is not None and cell < len(held[0].cells):
                meets = value is not None and value[0] is held[0]
                self._sums[cell] = (
                    held[0],
                    held[1] + held[0].cells[cell] * value[1] if meets and value else None,
                )
            if value is not None and cell + 1 < len(value[0].cells):
                self._pass_on(cycle, cell, value)
        return None if left is None else left[1]

    def _pass_on(self, cycle: int, cell: int, value: tuple[Stream, int]) -> None:
        leaves, line = cycle + value[0].delay(cell), value[0].line(cell)
        if line is not None and leaves > cycle + 2:
            held = [each for each in self._lines.get(line, []) if each > cycle]
            # of those on their way to the next cell the newest, and this value, are in the cell's registers
            full = len(held) > self._config.delay_entries + 1
            if line >= self._config.delay_lines or full or leaves in held:
                raise ConflictError(f"line {line}")
            self._lines[line] = [*held, leaves]
        self._arrive(leaves, cell + 1, value)

    def _arrive(self, cycle: int, cell: int, value: tuple[Stream, int]) -> None:
        if (cycle, cell) in self._arriving:
            raise ConflictError(f"cell {cell}")
        self._arriving[cycle, cell] = value


def streams_of(shapes: Sequence[Shape]) -> list[Stream]:
    generator = np.random.default_rng(5)
    return [
        Stream(
            random_integers(generator, (rows + high - 1, columns + wide - 1), "int16"),
            random_integers(generator, (high, wide), "int16"),
        )
        for (high, wide), (rows, columns) in shapes
    ]


def sums_of(streams: Sequence[Stream], starts: Sequence[int]) -> list[Integers]:
    """What leaves a column, for each stream, where streams begin at these cycles."""
    column, entering = Column(CONFIG), {}
    for stream, start in zip(streams, starts, strict=True):
        for place, value in enumerate(stream.image.ravel().tolist()):
            entering[start + place] = (stream, value)
    end = max(entering) + CONFIG.rows
    left = {cycle - CONFIG.rows: column.clock(cycle, entering.get(cycle)) for cycle in range(end + 1)}
    result = []
    for stream, start in zip(streams, starts, strict=True):
        places = np.array([left[start + i] for i in range(stream.image.size)], object)
        high, wide = stream.taps.shape
        result.append(places.reshape(stream.image.shape)[high - 1 :, wide - 1 :])
    return result


def starts_of(streams: Sequence[Stream]) -> list[int]:
    """When the timing model begins each of them, one after the other."""
    commands: list[isa.Command] = [filter_of(s.image[:, :, None], s.taps[:, :, None]) for s in streams]
    return Simulator(program_of(commands), b"").profile().starts.tolist()[: len(commands)]


@pytest.mark.parametrize(
    "shapes",
    [
        [((3, 3), (4, 5))],
        [((3, 2), (3, 1))],
        [((1, 5), (1, 9))],
        [((3, 5), (6, 33))],
        [((3, 5), (6, 7)), ((2, 5), (6, 7)), ((3, 5), (6, 7))],
        [((2, 2), (5, 6)), ((1, 2), (5, 6)), ((2, 1), (5, 6)), ((1, 1), (5, 6))],
        [((2, 7), (1, 1)), ((3, 1), (6, 1))],
        [((3, 3), (2, 20)), ((3, 3), (2, 4)), ((2, 8), (2, 3)), ((3, 1), (9, 1)), ((3, 5), (1, 30))],
    ],
    ids=str,
)
def test_a_column_of_cells_gives_the_sums_when_the_timing_model_says(shapes: list[Shape]) -> None:
    streams = streams_of(shapes)
    for stream, found in zip(streams, sums_of(streams, starts_of(streams)), strict=True):
        expected = filtered(stream.image[:, :, None], stream.taps[:, :, None])[:, :, 0]
        np.testing.assert_array_equal(found.astype(np.int64), expected)


def test_delay_lines_for_other_rows_of_taps_would_not_be_free_before() -> None:
    streams = streams_of([((3, 3), (2, 20)), ((3, 3), (6, 4))])
    first, second = starts_of(streams)
    assert second > first + streams[0].image.size
    with pytest.raises(ConflictError):
        sums_of(streams, [first, first + streams[0].image.size])
