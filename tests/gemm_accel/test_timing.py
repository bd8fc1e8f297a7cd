"""The timing model against cycles counted by hand, on an array of 4×4 with a DRAM port of 8 bytes and latency 10."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from targets.gemm_accel import isa
from targets.gemm_accel.config import AcceleratorConfig
from targets.gemm_accel.simulator import Simulator, Timing
from tests.gemm_accel.bench import COMPUTE, LOAD, STORE, line, program_of

CONFIG = AcceleratorConfig(
    rows=4, columns=4, dram_bytes_per_cycle=8, dram_latency_cycles=10, outstanding_transfers=2
)
RESULT = 4 + 4 - 1
"""Cycles from the last line of operands to the result."""
FILL = 4
"""Cycles to fill an idle array with weights."""
CONSTANTS, ARENA = 4096, 8192
I8, I16, I32 = isa.Type.I8, isa.Type.I16, isa.Type.I32
INTO_STREAM, STREAMED = isa.Destination(isa.STREAM, I16), isa.Operand(isa.STREAM, I16)


def time(commands: Sequence[isa.Command], config: AcceleratorConfig = CONFIG) -> Timing:
    program = program_of(commands, (), (), CONSTANTS, ARENA, config)
    return Simulator(program, bytes(CONSTANTS)).profile()


def spans(timing: Timing) -> list[tuple[int, int]]:
    """(start, end) of each command but END."""
    return list(zip(timing.starts.tolist(), timing.ends.tolist(), strict=True))[:-1]


def gemm(
    m: int, k: int, n: int, accumulator: int = 0, accumulate: int = 0, a: int = 0, b: int = 8192
) -> isa.Gemm:
    return isa.Gemm(a, I16, 2 * k, b, I16, 2 * n, m, k, n, accumulator, accumulate)


def drain(rows: int, columns: int, accumulator: int = 0, out: int = 32768) -> isa.Drain:
    return isa.Drain(
        accumulator, (1, rows, columns), isa.NONE, 30000, isa.Destination(out, I16, (0, 2 * columns))
    )


def operand(address: int, columns: int, kind: isa.Type = I16) -> isa.Operand:
    return isa.Operand(address, kind, (0, columns * kind.bytes), kind.bytes)


def test_a_load_takes_its_beats_and_then_the_latency() -> None:
    timing = time([line(isa.Load, 0, 0, 33)])
    assert spans(timing) == [(0, 5 + 10)]
    assert (timing.cycles, timing.port_cycles, timing.bytes_read, timing.bytes_written) == (15, 5, 33, 0)
    assert timing.busy.tolist() == [5, 0] and timing.dram_bytes.tolist() == [33, 0]


@pytest.mark.parametrize(
    ("strides", "scratchpad_strides", "beats"),
    [
        ((0, 0, 30, 10, 1), (0, 0, 30, 10, 1), 8),  # 60 bytes in one run
        ((0, 0, 64, 10, 1), (0, 0, 30, 10, 1), 2 * 4),  # two runs of 30 bytes
        ((0, 0, 64, 16, 1), (0, 0, 30, 10, 1), 6 * 2),  # six runs of 10 bytes
        (
            (0, 0, 30, 10, 1),
            (0, 0, 64, 16, 1),
            8,
        ),  # one run of DRAM, however it is laid out in the scratchpad
        ((0, 0, 1, 2, 6), (0, 0, 30, 10, 1), 60),  # every element alone
        ((0, 0, 64, 16, 0), (0, 0, 30, 10, 1), 6),  # an element that repeats is moved once
        ((0, 0, 0, 0, 1), (0, 0, 30, 10, 1), 6 * 2),  # a run that repeats is moved again
    ],
)
def test_a_beat_carries_bytes_of_one_run_only(
    strides: tuple[int, ...], scratchpad_strides: tuple[int, ...], beats: int
) -> None:
    timing = time([isa.Load(0, 0, I8, (1, 1, 2, 3, 10), strides, scratchpad_strides)])
    assert timing.port_cycles == beats


def test_elements_outside_the_bounds_cost_nothing() -> None:
    padded = isa.Load(
        -20, 0, I8, (1, 1, 1, 4, 20), (0, 0, 0, 20, 1), (0, 0, 0, 20, 1), isa.Bound(-1, (0, 0, 0, 1, 0), 2)
    )
    timing = time([padded])
    assert (timing.port_cycles, timing.bytes_read) == (5, 40)  # two rows that follow each other: 40 bytes


def test_the_latency_is_paid_once_while_the_port_is_kept_busy() -> None:
    # the third transfer may not be asked for before the first is complete
    timing = time([line(isa.Load, 0, 0, 128)] * 3)
    assert spans(timing) == [(0, 26), (16, 42), (32, 58)]
    short = time([line(isa.Load, 0, 0, 8)] * 3)
    assert spans(short) == [(0, 11), (1, 12), (11, 22)]


def test_a_gather_waits_for_its_indices() -> None:
    timing = time([isa.Gather(64, 0, I8, (4, 1, 1, 1, 12), (16, 0, 0, 0, 1), (12, 0, 0, 0, 1), 0, 8)])
    assert spans(timing) == [(0, (2 + 4 * 2) + 2 * 10)]
    assert timing.bytes_read == 16 + 48


def test_loads_and_stores_share_the_port_in_the_order_of_asking() -> None:
    timing = time([line(isa.Load, 0, 0, 80), line(isa.Store, 4096, 1024, 80), line(isa.Load, 0, 2048, 80)])
    assert spans(timing) == [(0, 20), (20, 40), (10, 30)]  # all ask at 0: the load queue goes first
    late = time(
        [
            line(isa.Load, 0, 0, 80), isa.Signal(LOAD, 0), isa.Wait(STORE, 0), line(isa.Store, 4096, 0, 80),
            line(isa.Load, 0, 2048, 160), line(isa.Load, 0, 4096, 160),
        ]
    )  # fmt: skip
    # both later ask at 20, when the first load is complete, while the second still occupies the port
    assert spans(late)[3:] == [(50, 70), (10, 40), (30, 60)]


def test_a_gemm_occupies_the_array_by_tiles_of_its_weights() -> None:
    timing = time([gemm(10, 9, 5)])
    cycles = 3 * 2 * 10  # ⌈9/4⌉·⌈5/4⌉ tiles of 10 rows
    assert spans(timing) == [(FILL, FILL + cycles + RESULT)]
    assert (timing.array_cycles, timing.cycles) == (cycles, FILL + cycles + RESULT)


def test_a_gemm_of_few_rows_waits_for_the_next_weights() -> None:
    # blocks of 4, 4 and 1 rows, twice: all but the first fill behind a pass, and nothing behind the last
    assert time([gemm(1, 9, 5)]).array_cycles == 4 + 1 + 4 + 4 + 1 + 1
    assert time([gemm(3, 9, 5)]).array_cycles == 4 + 3 + 4 + 4 + 3 + 3


def test_the_first_weights_of_a_gemm_fill_behind_the_last_pass_of_the_one_before() -> None:
    timing = time([gemm(1, 6, 4), gemm(1, 3, 4, accumulator=40), gemm(9, 4, 4, accumulator=80)])
    # 4 rows fill, a pass while 2 rows fill, the last pass; then 3 and 4 rows fill behind passes of one row
    assert [start for start, _ in spans(timing)] == [4, 6 + 3, 9 + 4]


@pytest.mark.parametrize(
    ("kind", "bits", "factor"), [(I16, 16, 1), (I32, 16, 2), (I8, 8, 1), (I16, 8, 2), (I32, 8, 4)]
)
def test_an_operand_wider_than_the_multipliers_streams_in_parts(
    kind: isa.Type, bits: int, factor: int
) -> None:
    wide = isa.Gemm(0, kind, 16, 8192, I8, 4, 10, 4, 4, 0)
    config = replace(CONFIG, data_bits=bits)
    assert time([wide], config).array_cycles == 10 * factor
    counts, small = (2, 3, 5), replace(operand(8192, 5), type=I8)
    image = isa.Filter(0, kind, (64, 4 * kind.bytes), 8192, I8, 4, (2, 1), (2, 3, 4), 0)
    assert time([image], config).array_cycles == (2 + 1) * 3 * factor
    out = isa.Destination(65536, I16, (64, 10))
    assert time([isa.Pwl(operand(0, 5, kind), 0, counts, out)], config).array_cycles == 12 * factor
    assert time([isa.Add(operand(0, 5, kind), small, 1, 1, 1, counts, out)], config).array_cycles == 12


def test_the_weights_of_the_next_gemm_fill_behind_the_running_one() -> None:
    timing = time([gemm(10, 4, 4), gemm(10, 4, 4, accumulator=40)])
    assert spans(timing) == [(4, 14 + RESULT), (14, 24 + RESULT)]


def test_sums_are_added_to_without_a_pause() -> None:
    timing = time([gemm(10, 4, 4), gemm(10, 4, 4, accumulate=1)])
    assert spans(timing) == [(4, 14 + RESULT), (14, 24 + RESULT)]


def image_filter(kernel: tuple[int, int], counts: tuple[int, int, int], accumulate: int = 0) -> isa.Filter:
    return isa.Filter(0, I16, (256, 16), 8192, I16, 16, kernel, counts, 0, accumulate)


def test_a_filter_streams_its_image_once_for_each_block_of_channels() -> None:
    timing = time([image_filter((2, 2), (3, 5, 8))])
    cycles = 2 * (3 + 1) * (5 + 1)  # 8 channels are two blocks
    assert spans(timing) == [(FILL, FILL + cycles + RESULT)]
    assert timing.array_cycles == cycles


def test_the_taps_of_a_filter_fill_behind_what_streams_before_them() -> None:
    # of 8 channels each block has 4 taps; the image of one place streams in a cycle, and the next block fills in 4
    assert time([image_filter((1, 4), (1, 1, 8))]).array_cycles == 4 + 4
    assert time([image_filter((2, 2), (1, 1, 12))]).array_cycles == 4 + 4 + 4
    assert time([image_filter((1, 1), (1, 1, 12))]).array_cycles == 1 + 1 + 1
    timing = time(
        [image_filter((2, 2), (3, 5, 4)), image_filter((1, 3), (3, 5, 4), accumulate=1), gemm(10, 4, 4, 60)]
    )
    first, second = 4 * 6, 3 * 7
    assert [start for start, _ in spans(timing)] == [4, 4 + first, 4 + first + second]


def test_a_filter_of_other_rows_of_taps_waits_until_the_delay_lines_are_empty() -> None:
    first = image_filter(
        (2, 2), (3, 5, 4)
    )  # 24 places stream; the last leaves the line 2·2 + 5 - 1 cycles later
    for second, waits in (
        (image_filter((2, 2), (1, 5, 4)), 0),
        (image_filter((1, 3), (3, 5, 4)), 0),
        (image_filter((2, 1), (3, 5, 4)), 8),
        (image_filter((2, 2), (3, 4, 4)), 8),
    ):
        assert [start for start, _ in spans(time([first, second]))] == [FILL, FILL + 24 + waits]


def test_a_drain_waits_for_the_sums_and_leaves_the_array_to_the_next_gemm() -> None:
    timing = time([gemm(10, 4, 4), drain(10, 4), gemm(10, 4, 4, accumulator=40), drain(10, 4, 40, 40000)])
    first, second = 14 + RESULT, 24 + RESULT  # when the sums are there
    assert spans(timing) == [
        (4, first), (first, first + 10 + RESULT), (14, second), (second, second + 10 + RESULT),
    ]  # fmt: skip
    assert (timing.array_cycles, timing.drain_cycles) == (20, 20)


def test_a_gemm_that_begins_sums_anew_waits_until_they_are_drained() -> None:
    timing = time([gemm(10, 4, 4), drain(10, 4), gemm(10, 4, 4)])
    drained = 14 + RESULT + 10
    assert spans(timing)[2] == (drained, drained + 10 + RESULT)


def test_a_chain_costs_no_more_than_its_drain() -> None:
    counts = (1, 10, 4)
    chain = [
        replace(drain(10, 4), destination=INTO_STREAM),
        isa.Pwl(STREAMED, 0, counts, INTO_STREAM),
        isa.Add(STREAMED, operand(60000, 4), 1, 1, 1, counts, isa.Destination(32768, I16, (0, 8))),
    ]
    timing = time(chain)
    assert spans(timing) == [(0, 10 + RESULT)] * 3
    assert timing.busy.tolist() == [10, 0, 0, 0] and timing.drain_cycles == 10


def test_an_element_wise_command_waits_for_what_it_reads() -> None:
    out = isa.Destination(65536, I16, (0, 8))
    first = isa.Add(operand(0, 4), operand(0, 4), 1, 1, 1, (1, 10, 4), out)
    dependent = isa.Add(operand(65536, 4), operand(0, 4), 1, 1, 1, (1, 10, 4), replace(out, address=70000))
    independent = replace(dependent, a=operand(4096, 4))
    assert spans(time([first, dependent])) == [(0, 10 + RESULT), (10 + RESULT, 20 + 2 * RESULT)]
    assert spans(time([first, independent])) == [(0, 10 + RESULT), (10, 20 + RESULT)]


def test_a_unit_holds_one_command_that_waits() -> None:
    # the third drain cannot be issued before the second begins, so the GEMM behind it is issued only then
    drains = [drain(10, 4, 0, out) for out in (32768, 36864, 40960)]
    timing = time([*drains, gemm(10, 4, 4, accumulator=40)])
    assert [start for start, _ in spans(timing)] == [0, 10, 20, 10 + FILL]


def test_semaphores_order_queues_and_cost_nothing() -> None:
    timing = time(
        [
            line(isa.Load, 0, 0, 80), isa.Signal(LOAD, 0), line(isa.Load, 0, 4096, 80), isa.Wait(COMPUTE, 0),
            gemm(10, 4, 4), drain(10, 4), isa.Signal(COMPUTE, 1), isa.Wait(STORE, 1), line(isa.Store, 4096, 32768, 80),
        ]
    )  # fmt: skip
    summed = 20 + FILL + 10 + RESULT
    stored = summed + 10 + RESULT
    assert spans(timing) == [
        (0, 20), (0, 20), (10, 30), (0, 20), (20 + FILL, summed), (summed, stored), (20, stored),
        (0, stored), (stored, stored + 20),
    ]  # fmt: skip
    assert timing.cycles == stored + 20
