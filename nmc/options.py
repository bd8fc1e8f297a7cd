"""What a user can ask of a compile."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from nmc.defaults import DEFAULT_MAX_LOSS
from nmc.errors import ConfigError
from nmc.quant.clipping import METHODS

TARGETS = ("gemm-accel", "cpu")
AUTO_BITS = "auto"
CHOICES_OF_BITS = (8, 16, AUTO_BITS)


@dataclass(frozen=True)
class Options:
    """The options of `nmc compile`; raises ConfigError for a value that no compile can have."""

    target: str = "gemm-accel"
    level: int = 3
    """For the cpu target: 1 runs the float model, 2 its matrix form in floats, 3 the integers of the accelerator."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    binds: Mapping[str, np.ndarray] = field(default_factory=dict)
    calibration: Mapping[str, np.ndarray] | None = None
    """By input name, [samples, *shape]; None calibrates on seeded synthetic inputs, with a warning."""
    bits: int | str = 16
    """16; 8 for the operands of all products; "auto" for those of as many as `max_loss` permits."""
    max_loss: float = DEFAULT_MAX_LOSS
    """With automatic bits: how far the cosine of any sample's output may fall below 1 on calibration data."""
    calibration_method: str = "min-max"
    """How ranges of 8-bit operands are chosen: one of `nmc.quant.clipping.METHODS`."""
    pwl_segments: int | None = None
    pwl_granularity: float | None = None
    pwl_max_error: float | None = None
    pwl_weighted: bool = False
    """Tables have the least squared error over the values that calibration saw, not the least maximum error."""
    config: str = "default"
    """The name of an accelerator preset, or the path of a TOML file."""
    require_full_offload: bool = False

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise ConfigError(f"unknown target '{self.target}'; choose one of {', '.join(TARGETS)}")
        if self.bits not in CHOICES_OF_BITS:
            raise ConfigError(f"data of {self.bits} bits is not possible; choose 8, 16 or auto")
        if not 0.0 < self.max_loss <= 1.0:
            raise ConfigError(
                f"a largest loss of {self.max_loss} is not possible; it is above 0 and at most 1"
            )
        if self.calibration_method not in METHODS:
            known = ", ".join(METHODS)
            raise ConfigError(
                f"there is no calibration method '{self.calibration_method}'; choose one of {known}"
            )
        if self.level not in (1, 2, 3):
            raise ConfigError(f"there is no level {self.level} on the cpu; choose 1, 2 or 3")
        chosen = [v for v in (self.pwl_segments, self.pwl_granularity, self.pwl_max_error) if v is not None]
        if len(chosen) > 1:
            raise ConfigError(
                "give one of the number of segments, the granularity and the largest error, not several"
            )
        if self.pwl_weighted and self.pwl_granularity is not None:
            raise ConfigError("chords of a granularity are not fitted: they cannot be weighted")
        if any(value <= 0 for value in chosen):
            raise ConfigError(
                "the number of segments, the granularity and the largest error must be positive"
            )

    @property
    def deepest_level(self) -> int:
        """The number of the last level that has to be made."""
        return self.level if self.target == "cpu" else 4
