"""Which products are read by the addition of a constant row alone: the row joins their accumulator as a bias.

Plain analysis of a module in matrix form; nothing is rewritten.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tvm import ir, relax

from passes.rewrite import bindings_of, callee_name, constant_value, shape_of, variables_of


@dataclass(frozen=True, eq=False)
class Bias:
    """A constant row that is added to a product: `sum` names the variable of the sum."""

    sum: str
    value: NDArray[np.floating]
    """[groups or 1, 1, columns or 1]"""


def fusible_biases(module: ir.IRModule) -> dict[str, Bias]:
    """For each product [groups, M, columns] that an addition alone reads, of what varies by column at most: that row."""
    bindings = bindings_of(module["main"])
    products = {b.var.name: b.var for b in bindings if _is_call(module, b, "relax.matmul")}
    readers: dict[str, list[relax.VarBinding]] = {name: [] for name in products}
    for binding in bindings:
        for variable in variables_of(binding.value):
            if variable.name in readers:
                readers[variable.name].append(binding)
    found = {
        name: _bias(module, those[0], products[name]) for name, those in readers.items() if len(those) == 1
    }
    return {name: bias for name, bias in found.items() if bias is not None}


def _is_call(module: ir.IRModule, binding: relax.VarBinding, name: str) -> bool:
    return isinstance(binding.value, relax.Call) and callee_name(module, binding.value) == name


def _bias(module: ir.IRModule, addition: relax.VarBinding, product: relax.Var) -> Bias | None:
    if not _is_call(module, addition, "relax.add") or shape_of(addition.var) != shape_of(product):
        return None
    constant = next((v for a in addition.value.args if (v := constant_value(a)) is not None), None)
    if constant is None:
        return None
    groups, _, columns = shape_of(product)
    row = constant.reshape((1,) * (3 - constant.ndim) + constant.shape)
    varies_by_column = row.shape[1] == 1 and row.shape[0] in (1, groups) and row.shape[2] in (1, columns)
    return Bias(addition.var.name, row) if varies_by_column else None
