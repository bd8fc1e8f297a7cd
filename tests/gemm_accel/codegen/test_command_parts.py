"""What commands are made of."""

from targets.gemm_accel import isa
from targets.gemm_accel.codegen.command_parts import operand_access
from targets.gemm_accel.codegen.synchronise import Access


def test_an_operand_that_runs_backwards_reads_below_its_address() -> None:
    """Three elements of two bytes, the first at byte 8: bytes 4 to 9, so that it waits for whatever writes them."""
    operand = isa.Operand(8, isa.element_type("int16"), (0, 0), -2)
    assert operand_access(operand, (1, 1, 3)) == Access("scratchpad", 4, 10, False)
