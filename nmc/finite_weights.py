"""No product of a model in matrix form has weights that are infinite or NaN: no integers stand for those."""

import numpy as np
from tvm import ir, relax

from nmc.errors import ModelError
from passes.rewrite import bindings_of, callee_name, constant_value, layer_of


def require_finite_weights(module: ir.IRModule, operators: dict[str, str]) -> None:
    """Raises one ModelError that names each layer of `main` whose weights are not; `operators` are those of the layers."""
    wrong: dict[str, str] = {}
    for binding in bindings_of(module["main"]):
        if not isinstance(binding.value, relax.Call) or callee_name(module, binding.value) != "relax.matmul":
            continue
        for argument in binding.value.args:
            weights = constant_value(argument)
            if weights is not None and not np.isfinite(weights).all():
                layer = layer_of(binding.var)
                found = np.argmax(~np.isfinite(weights))
                wrong[layer] = (
                    f"{operators.get(layer, 'layer')} '{layer}': weights hold {weights.reshape(-1)[found]}"
                )
    if wrong:
        raise ModelError("; ".join(wrong.values()) + ", for which no integer can stand")
