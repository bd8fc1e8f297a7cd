"""The simulated cycles of networks against the array's limit: `python -m tests.bench.cycles [NETWORK]… [--config NAME]…`.

The limit of the array is a multiply-add a cell and cycle, that of the DRAM its width a cycle. SCALE-Sim's formula for an
output-stationary array of R × C, (2R + C + K − 2)·⌈M/R⌉·⌈N/C⌉ cycles a product, stands beside them: what the same products
would take where filling and draining are not overlapped.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nmc.compiler import Compilation, compile_model, to_commands
from nmc.macs import count_macs
from nmc.manifest import Product
from nmc.options import Options
from nmc.packaging import products_of
from targets.gemm_accel.config import AcceleratorConfig, load_config, preset_names
from targets.gemm_accel.simulator import Simulator, Timing
from tests.bench.networks import NETWORKS

DIRECTORY = Path("build/bench")


@dataclass(frozen=True)
class Measurement:
    """One network on one accelerator; `unit_shares` are the shares of all cycles that each unit is occupied."""

    network: str
    config: str
    cycles: int
    macs: int
    array_limit: int
    dram_limit: int
    scalesim_cycles: int
    unit_shares: dict[str, float]
    arena_bytes: int
    arena_lower_bound: int

    @property
    def bound(self) -> str:
        """The unit that is occupied longest, and for how long."""
        unit = max(self.unit_shares, key=lambda name: self.unit_shares[name])
        return f"{unit} {self.unit_shares[unit]:.0%}"


def main(arguments: Sequence[str] = ()) -> None:
    """Measures, prints the table and writes it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)}; all without"
    )
    parser.add_argument("--config", action="append", help=f"of {', '.join(preset_names())}; can be repeated")
    parser.add_argument("--json", type=Path, default=DIRECTORY / "cycles.json", help="where the numbers go")
    chosen = parser.parse_args(arguments)
    configs = chosen.config or ["default"]
    rows = [row for name in chosen.networks or NETWORKS for row in measure(name, configs)]
    print(table(rows))
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def measure(name: str, configs: Sequence[str]) -> list[Measurement]:
    """Compiles a network once and generates its commands for each accelerator."""
    network = NETWORKS[name]()
    options = Options(shapes=network.shapes, calibration=network.calibration, config=configs[0])
    made = compile_model(network.model, options)
    rows = [_measurement(name, configs[0], made)]
    for config in configs[1:]:
        made = to_commands(replace(made, config=load_config(config)), lambda _step: None)
        rows.append(_measurement(name, config, made))
    return rows


def _measurement(name: str, config_name: str, made: Compilation) -> Measurement:
    config, regions = made.config, list(made.regions.values())
    times = [Simulator(region.program, region.constants).profile() for region in regions]
    cycles, macs = sum(time.cycles for time in times), count_macs(made.deepest)[0]
    moved = sum(time.bytes_read + time.bytes_written for time in times)
    return Measurement(
        network=name,
        config=config_name,
        cycles=cycles,
        macs=macs,
        array_limit=-(-macs // (config.rows * config.columns)),
        dram_limit=-(-moved // config.dram_bytes_per_cycle),
        scalesim_cycles=sum(scalesim_cycles(product, config) for product in products_of(made.deepest)),
        unit_shares=_unit_shares(times, cycles),
        arena_bytes=max(region.arena_bytes for region in regions),
        arena_lower_bound=max(region.arena_lower_bound for region in regions),
    )


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


def table(rows: Sequence[Measurement]) -> str:
    """The rows in Markdown."""
    lines = [
        "| network | config | cycles | × MACs limit | × DRAM limit | SCALE-Sim × | longest occupied | arena / bound |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.network} | {row.config} | {row.cycles:,} | {row.cycles / row.array_limit:.3f} "
            f"| {row.cycles / row.dram_limit:.3f} | {row.scalesim_cycles / row.cycles:.2f} "
            f"| {row.bound} | {row.arena_bytes / max(row.arena_lower_bound, 1):.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
