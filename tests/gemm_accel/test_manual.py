"""ISA.md."""

from targets.gemm_accel import isa
from targets.gemm_accel.manual import MANUAL, manual_text


def test_the_manual_is_up_to_date() -> None:
    hint = "regenerate it with `python -m targets.gemm_accel.manual`"
    assert MANUAL.read_text(encoding="utf-8") == manual_text(), hint


def test_the_manual_has_a_section_for_each_command() -> None:
    for cls in isa.COMMANDS.values():
        assert f"### {isa.mnemonic(cls)} ({cls.opcode})" in manual_text()
