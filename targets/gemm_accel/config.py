"""The accelerator as numbers: one frozen description, read from TOML and checked."""

import hashlib
import json
import math
import tomllib
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nmc.errors import ConfigError

PRESETS = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class EnergyPerOperation:
    """Picojoules of one operation of each kind."""

    multiply_add: float = 0.6
    elementwise: float = 0.8
    scratchpad_byte: float = 0.6
    dram_byte: float = 20.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ConfigError(
                    f"energy.{name} is {value!r}; it must be a number of picojoules, at least 0"
                )


@dataclass(frozen=True)
class AcceleratorConfig:
    """An array of rows × columns multipliers with its memories. Raises ConfigError for what no hardware could be.

    A column of the array that filters a channel has `delay_lines` of up to `delay_entries` values, to put between its cells.
    """

    rows: int = 16
    columns: int = 16
    data_bits: int = 16
    scratchpad_bytes: int = 256 * 1024
    accumulator_entries: int = 32768
    table_slots: int = 8
    table_entries: int = 256
    dram_bytes_per_cycle: int = 16
    dram_latency_cycles: int = 64
    outstanding_transfers: int = 8
    semaphores: int = 16
    delay_lines: int = 2
    delay_entries: int = 32
    clock_megahertz: float = 500.0
    energy: EnergyPerOperation = EnergyPerOperation()

    def __post_init__(self) -> None:
        for name, number in NUMBERS.items():
            value = getattr(self, name)
            inside = isinstance(value, int | float) and number.low <= value <= number.high
            if isinstance(value, bool) or not inside:
                raise ConfigError(
                    f"{name} is {value!r}; it must be a number from {number.low} to {number.high}"
                )
            if name != "clock_megahertz" and not isinstance(value, int):
                raise ConfigError(f"{name} is {value!r}; it must be a whole number")
        if self.data_bits not in (8, 16):
            raise ConfigError(f"data_bits is {self.data_bits}; it must be 8 or 16")
        if self.scratchpad_bytes % 64:
            raise ConfigError(f"scratchpad_bytes is {self.scratchpad_bytes}; it must be a multiple of 64")
        if self.accumulator_entries < 2 * self.rows * self.columns:
            raise ConfigError(
                f"accumulator_entries is {self.accumulator_entries}; two tiles of {self.rows}×{self.columns} need "
                f"{2 * self.rows * self.columns}"
            )
        needed = 16 * self.rows * self.columns * (self.data_bits // 8)
        if self.scratchpad_bytes < needed:
            raise ConfigError(
                f"scratchpad_bytes is {self.scratchpad_bytes}; the tiles of a {self.rows}×{self.columns} array need {needed}"
            )

    @property
    def hash(self) -> bytes:
        """SHA-256, 32 bytes, of all that programs depend on: the clock and the energies are left out.

        A program runs on the accelerator that it was compiled for only.
        """
        machine = {
            name: value for name, value in asdict(self).items() if name not in ("clock_megahertz", "energy")
        }
        return hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).digest()


@dataclass(frozen=True)
class Number:
    """What one of an accelerator's numbers means, and from where to where it can be."""

    meaning: str
    low: float
    high: float


NUMBERS: dict[str, Number] = {
    "rows": Number("rows of multipliers", 1, 1024),
    "columns": Number("columns of multipliers", 1, 1024),
    "data_bits": Number("bits of a multiplier's factors, 8 or 16", 8, 16),
    "scratchpad_bytes": Number("bytes of the scratchpad, a multiple of 64", 4096, 1 << 30),
    "accumulator_entries": Number("sums that the accumulators hold", 64, 1 << 26),
    "table_slots": Number("tables of line segments that the table memory holds", 1, 256),
    "table_entries": Number("segments of a table at most", 64, 512),
    "dram_bytes_per_cycle": Number("bytes that the DRAM port moves in a cycle", 1, 4096),
    "dram_latency_cycles": Number("cycles from a transfer's last beat to its data", 0, 100_000),
    "outstanding_transfers": Number("transfers of a queue that may be incomplete", 1, 1024),
    "semaphores": Number("semaphores between the queues", 6, 65536),
    "delay_lines": Number("delay lines of a column that filters", 0, 1024),
    "delay_entries": Number("values that a delay line holds", 0, 1 << 20),
    "clock_megahertz": Number("the clock, for estimates in seconds", 0.001, 100_000),
}
"""By its key in TOML."""


def preset_names() -> list[str]:
    """The names of the accelerators that come with nmc."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_config(name: str) -> AcceleratorConfig:
    """The accelerator of a preset's name, or of a TOML file's path.

    Raises ConfigError when there is neither, when the file is not TOML, or for an unknown key or impossible value.
    """
    path = PRESETS / f"{name}.toml" if name in preset_names() else Path(name)
    if not path.is_file():
        raise ConfigError(
            f"there is no accelerator '{name}'; give a TOML file or one of {', '.join(preset_names())}"
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from None
    try:
        return config_from(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def config_from(values: dict[str, Any]) -> AcceleratorConfig:
    """The accelerator of a mapping as TOML or JSON give it; keys that are missing take their default."""
    known = {field.name for field in fields(AcceleratorConfig)}
    energy = values.get("energy", {})
    if not isinstance(energy, dict):
        raise ConfigError(f"energy is {energy!r}; it must be a table of numbers")
    known_energy = {field.name for field in fields(EnergyPerOperation)}
    unknown = [*(set(values) - known), *(f"energy.{key}" for key in set(energy) - known_energy)]
    if unknown:
        keys = sorted(known - {"energy"}) + sorted(f"energy.{key}" for key in known_energy)
        near = get_close_matches(sorted(unknown)[0], keys, 1)
        guess = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(keys)}"
        raise ConfigError(f"unknown key {sorted(unknown)[0]}; {guess}")
    numbers = {key: value for key, value in values.items() if key != "energy"}
    return AcceleratorConfig(**numbers, energy=EnergyPerOperation(**energy))
