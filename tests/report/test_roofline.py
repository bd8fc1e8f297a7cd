"""A roofline holds for every layer, and its picture draws for any layers."""

from nmc.profile import LayerProfile
from nmc.report.roofline import points_of, roofline
from nmc.report.style import svg

CELLS, BYTES_PER_CYCLE = 256, 16


def layer(cycles: int, macs: int, dram_bytes: int, busy_cycles: int) -> LayerProfile:
    return LayerProfile("conv", "Conv", cycles, macs, 0.0, "DRAM port", busy_cycles, dram_bytes)


def test_a_layer_that_overlaps_others_is_not_above_the_roof() -> None:
    """Only 10 cycles are its own, but its 3200 bytes keep the port busy for 200."""
    (point,) = points_of([layer(cycles=10, macs=6400, dram_bytes=3200, busy_cycles=200)])
    assert point.rate == min(point.intensity * BYTES_PER_CYCLE, CELLS) == 32.0


def test_layers_that_multiply_nothing_are_left_out() -> None:
    assert points_of([layer(cycles=10, macs=0, dram_bytes=100, busy_cycles=10)]) == []


def test_the_picture_names_a_layer_without_traffic() -> None:
    text = svg(roofline([layer(10, 640, 0, 10)], CELLS, BYTES_PER_CYCLE))
    assert ">conv<" in text and ">array: 256 multiply-adds a cycle<" in text
    assert "DRAM port" in svg(roofline([], CELLS, BYTES_PER_CYCLE))
