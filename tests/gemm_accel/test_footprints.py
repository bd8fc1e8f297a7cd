"""Footprints are the hulls of what commands read and write."""

from targets.gemm_accel import isa
from targets.gemm_accel.footprints import DRAM, SCRATCHPAD, Footprint, footprints


def test_a_load_reads_a_grid_and_writes_one() -> None:
    load = isa.Load(100, 4000, isa.Type.I16, (1, 1, 2, 3, 4), (0, 0, 1000, 100, 2), (0, 0, 24, 8, 2))
    assert footprints(load) == [
        Footprint(SCRATCHPAD, 4000, 4048, True),
        Footprint(DRAM, 100, 100 + 1000 + 200 + 6 + 2, False),
    ]


def test_padding_before_the_memory_is_not_read() -> None:
    bounded = isa.Load(
        -64,
        0,
        isa.Type.I16,
        (1, 1, 1, 2, 4),
        (0, 0, 0, 128, 2),
        (0, 0, 0, 8, 2),
        isa.Bound(-1, (0, 0, 0, 1, 0), 8),
    )
    assert footprints(bounded)[1] == Footprint(DRAM, 0, 72, False)


def test_a_product_reads_two_matrices_of_dense_rows() -> None:
    gemm = isa.Gemm(0, isa.Type.I16, 100, 5000, isa.Type.I8, 10, 4, 5, 6, 0)
    assert footprints(gemm) == [
        Footprint(SCRATCHPAD, 0, 310, False),
        Footprint(SCRATCHPAD, 5000, 5046, False),
    ]


def test_a_filter_reads_an_image_with_its_border_and_taps() -> None:
    command = isa.Filter(0, isa.Type.I16, (100, 10), 5000, isa.Type.I8, 5, (3, 2), (4, 6, 5), 0)
    assert footprints(command) == [
        Footprint(SCRATCHPAD, 0, 5 * 100 + 6 * 10 + 4 * 2 + 2, False),
        Footprint(SCRATCHPAD, 5000, 5000 + 5 * 5 + 5, False),
    ]


def test_the_stream_and_absent_operands_touch_nothing() -> None:
    drain = isa.Drain(0, (1, 4, 6), isa.NONE, 0, isa.Destination(isa.STREAM))
    assert footprints(drain) == [Footprint(SCRATCHPAD, 0, 48, False)]
    pwl = isa.Pwl(isa.Operand(isa.STREAM), 0, (1, 4, 6), isa.Destination(64, isa.Type.I16, (0, 12)))
    assert footprints(pwl) == [Footprint(SCRATCHPAD, 64, 64 + 48, True)]


def test_a_repeated_operand_is_one_row() -> None:
    add = isa.Add(
        isa.Operand(0, isa.Type.I16, (0, 12), 2), isa.Operand(200, isa.Type.I32, (0, 0), 4), 1, 1, 1, (1, 4, 6),
        isa.Destination(400, isa.Type.I16, (0, 12)),
    )  # fmt: skip
    assert footprints(add) == [
        Footprint(SCRATCHPAD, 0, 48, False),
        Footprint(SCRATCHPAD, 200, 224, False),
        Footprint(SCRATCHPAD, 400, 448, True),
    ]
