"""A model's own quantisation is a grid of its own: no QuantizeLinear that feeds a DequantizeLinear is left spelled out.

Run first, while division and rounding still stand as the importer wrote them. What QuantizeLinear rounds and clips becomes
`nmc.grid` of a clip, and what DequantizeLinear makes of it is the same tensor again: the integers of a type, minus a zero
point, times the scale. So the accelerator can hold these tensors in exactly the model's scales.
"""

from dataclasses import dataclass, field

import tvm
from tvm import ir, relax

from passes.definitions import arguments_of, definition, operator_name
from passes.matrix_form.grid import Grid, on_grid
from passes.matrix_form.moves import REARRANGING
from passes.rewrite import Emitter, dtype_of, rewrite_calls
from passes.scalars import scalar_of

_op = relax.op

REPEATING_MOVES = REARRANGING | {"relax.tile", "relax.repeat", "relax.take"}
"""Moves of one tensor, which models also apply between QuantizeLinear and DequantizeLinear."""


@dataclass(frozen=True)
class Quantised:
    """clip(round(x / scale) + zero, low, high)."""

    x: relax.Expr
    scale: float
    zero: float
    low: float
    high: float


def _quantised(emitter: Emitter, expr: relax.Expr) -> Quantised | None:
    """What an expression of float steps, about to be cast to integers, quantises; None for anything else."""
    clipped = definition(emitter, expr)
    if clipped is None or operator_name(clipped) != "relax.clip":
        return None
    low, high = (float(bound.value) for bound in clipped.args[1:])
    steps, zero = _with_zero(emitter, clipped.args[0], "relax.add")
    rounded = arguments_of(emitter, steps, "relax.round")
    ratio = arguments_of(emitter, rounded[0], "relax.divide") if rounded is not None else None
    scale = scalar_of(ratio[1], ratio[0]) if ratio is not None else None
    if ratio is None or scale is None or scale <= 0.0 or zero is None:
        return None
    return Quantised(ratio[0], scale, zero, low, high)


def _with_zero(emitter: Emitter, expr: relax.Expr, operator: str) -> tuple[relax.Expr, float | None]:
    """The steps that a scalar zero point is added to or subtracted from, and that; None for one that is no scalar."""
    parts = arguments_of(emitter, expr, operator)
    if parts is None:
        return expr, 0.0
    return parts[0], scalar_of(parts[1], parts[0])


@dataclass(frozen=True)
class Recogniser:
    """The rules of one function; `grids` are the variables that they moved to a grid."""

    grids: set[relax.Var] = field(default_factory=set)

    def to_integers(self, emitter: Emitter, call: relax.Call) -> relax.Expr | None:
        """The cast that ends a QuantizeLinear: what it quantises is put on the grid beforehand, which changes nothing."""
        if not _is_integer(call) or dtype_of(call.args[0]) != "float32":
            return None
        found = _quantised(emitter, call.args[0])
        if found is None:
            return None
        grid = Grid(found.scale, int(found.low - found.zero), int(found.high - found.zero))
        clipped = emitter.emit(_op.clip(found.x, grid.low * found.scale, grid.high * found.scale))
        value = emitter.emit(on_grid(emitter, clipped, grid))
        self.grids.add(value)
        steps = emitter.emit(_op.round(emitter.emit(_op.divide(value, emitter.constant(found.scale)))))
        if found.zero:
            steps = emitter.emit(_op.add(steps, emitter.constant(found.zero)))
        return _op.astype(emitter.emit(_op.clip(steps, found.low, found.high)), dtype_of(call))

    def to_floats(self, emitter: Emitter, call: relax.Call) -> relax.Expr | None:
        """The multiplication that ends a DequantizeLinear: the tensor on its grid, moved as its integers were."""
        scale = scalar_of(call.args[1], call.args[0])
        if scale is None:
            return None
        steps, zero = _with_zero(emitter, call.args[0], "relax.subtract")
        cast = arguments_of(emitter, steps, "relax.astype")
        if cast is None or zero is None or not _is_integer(cast[0]):
            return None
        integers, moves = cast[0], []
        while (move := definition(emitter, integers)) is not None and operator_name(move) in REPEATING_MOVES:
            moves.append(move)
            integers = move.args[0]
        quantised = arguments_of(emitter, integers, "relax.astype")
        found = _quantised(emitter, quantised[0]) if quantised is not None else None
        if found is None or found.x not in self.grids:
            return None
        value = found.x
        for move in reversed(moves):
            value = emitter.emit(relax.Call(move.op, [value, *move.args[1:]], move.attrs, move.ty_args))
        return _rescaled(emitter, value, scale / found.scale, (found.zero - zero) * scale)


def _is_integer(expr: relax.Expr) -> bool:
    return dtype_of(expr).startswith(("int", "uint"))


def _rescaled(emitter: Emitter, value: relax.Expr, factor: float, offset: float) -> relax.Expr:
    """factor·value + offset: the value itself where both ends of the pair agree, as they do in practice."""
    if factor != 1.0:
        value = emitter.emit(_op.multiply(value, emitter.constant(factor)))
    return emitter.emit(_op.add(value, emitter.constant(offset))) if offset else value


@tvm.transform.module_pass(opt_level=0, name="nmc.RecogniseQuantisation")
def recognise_quantisation(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply the rules of `Recogniser` to main."""
    rules = Recogniser()
    return rewrite_calls(module, {"relax.astype": rules.to_integers, "relax.multiply": rules.to_floats})
