"""An integer tensor with the real values it stands for, and the format of constants."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from nmc.quant.formats import TensorFormat


@dataclass(frozen=True)
class Quantity:
    """An integer tensor and the real values it stands for."""

    expr: relax.Expr
    format: TensorFormat


def constant_format(value: NDArray[np.floating], bits: int) -> TensorFormat:
    """The format whose largest integer stands for the largest magnitude of a constant; infinities count as finite."""
    finite = np.clip(np.asarray(value, np.float64), -3.0e38, 3.0e38)
    magnitude = float(np.abs(finite).max()) if finite.size else 0.0
    return TensorFormat(magnitude / (2 ** (bits - 1) - 1) if magnitude > 0.0 else 1.0, bits)
