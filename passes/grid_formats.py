"""The formats of what a model holds on a grid of its own, and of what is computed for the grid alone.

Rounding once, to the grid, is then rounding as the model does. Plain analysis of a module in matrix form with exact
functions; nothing is rewritten.
"""

from tvm import relax

from nmc.quant.formats import DATA_BITS, WIDE_BITS, TensorFormat
from passes.dataflow import Dataflow
from passes.matrix_form.grid import GRID, grid_of
from passes.matrix_form.moves import MOVES
from passes.matrix_form.unary import UNARY
from passes.rewrite import bindings_of, callee_attributes, variables_of

GRID_TOLERANCE = 1.0e-3
"""How far from a point of a grid, in its steps, a number may be that stands for the point."""


def grid_formats(flow: Dataflow) -> tuple[dict[str, TensorFormat], set[str]]:
    """The formats of the tensors on grids and of those that nothing but a grid reads, by variable name.

    Then the names of the terms of sums that are rounded to a grid: they are wide unless they are on a grid too.
    """
    formats: dict[str, TensorFormat] = {}
    terms: set[str] = set()
    for binding in reversed(bindings_of(flow.module["main"])):
        if flow.kind(binding.value) == GRID:
            grid = grid_of(callee_attributes(flow.module, binding.value))
            bits = DATA_BITS if max(-grid.low, grid.high) < 2 ** (DATA_BITS - 1) else WIDE_BITS
            formats[binding.var.name] = TensorFormat(grid.scale, bits)
        form = formats.get(binding.var.name)
        if form is None:
            continue
        if flow.kind(binding.value) in ("relax.add", "relax.subtract"):
            terms |= {term.name for term in variables_of(binding.value)}
        if not _keeps_grid(flow, binding.value, form):
            continue
        source = binding.value.args[0]
        if isinstance(source, relax.Var) and flow.consumers[source.name] == [binding]:
            formats.setdefault(source.name, form)
    return formats, terms


def _keeps_grid(flow: Dataflow, value: relax.Expr, form: TensorFormat) -> bool:
    """Whether rounding the operand to the grid beforehand gives what rounding the result does."""
    kind = flow.kind(value)
    if kind == GRID:
        return True
    if kind != UNARY:
        return kind in MOVES and kind != "relax.concat"
    if flow.function(value) == "clip":
        bounds = [
            float(bound) / form.scale
            for bound in callee_attributes(flow.module, value)["parameters"].values()
        ]
        return all(abs(bound - round(bound)) < GRID_TOLERANCE for bound in bounds if abs(bound) < 2.0**31)
    return flow.function(value) == "relu"
