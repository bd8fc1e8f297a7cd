"""Values that a model holds on a grid: whole multiples of a scale of its own, as QuantizeLinear leaves them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvm import relax

from passes.matrix_form.composite import call_composite
from passes.rewrite import Emitter

GRID = "nmc.grid"
"""The Composite attribute of a call that moves floats to the nearest points of a grid."""


@dataclass(frozen=True)
class Grid:
    """The multiples of `scale` from low·scale to high·scale."""

    scale: float
    low: int
    high: int


def on_grid(emitter: Emitter, x: relax.Expr, grid: Grid) -> relax.Call:
    """x, which lies within the grid's bounds, with every element moved to the nearest multiple of the scale.

    Float32, same shape. Halves go to the even multiple here and upward in the integers of level 3.
    """

    def body(inner: Emitter, parameters: Any) -> relax.Expr:
        scale = relax.const(grid.scale, "float32")
        return relax.op.multiply(relax.op.round(relax.op.divide(parameters[0], scale)), scale)

    attributes = {"scale": float(grid.scale), "low": grid.low, "high": grid.high}
    return call_composite(emitter, GRID, [x], body, attributes)


def grid_of(attributes: Mapping[str, Any]) -> Grid:
    """The grid that a function was built for, read back from its attributes."""
    return Grid(float(attributes["scale"]), int(attributes["low"]), int(attributes["high"]))
