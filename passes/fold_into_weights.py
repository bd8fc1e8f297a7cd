"""A row of factors or offsets that only products with constants read is part of those constants.

Run after normalisations are decomposed and before `passes.normalise_matmul`: the scale and bias of a
normalisation before a linear layer then cost nothing: (x·g + b)·W = x·(g∘W) + b·W. `passes.fold_affine` does
the same for what comes after a product. Where anything else reads the scaled tensor (a residual), it is
needed, and nothing is folded. A reshape that keeps the last axis may stand between.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import ir, relax

from passes.definitions import operator_name
from passes.rewrite import Emitter, bindings_of, constant_value, rebuild, shape_of, variables_of

_op = relax.op


@tvm.transform.module_pass(opt_level=0, name="nmc.FoldIntoWeights")
def fold_into_weights(module: ir.IRModule, context: tvm.transform.PassContext) -> ir.IRModule:
    """Main with the foldable rows moved into the weights of the products that read them."""
    foldable = foldable_rows(module["main"])
    renewed: dict[relax.Var, relax.Expr] = {}

    def visit(emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        if isinstance(value, relax.Call):
            for old, new in zip(binding.value.args, value.args, strict=True):
                if isinstance(old, relax.Var):
                    renewed[old] = new
        if not _is_linear_layer(binding.value) or binding.value.args[0] not in foldable:
            return value
        folded = _folded(emitter, binding.value, foldable, renewed)
        return value if folded is None else folded

    return rebuild(module, visit)


@dataclass(frozen=True)
class Row:
    """A source times a factor plus an offset for each element of the last axis, leading axes reshaped."""

    source: relax.Var
    factor: np.ndarray | float = 1.0
    offset: np.ndarray | float = 0.0

    @property
    def is_affine(self) -> bool:
        """Whether there is more to it than a reshape."""
        return isinstance(self.factor, np.ndarray) or isinstance(self.offset, np.ndarray)


def _folded(
    emitter: Emitter,
    matmul: relax.Call,
    rows: Mapping[relax.Var, Row],
    renewed: Mapping[relax.Var, relax.Expr],
) -> relax.Expr | None:
    """The product with the rows before it in its weights; None if there is nothing but reshapes."""
    source, original = matmul.args[0], np.asarray(constant_value(matmul.args[1]), np.float64)
    weights, offset, changed = original, np.zeros(original.shape[1]), False
    while source in rows:
        row = rows[source]
        changed = changed or row.is_affine
        offset = offset + np.broadcast_to(row.offset, weights.shape[0]) @ weights
        weights = np.reshape(row.factor, (-1, 1)) * weights
        source = row.source
    if not changed:
        return None
    tensor = renewed[source]
    if shape_of(tensor) != shape_of(matmul.args[0]):
        tensor = emitter.emit(_op.reshape(tensor, list(shape_of(matmul.args[0]))))
    product = _op.matmul(tensor, emitter.constant(weights))
    return _op.add(emitter.emit(product), emitter.constant(offset)) if offset.any() else product


def foldable_rows(main: relax.Function) -> dict[relax.Var, Row]:
    """The sums and products with a constant row that only linear layers read, perhaps through one another."""
    readers: dict[relax.Var, list[relax.VarBinding]] = defaultdict(list)
    bindings = bindings_of(main)
    for binding in bindings:
        for variable in variables_of(binding.value):
            readers[variable].append(binding)
    returned = set(variables_of(main.body.body))
    rows: dict[relax.Var, Row] = {}
    for binding in reversed(bindings):
        row = None if binding.var in returned else _row(binding.value)
        if row is not None and all(
            (_is_linear_layer(reader.value) and reader.value.args[0].same_as(binding.var))
            or reader.var in rows
            for reader in readers[binding.var]
        ):
            rows[binding.var] = row
    return rows


def _is_linear_layer(value: relax.Expr) -> bool:
    """Whether a value is a product of a computed float tensor with a constant matrix."""
    if operator_name(value) != "relax.matmul" or not isinstance(value.args[0], relax.Var):
        return False
    weights = constant_value(value.args[1])
    return weights is not None and weights.ndim == 2 and weights.dtype == np.float32


def _row(value: relax.Expr) -> Row | None:
    """What a sum or product with a constant row does, or a reshape that keeps the last axis."""
    name = operator_name(value)
    if name == "relax.reshape" and isinstance(value.args[0], relax.Var) and shape_of(value):
        same_axis = shape_of(value)[-1:] == shape_of(value.args[0])[-1:]
        return Row(value.args[0]) if same_axis else None
    if name not in ("relax.add", "relax.multiply"):
        return None
    for tensor, other in (tuple(value.args), tuple(value.args)[::-1]):
        row = constant_value(other)
        if row is None or not isinstance(tensor, relax.Var) or row.ndim == 0 or row.dtype != np.float32:
            continue
        shape = shape_of(tensor)
        if row.ndim <= len(shape) and row.size == row.shape[-1] == shape[-1] > 1:
            numbers = row.reshape(-1).astype(np.float64)
            return Row(tensor, factor=numbers) if name == "relax.multiply" else Row(tensor, offset=numbers)
    return None
