"""Runs a model's matrix form on numpy with other functions in the place of the exact ones: what a method that replaces only
functions does to a network, without its integers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from tvm import ir, relax

from models.model import Model
from nmc.calibration import collect_ranges
from nmc.compiler import lower
from nmc.frontend import ImportedModel, import_model
from nmc.pwl.functions import Function, function_named
from nmc.quant.formats import TensorRange
from passes.bound_masks import bound_masks
from passes.matrix_form.unary import UNARY
from passes.ranges import effective_ranges
from passes.rewrite import bindings_of, callee_attributes, callee_name
from targets.cpu.interpreter import Interpreter, Step, interpret

Array = np.ndarray
Substitute = Callable[[Function, TensorRange], Callable[[Array], Array] | None]
"""From a function and the range of its argument to what stands for it; None for the function itself."""


@dataclass(frozen=True)
class Emulation:
    """A model in matrix form with exact functions, ready to be run with others."""

    model: Model
    imported: ImportedModel
    module: ir.IRModule
    ranges: Mapping[str, TensorRange]

    def outputs(self, data: Mapping[str, Array], substitute: Substitute) -> tuple[dict[str, Array], int]:
        """The outputs for all samples of `data`, by name, and how many functions were replaced."""
        prepared = interpret(self.module)
        replaced = self._replacements(substitute)
        steps = tuple(_step(step, replaced) for step in prepared.steps)
        runner = Interpreter(prepared.parameters, steps, prepared.result)
        specs = self.imported.inputs
        arrays = [np.asarray(data[spec.name]).astype(spec.dtype) for spec in specs]
        results = [runner.run([array[i] for array in arrays]) for i in range(len(arrays[0]))]
        results = [result if isinstance(result, tuple) else (result,) for result in results]
        names = [spec.name for spec in self.imported.outputs]
        stacked = {name: np.stack([r[i] for r in results]) for i, name in enumerate(names)}
        return stacked, len(replaced)

    def _replacements(self, substitute: Substitute) -> dict[str, tuple[relax.Var, Callable[[Array], Array]]]:
        replaced = {}
        for binding in bindings_of(self.module["main"]):
            value = binding.value
            if not isinstance(value, relax.Call) or callee_name(self.module, value) != UNARY:
                continue
            attributes = callee_attributes(self.module, value)
            parameters = {str(k): float(v) for k, v in attributes["parameters"].items()}
            function = function_named(str(attributes["function"]), parameters)
            chosen = substitute(function, self.ranges[value.args[0].name])
            if chosen is not None:
                replaced[binding.var.name] = (value.args[0], chosen)
        return replaced


def emulate(model: Model) -> Emulation:
    """Imports, lowers and calibrates a model."""
    imported = import_model(model.onnx_path(), shapes=dict(model.shapes), binds={})
    exact = lower(imported.module, [])
    data = model.calibration()
    count = len(next(iter(data.values())))
    samples = [[np.asarray(data[s.name][i]).astype(s.dtype) for s in imported.inputs] for i in range(count)]
    module, ranges = bound_masks(exact, collect_ranges(exact, samples))
    return Emulation(model, imported, module, effective_ranges(module, ranges))


def some(array: Array, count: int | None) -> Array:
    """So many samples at even distances, or all: sets are sorted by kind, so that the first would be of few kinds."""
    if count is None or count >= len(array):
        return array
    return array[np.arange(count) * len(array) // count]


def cosines(expected: Array, actual: Array) -> Array:
    """The cosine of each pair of vectors along the last axis, in float64."""
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    lengths = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.asarray((a * b).sum(-1) / np.maximum(lengths, 1e-300))


def _step(step: Step, replaced: Mapping[str, tuple[relax.Var, Callable[[Array], Array]]]) -> Step:
    if step.variable.name not in replaced:
        return step
    source, function = replaced[step.variable.name]
    return replace(step, compute=lambda values: function(values[source]).astype(np.float32))
