"""No model in matrix form multiplies by constants that are infinite or NaN: no integers stand for those."""

import numpy as np
from tvm import ir, relax

from nmc.errors import ModelError
from passes.rewrite import bindings_of, callee_name, constant_value, layer_of


def require_finite_weights(module: ir.IRModule, operators: dict[str, str]) -> None:
    """Raises one ModelError that names each layer of `main`, in matrix form, whose weights are not; `operators` are those
    of the layers."""
    _require_finite(module, operators, "relax.matmul", "weights hold")


def require_finite_factors(module: ir.IRModule, operators: dict[str, str]) -> None:
    """The same for factors of products element by element, at level 1: a division by a constant zero is one.

    Matrix form may multiply by what stands for a mask's infinity where the model only selects it.
    """
    _require_finite(module, operators, "relax.multiply", "has, as a division by zero does, the factor")


def _require_finite(module: ir.IRModule, operators: dict[str, str], operation: str, what: str) -> None:
    wrong: dict[str, str] = {}
    for binding in bindings_of(module["main"]):
        if not isinstance(binding.value, relax.Call) or callee_name(module, binding.value) != operation:
            continue
        for argument in binding.value.args:
            value = constant_value(argument)
            if value is not None and value.dtype.kind == "f" and not np.isfinite(value).all():
                layer = layer_of(binding.var)
                found = value.reshape(-1)[np.argmax(~np.isfinite(value))]
                wrong[layer] = f"{operators.get(layer, 'layer')} '{layer}': {what} {found}"
    if wrong:
        raise ModelError("; ".join(wrong.values()) + ", for which no integer can stand")
