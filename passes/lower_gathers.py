"""Gathers and scatters of float elements are `take`s of rows, at places constant or computed on the host.

Run on level 1 before `passes.normalise_moves`. A scatter to constant places takes from the data and the
updates laid end to end. Scatters to computed places stay, as do those that combine more than MOST_ROUNDS
updates in one place.
"""

from collections.abc import Callable, Mapping

import numpy as np
import tvm
from tvm import ir, relax

from passes.float_rules import rewrite_float_calls
from passes.rewrite import Emitter, Rule, constant_value, shape_of
from passes.views import concatenate, gather, reshape, take

_op = relax.op

MOST_ROUNDS = 4
"""A scatter that adds up to this many updates in one place takes as many additions of the whole tensor."""

COMBINATIONS: Mapping[str, Callable[[relax.Expr, relax.Expr], relax.Expr]] = {
    "add": _op.add,
    "mul": _op.multiply,
    "max": _op.maximum,
    "min": _op.minimum,
}
"""How the reductions of a scatter combine an element with its update."""

NEUTRAL: Mapping[str, float] = {"add": 0.0, "mul": 1.0}
"""The update that changes nothing; for extrema that is the element itself."""


def _gather_elements(emitter: Emitter, call: relax.Call) -> relax.Expr:
    x, indices = call.args
    shape, out_shape = shape_of(x), shape_of(call)
    axis = int(call.attrs.axis) % len(shape)
    strides = _strides(shape)
    grid = np.zeros(out_shape, np.int64)
    for other, stride in enumerate(strides):
        if other != axis:
            line = np.arange(out_shape[other]) * stride
            grid += line.reshape([-1 if index == other else 1 for index in range(len(shape))])
    places = _offset(emitter, _scaled(emitter, indices, shape[axis], strides[axis]), grid)
    return _elements(emitter, x, places, int(np.prod(shape)), out_shape)


def _gather_nd(emitter: Emitter, call: relax.Call) -> relax.Expr:
    x, indices = call.args
    shape, batch = shape_of(x), int(call.attrs.batch_dims)
    depth = shape_of(indices)[-1]
    rows = _strides(shape[: batch + depth])
    grid = np.zeros(shape_of(indices)[:-1], np.int64)
    for axis in range(batch):
        line = np.arange(shape[axis]) * rows[axis]
        grid += line.reshape([-1 if index == axis else 1 for index in range(grid.ndim)])
    extents, strides = np.array(shape[batch : batch + depth]), np.array(rows[batch : batch + depth])
    value = constant_value(indices)
    if value is not None:
        places = relax.const((value % extents * strides).sum(axis=-1) + grid)
    else:
        placed = _scaled(emitter, indices, extents, strides)
        places = _offset(emitter, emitter.emit(_op.sum(placed, axis=-1)), grid)
    return _elements(emitter, x, places, int(np.prod(shape[: batch + depth])), shape_of(call))


def _strides(shape: tuple[int, ...]) -> list[int]:
    """How many elements apart neighbours along each axis are in row-major order."""
    return [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]


def _scaled(
    emitter: Emitter, indices: relax.Expr, extent: np.ndarray | int, stride: np.ndarray | int
) -> relax.Expr:
    """(indices mod extent)·stride in int64: a negative index counts from the back."""
    value = constant_value(indices)
    if value is not None:
        return relax.const(value.astype(np.int64) % extent * stride)
    wide = emitter.emit(_op.astype(indices, "int64"))
    within = emitter.emit(_op.floor_mod(wide, emitter.constant(extent, "int64")))
    return emitter.emit(_op.multiply(within, emitter.constant(stride, "int64")))


def _offset(emitter: Emitter, places: relax.Expr, grid: np.ndarray) -> relax.Expr:
    value = constant_value(places)
    if value is not None:
        return relax.const(value + grid)
    return emitter.emit(_op.add(places, emitter.constant(grid, "int64"))) if grid.any() else places


def _elements(
    emitter: Emitter, x: relax.Expr, places: relax.Expr, rows: int, shape: tuple[int, ...]
) -> relax.Expr:
    """The rows of x, reshaped to a table of so many, at places of any shape."""
    table = reshape(emitter, x, (rows, int(np.prod(shape_of(x))) // rows))
    value = constant_value(places)
    taken = take(emitter, table, 0, places) if value is None else gather(emitter, table, 0, value.reshape(-1))
    return reshape(emitter, taken, shape)


def _scatter_elements(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    x, indices, updates = call.args
    value, shape = constant_value(indices), shape_of(x)
    if value is None:
        return None
    axis, strides = int(call.attrs.axis) % len(shape), _strides(shape)
    coordinates = np.indices(value.shape)
    coordinates[axis] = value % shape[axis]
    places = np.tensordot(strides, coordinates, 1).reshape(-1)
    return _scattered(emitter, x, places, updates, int(np.prod(shape)), call)


def _scatter_nd(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    x, indices, updates = call.args
    value, shape = constant_value(indices), shape_of(x)
    if value is None:
        return None
    depth = value.shape[-1]
    extents, strides = np.array(shape[:depth]), np.array(_strides(shape[:depth]))
    places = (value % extents * strides).sum(axis=-1).reshape(-1)
    return _scattered(emitter, x, places, updates, int(np.prod(shape[:depth])), call)


def _scattered(
    emitter: Emitter, x: relax.Expr, places: np.ndarray, updates: relax.Expr, rows: int, call: relax.Call
) -> relax.Expr | None:
    """x, as a table of `rows`, with row places[i] replaced by or combined with row i of the updates."""
    reduction, columns = str(call.attrs.reduction), int(np.prod(shape_of(x))) // rows
    table = reshape(emitter, x, (rows, columns))
    new_rows = reshape(emitter, updates, (places.size, columns))
    if reduction in ("update", "none"):
        source = np.arange(rows)
        source[places] = rows + np.arange(places.size)
        both = concatenate(emitter, [table, new_rows], 0)
        return reshape(emitter, gather(emitter, both, 0, source), shape_of(x))
    rounds = _rounds(places, rows)
    if reduction not in COMBINATIONS or len(rounds) > MOST_ROUNDS:
        return None
    for chosen in rounds:
        # row `places.size` of the candidates is neutral; for extrema the row itself is
        own = reduction not in NEUTRAL
        neutral = table if own else emitter.constant(np.full((1, columns), NEUTRAL[reduction]))
        candidates = concatenate(emitter, [new_rows, neutral], 0)
        absent = places.size + (np.arange(rows) if own else 0)
        selected = gather(emitter, candidates, 0, np.where(chosen < 0, absent, chosen))
        table = emitter.emit(COMBINATIONS[reduction](table, selected))
    return reshape(emitter, table, shape_of(x))


def _rounds(places: np.ndarray, rows: int) -> list[np.ndarray]:
    """For each round the update that each row gets, or -1; a row with several updates gets one a round."""
    rounds: list[np.ndarray] = []
    count = np.zeros(rows, np.int64)
    for update, place in enumerate(places):
        if count[place] == len(rounds):
            rounds.append(np.full(rows, -1))
        rounds[count[place]][place] = update
        count[place] += 1
    return rounds


RULES: Mapping[str, Rule] = {
    "relax.gather_elements": _gather_elements,
    "relax.gather_nd": _gather_nd,
    "relax.scatter_elements": _scatter_elements,
    "relax.scatter_nd": _scatter_nd,
}


@tvm.transform.module_pass(opt_level=0, name="nmc.LowerGathers")
def lower_gathers(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to the float gathers and scatters of main."""
    return rewrite_float_calls(module, RULES)
