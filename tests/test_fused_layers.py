"""What runs only in the chains of another layer's drains is shown with it."""

from nmc.fused_layers import fused_layers, with_fused
from targets.gemm_accel import isa

STREAMED, INTO_STREAM = isa.Operand(isa.STREAM), isa.Destination(isa.STREAM)
PLACE = isa.Destination(64, isa.Type.I16, (0, 12))
GEMM = isa.Gemm(0, isa.Type.I16, 10, 64, isa.Type.I16, 12, 4, 5, 6, 0)
DRAIN = isa.Drain(0, (1, 4, 6), isa.NONE, 128, INTO_STREAM)
CHAINED = isa.Pwl(STREAMED, 0, (1, 4, 6), PLACE)
ALONE = isa.Pwl(isa.Operand(64, isa.Type.I16, (0, 12), 2), 1, (1, 4, 6), PLACE)
STORE = isa.Store(0, 64, isa.Type.I16, (1, 1, 1, 1, 24), (0, 0, 0, 0, 2), (0, 0, 0, 0, 2))
CONVOLUTION = [(GEMM, "conv"), (DRAIN, "conv"), (CHAINED, "relu"), (STORE, "relu")]


def test_a_table_in_the_chain_of_a_drain_belongs_to_the_drained_layer() -> None:
    assert fused_layers(CONVOLUTION) == {"relu": "conv"}
    assert with_fused(CONVOLUTION, "conv") == {"conv", "relu"}
    assert with_fused(CONVOLUTION, "relu") == {"relu"}


def test_a_layer_with_a_command_of_its_own_stays_one() -> None:
    commands = [*CONVOLUTION, (ALONE, "relu")]
    assert fused_layers(commands) == {}
    assert with_fused(commands, "conv") == {"conv"}
