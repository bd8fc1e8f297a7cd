"""A one-hot matrix times a constant table is a `take` of the table's rows, which multiplies nothing.

Run on level 1 before `passes.normalise_matmul`. One-hot means float(ids == [first, first + 1, …]) along the
last axis, as JAX and TensorFlow export it. Ids outside the table select one of the rows of zeros at its ends.
"""

from collections.abc import Mapping

import numpy as np
import tvm
from tvm import ir, relax

from passes.definitions import arguments_of
from passes.float_rules import rewrite_float_calls
from passes.rewrite import Emitter, Rule, constant_value, dtype_of, shape_of
from passes.views import reshape

_op = relax.op


def _matmul(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    hot, weights = call.args
    table = constant_value(weights)
    compared = arguments_of(emitter, hot, "relax.astype")
    sides = arguments_of(emitter, compared[0], "relax.equal") if compared is not None else None
    if table is None or sides is None or int(np.prod(table.shape[:-2])) != 1 or table.ndim < 2:
        return None
    for ids, other in (sides, sides[::-1]):
        first = _first_of_range(other)
        if (
            first is not None
            and shape_of(ids) == (*shape_of(hot)[:-1], 1)
            and dtype_of(ids).startswith("int")
        ):
            return reshape(
                emitter, _rows(emitter, ids, table.reshape(table.shape[-2:]), first), shape_of(call)
            )
    return None


def _first_of_range(expr: relax.Expr) -> int | None:
    """The first of consecutive integers along the last axis of a constant, or None."""
    value = constant_value(expr)
    if value is None or value.dtype.kind != "i" or value.ndim == 0 or value.size != value.shape[-1]:
        return None
    numbers = value.reshape(-1)
    return int(numbers[0]) if (numbers == numbers[0] + np.arange(numbers.size)).all() else None


def _rows(emitter: Emitter, ids: relax.Expr, table: np.ndarray, first: int) -> relax.Expr:
    """The rows of the table at ids - first, [*ids, columns]; zeros where there is none."""
    kind, (count, columns) = dtype_of(ids), table.shape
    nothing = np.zeros((1, columns), table.dtype)
    shifted = emitter.emit(_op.subtract(ids, emitter.constant(first - 1, kind)))
    above = emitter.emit(_op.maximum(shifted, emitter.constant(0, kind)))
    places = emitter.emit(_op.minimum(above, emitter.constant(count + 1, kind)))
    return emitter.emit(_op.take(emitter.constant(np.concatenate([nothing, table, nothing])), places, axis=0))


RULES: Mapping[str, Rule] = {"relax.matmul": _matmul}


@tvm.transform.module_pass(opt_level=0, name="nmc.RecogniseOneHot")
def recognise_one_hot(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to main."""
    return rewrite_float_calls(module, RULES)
