"""The simulated cycles of networks against the array's limit: `python -m tests.bench.cycles [NETWORK]… [--config NAME]…`.

The limit of the array is a multiply-add a cell and cycle; that of the DRAM its width a cycle, for the bytes that the program
moves (`× DRAM`) and for those that any program has to (`× least DRAM`): constants and inputs once in, outputs once out;
`× larger limit` divides by the larger of the array's and this least one.
SCALE-Sim's formula for an output-stationary array of R × C, (2R + C + K − 2)·⌈M/R⌉·⌈N/C⌉ cycles a product, stands beside
them: what the same products would take where filling and draining are not overlapped.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nmc.compiler import Compilation, compile_model, to_commands
from nmc.macs import count_macs
from nmc.manifest import Product
from nmc.options import Options
from nmc.packaging import products_of
from targets.gemm_accel import isa
from targets.gemm_accel.codegen import CompiledRegion
from targets.gemm_accel.config import AcceleratorConfig, load_config, preset_names
from targets.gemm_accel.simulator import Simulator, Timing
from tests.bench.networks import NETWORKS
from tests.bench.results import DIRECTORY, parser_of

CONFIGS = ("default", "8x8", "32x32", "64x64")


@dataclass(frozen=True)
class Measurement:
    """One network on one accelerator; `unit_shares` are the shares of all cycles that each unit is occupied."""

    network: str
    config: str
    cycles: int
    macs: int
    array_limit: int
    dram_limit: int
    least_dram_limit: int
    scalesim_cycles: int
    unit_shares: dict[str, float]
    arena_bytes: int
    arena_lower_bound: int

    @property
    def bound(self) -> str:
        """The unit that is occupied longest, and for how long."""
        unit = max(self.unit_shares, key=lambda name: self.unit_shares[name])
        return f"{unit} {self.unit_shares[unit]:.0%}"

    @property
    def line(self) -> str:
        """The row in Markdown."""
        least = max(self.array_limit, self.least_dram_limit)
        ratios = [self.array_limit, self.dram_limit, self.least_dram_limit, least]
        return (
            f"| {self.network} | {self.config} | {self.cycles:,} | "
            + " | ".join(f"{self.cycles / limit:.3f}" for limit in ratios)
            + f" | {self.bound} | {self.scalesim_cycles / self.cycles:.2f} | {self.arena_bytes / 2**20:.2f} MiB "
            f"| {self.arena_bytes / max(self.arena_lower_bound, 1):.3f} |"
        )


HEADER = (
    "| network | array | cycles | × MACs | × DRAM | × least DRAM | × larger limit | occupied longest | SCALE-Sim × "
    "| arena | / live set |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
)


def main(arguments: Sequence[str] = ()) -> None:
    """Measures, prints the table and writes it as JSON."""
    parser = parser_of(__doc__, "network", NETWORKS)
    parser.add_argument("--config", action="append", help=f"of {', '.join(preset_names())}; repeatable")
    parser.add_argument("--json", type=Path, default=DIRECTORY / "cycles.json", help="where the numbers go")
    chosen = parser.parse_args(arguments)
    print("\n".join(HEADER), flush=True)
    rows = []
    for name in chosen.network or NETWORKS:
        for row in measure(name, chosen.config or CONFIGS):
            print(row.line, flush=True)
            rows.append(row)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def measure(name: str, configs: Sequence[str]) -> Iterator[Measurement]:
    """Compiles a network once and generates its commands for each accelerator, one after the other."""
    network = NETWORKS[name]()
    options = Options(shapes=network.shapes, calibration=network.calibration, config=configs[0])
    made = compile_model(network.model, options)
    yield _measurement(name, configs[0], made)
    for config in configs[1:]:
        made = to_commands(replace(made, config=load_config(config), regions={}), lambda _step: None)
        yield _measurement(name, config, made)


def _measurement(name: str, config_name: str, made: Compilation) -> Measurement:
    config, regions = made.config, list(made.regions.values())
    times = [Simulator(region.program, region.constants).profile() for region in regions]
    cycles, macs = sum(time.cycles for time in times), count_macs(made.deepest)[0]
    moved = sum(time.bytes_read + time.bytes_written for time in times)
    least = sum(map(_least_bytes, regions, times))
    return Measurement(
        network=name,
        config=config_name,
        cycles=cycles,
        macs=macs,
        array_limit=-(-macs // (config.rows * config.columns)),
        dram_limit=-(-moved // config.dram_bytes_per_cycle),
        least_dram_limit=-(-least // config.dram_bytes_per_cycle),
        scalesim_cycles=sum(scalesim_cycles(product, config) for product in products_of(made.deepest)),
        unit_shares=_unit_shares(times, cycles),
        arena_bytes=max(region.arena_bytes for region in regions),
        arena_lower_bound=max(region.arena_lower_bound for region in regions),
    )


def _least_bytes(region: CompiledRegion, time: Timing) -> int:
    """What any program has to move: the constants that are read, the inputs and the outputs, each once."""
    program, read = region.program, {}
    for command, moved in zip(program.commands, time.dram_bytes.tolist(), strict=True):
        if (
            isinstance(command, isa.Load | isa.Gather | isa.LoadTable)
            and command.dram < program.constant_bytes
        ):
            read[command.dram] = max(moved, read.get(command.dram, 0))
    tensors = [*program.inputs, *program.outputs]
    return sum(read.values()) + sum(math.prod(tensor.shape) * tensor.type.bytes for tensor in tensors)


def _unit_shares(times: Sequence[Timing], cycles: int) -> dict[str, float]:
    return {
        "array": sum(time.array_cycles for time in times) / cycles,
        "drain unit": sum(time.drain_cycles for time in times) / cycles,
        "DRAM port": sum(time.port_cycles for time in times) / cycles,
    }


def scalesim_cycles(product: Product, config: AcceleratorConfig) -> int:
    """SCALE-Sim's cycles of a product on an output-stationary array (arXiv 1811.02883)."""
    fold = 2 * config.rows + config.columns + product.depth - 2
    folds = -(-product.rows // config.rows) * -(-product.columns // config.columns)
    return product.groups * fold * folds


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
