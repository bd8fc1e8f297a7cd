"""Which results of a model are not numbers: the square root of what is negative is none, and no integer stands for it."""

from collections.abc import Iterable, Sequence

import numpy as np
from tvm import ir, relax

from passes.rewrite import bindings_of, callee_name, constant_value, variables_of
from targets.cpu import interpret


def undefined_results(module: ir.IRModule, samples: Iterable[Sequence[np.ndarray]]) -> set[str]:
    """The names of the variables of level 1 that hold NaN on some sample, though nothing that they are computed from does;
    each sample holds one array a parameter."""
    found: set[str] = set()

    def observe(name: str, array: np.ndarray) -> None:
        if array.dtype.kind == "f" and np.isnan(array).any():
            found.add(name)

    prepared = interpret(module)
    for sample in samples:
        prepared.run(sample, observe)
    return {
        binding.var.name
        for binding in bindings_of(module["main"])
        if binding.var.name in found and not any(v.name in found for v in variables_of(binding.value))
    }


def hides_undefined_results(module: ir.IRModule) -> bool:
    """Whether `main` has a power whose exponent is computed: matrix form has a number where level 1 has none."""
    return any(
        callee_name(module, binding.value) == "relax.power" and constant_value(binding.value.args[1]) is None
        for binding in bindings_of(module["main"])
        if isinstance(binding.value, relax.Call)
    )
