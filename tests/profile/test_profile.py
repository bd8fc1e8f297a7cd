"""A profile gives each cycle to one layer, and each chain to the layer whose sums it drains."""

from collections.abc import Sequence

from nmc import profile
from nmc.manifest import Accelerator, Layer, Manifest, Offload, Product, Region
from nmc.package import Package
from nmc.timing import ARRAY, DRAIN, DRAM, CommandTime, RegionTime
from targets.gemm_accel import isa

LOAD = isa.Load(0, 0, isa.Type.I16, (1,) * 5, (2,) * 5, (2,) * 5)
STORE = isa.Store(0, 0, isa.Type.I16, (1,) * 5, (2,) * 5, (2,) * 5)
GEMM = isa.Gemm(0, isa.Type.I16, 2, 0, isa.Type.I16, 2, 4, 5, 6, 0)
CHAIN = isa.Drain(0, (1, 4, 6), isa.NONE, 0, isa.Destination(isa.STREAM))
PWL = isa.Pwl(isa.Operand(isa.STREAM), 0, (1, 4, 6), isa.Destination(0))
ALONE = isa.Pwl(isa.Operand(0), 0, (1, 4, 6), isa.Destination(0))


def layers_of(
    commands: Sequence[CommandTime], cycles: int, product: str = "conv"
) -> list[profile.LayerProfile]:
    """The layers of the profile of one region that ran these commands in these cycles on a 2×3 array; the layer
    `product` multiplies 4 × 5 by 5 × 6."""
    manifest = Manifest(
        nmc_version="0",
        model="m",
        model_sha256="",
        target="gemm-accel",
        options={},
        inputs=(),
        outputs=(),
        accelerator=Accelerator(1, "", {"rows": 2, "columns": 3, "clock_megahertz": 100.0}),
        border=None,
        host_features=(),
        regions=(Region("r", 0, 0, 0, 0, 64, 64),),
        layers=(Layer("conv", "Conv"), Layer("relu", "Relu")),
        products=(Product(product, 1, 4, 5, 6),),
        tables=(),
        fallback=(),
        offload=Offload(2, 2, 120, 120),
        members={},
    )
    times = [RegionTime(tuple(commands), cycles, 0, 0)]
    result = profile.profile_package(Package(manifest, b"", b""), times)
    assert result.cycles == cycles == sum(layer.cycles for layer in result.layers)
    assert result.utilization == sum(layer.macs for layer in result.layers) / (2 * 3 * cycles)
    return list(result.layers)


def test_a_chain_belongs_to_the_layer_whose_sums_it_drains() -> None:
    (layer,) = layers_of(
        [
            CommandTime(LOAD, "conv", DRAM, 0, 10, 10, 100),
            CommandTime(GEMM, "conv", ARRAY, 10, 40, 30, 0),
            CommandTime(CHAIN, "conv", DRAIN, 40, 50, 10, 0),
            CommandTime(PWL, "relu", ARRAY, 40, 50, 0, 0),
            CommandTime(STORE, "relu", DRAM, 50, 60, 10, 20),
        ],
        60,
    )
    assert (layer.name, layer.op, layer.cycles, layer.macs) == ("conv", "Conv + Relu", 60, 4 * 5 * 6)
    assert (layer.bound, layer.dram_bytes) == (ARRAY, 120)


def test_a_layer_with_commands_of_its_own_stays_one() -> None:
    first, second = layers_of(
        [
            CommandTime(GEMM, "conv", ARRAY, 0, 30, 30, 0),
            CommandTime(CHAIN, "conv", DRAIN, 30, 35, 5, 0),
            CommandTime(PWL, "relu", ARRAY, 30, 35, 0, 0),
            CommandTime(ALONE, "relu", ARRAY, 35, 50, 15, 0),
        ],
        50,
    )
    assert (first.name, first.cycles) == ("conv", 35)
    assert (second.name, second.cycles, second.macs) == ("relu", 15, 0)


def test_a_cycle_belongs_to_the_layer_that_the_array_works_for() -> None:
    first, second = layers_of(
        [
            CommandTime(LOAD, "conv", DRAM, 0, 100, 100, 100),
            CommandTime(GEMM, "relu", ARRAY, 20, 60, 40, 0),
        ],
        100,
        product="relu",
    )
    assert (first.cycles, first.bound) == (60, DRAM)
    assert (second.cycles, second.utilization) == (40, 4 * 5 * 6 / (2 * 3 * 40))


def test_layers_that_take_turns_share_the_cycles_of_their_common_loop() -> None:
    commands = []
    for start in range(0, 100, 20):
        commands.append(CommandTime(GEMM, "conv", ARRAY, start, start + 12, 12, 0))
        commands.append(CommandTime(ALONE, "relu", ARRAY, start + 12, start + 16, 4, 0))
        commands.append(CommandTime(STORE, "relu", DRAM, start + 16, start + 20, 4, 8))
    first, second = layers_of(commands, 100)
    assert (first.cycles, second.cycles) == (60, 40)


def test_a_rest_belongs_to_the_layer_of_what_comes_next_and_the_last_one_to_who_was_last() -> None:
    first, second = layers_of(
        [
            CommandTime(GEMM, "conv", ARRAY, 5, 20, 15, 0),
            CommandTime(ALONE, "relu", ARRAY, 30, 50, 20, 0),
        ],
        64,
    )
    assert (first.cycles, second.cycles) == (20, 44)


def test_a_layer_that_keeps_no_unit_busy_is_bound_by_latency() -> None:
    (layer,) = layers_of([CommandTime(LOAD, "conv", DRAM, 0, 70, 3, 6)], 70)
    assert layer.bound == profile.LATENCY
