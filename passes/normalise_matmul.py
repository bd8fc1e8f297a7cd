"""Every float `relax.matmul` is [G, M, K] by [G, K, N], and `relax.outer` is a product of broadcast tensors.

Run after the passes that introduce products, and before `passes.fold_affine` and calibration. Nothing is
repeated to fit: a batch axis that only one operand has becomes rows or columns. A constant stands on the
right, by transposition, because quantisation gives constant columns a scale each.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tvm
from tvm import ir, relax

from passes.float_rules import rewrite_float_calls
from passes.rewrite import Emitter, Rule, constant_value, shape_of
from passes.views import permute, reshape

_op = relax.op


def _matmul(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    a, b = call.args
    if _is_normal(a, b):
        return None
    a = reshape(emitter, a, (1, *shape_of(a))) if len(shape_of(a)) == 1 else a
    b = reshape(emitter, b, (*shape_of(b), 1)) if len(shape_of(b)) == 1 else b
    return reshape(emitter, _batched(emitter, a, b), shape_of(call))


def _is_normal(a: relax.Expr, b: relax.Expr) -> bool:
    ranks_fit = len(shape_of(a)) == len(shape_of(b)) == 3 and shape_of(a)[0] == shape_of(b)[0]
    return ranks_fit and not _belongs_on_the_right(a, b)


def _belongs_on_the_right(a: relax.Expr, b: relax.Expr) -> bool:
    return constant_value(a) is not None and constant_value(b) is None


def _batched(emitter: Emitter, a: relax.Expr, b: relax.Expr) -> relax.Expr:
    """The product of operands of rank two or more, as [*batch, M, N].

    Batch axes that only the left operand has become rows, those of the right one columns, those of both the
    groups.
    """
    rank = max(len(shape_of(a)), len(shape_of(b))) - 2
    *a_batch, rows, depth = (1,) * (rank + 2 - len(shape_of(a))) + shape_of(a)
    *b_batch, _, columns = (1,) * (rank + 2 - len(shape_of(b))) + shape_of(b)
    shared = [i for i in range(rank) if a_batch[i] == b_batch[i]]
    left = [i for i in range(rank) if a_batch[i] != 1 and b_batch[i] == 1]
    right = [i for i in range(rank) if a_batch[i] == 1 and b_batch[i] != 1]
    left_order, right_order = (
        [*shared, *left, *right, rank, rank + 1],
        [*shared, *left, rank, *right, rank + 1],
    )
    a = permute(emitter, reshape(emitter, a, (*a_batch, rows, depth)), left_order)
    b = permute(emitter, reshape(emitter, b, (*b_batch, depth, columns)), right_order)
    groups = _size(a_batch, shared)
    a = reshape(emitter, a, (groups, _size(a_batch, left) * rows, depth))
    b = reshape(emitter, b, (groups, depth, _size(b_batch, right) * columns))
    product = _product(emitter, a, b)
    extents = [a_batch[i] for i in (*shared, *left)] + [rows] + [b_batch[i] for i in right] + [columns]
    order = [*shared, *left, rank, *right, rank + 1]
    split = reshape(emitter, product, extents)
    return permute(emitter, split, [order.index(axis) for axis in range(rank + 2)])


def _size(extents: Sequence[int], axes: Sequence[int]) -> int:
    return int(np.prod([extents[axis] for axis in axes]))


def _product(emitter: Emitter, a: relax.Expr, b: relax.Expr) -> relax.Expr:
    """a [G, M, K] times b [G, K, N]; where only a is constant as (bᵀ·aᵀ)ᵀ."""
    if _belongs_on_the_right(a, b):
        turned = _op.matmul(permute(emitter, b, (0, 2, 1)), permute(emitter, a, (0, 2, 1)))
        return permute(emitter, emitter.emit(turned), (0, 2, 1))
    return emitter.emit(_op.matmul(a, b))


def _outer(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    a, b = call.args
    return _op.multiply(reshape(emitter, a, (*shape_of(a), 1)), reshape(emitter, b, (1, *shape_of(b))))


RULES: Mapping[str, Rule] = {"relax.matmul": _matmul, "relax.outer": _outer}


@tvm.transform.module_pass(opt_level=0, name="nmc.NormaliseMatmul")
def normalise_matmul(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Apply RULES to main."""
    return rewrite_float_calls(module, RULES)
