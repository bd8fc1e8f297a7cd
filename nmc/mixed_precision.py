"""Chooses which products have 8-bit operands so that a model's outputs lose no more than allowed: `--bits auto`.

Each product is put to 8 bits alone, and the noise that this makes in the outputs measured. Products are then taken in the
order of noise for each multiply-add saved, as many as the allowed loss permits; how many is found by bisection on the
model's outputs. Measured on calibration data, in floats that are rounded as the integers would be.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tvm import ir, relax

from nmc.quant.clipping import affine_integers
from passes.narrow_products import NARROW_BITS, NarrowProduct, NarrowProducts, NarrowTensor
from passes.quantise_gemm import column_scales, nearest_steps
from passes.rewrite import bindings_of, constant_value, shape_of
from targets.cpu.interpreter import Interpreter, Step, interpret

Arrays = Sequence[NDArray[np.floating]]
Compute = Callable[[Mapping[relax.Var, np.ndarray]], np.ndarray]

SENSITIVITY_SAMPLES = 2
"""Samples that each product alone is measured on."""
LOSS_SAMPLES = 8
"""Samples that the loss of many products together is measured on."""


def choose_products(
    module: ir.IRModule, plans: NarrowProducts, samples: Sequence[Arrays], max_loss: float
) -> dict[str, NarrowProduct]:
    """The plans of the products that have 8-bit operands, by name.

    `samples` hold one array a parameter of `main`, and `max_loss` is the largest value of `loss` that may result.
    """
    trial = _Trial(module, plans)
    few, more = _spread(samples, SENSITIVITY_SAMPLES), _spread(samples, LOSS_SAMPLES)
    exact = [trial.outputs((), sample) for sample in few]
    costs = {
        name: sum(_noise(e, trial.outputs([name], sample)) for e, sample in zip(exact, few, strict=True))
        / trial.macs[name]
        for name in plans
    }
    order = sorted(plans, key=lambda name: costs[name])
    exact = [trial.outputs((), sample) for sample in more]

    def acceptable(count: int) -> bool:
        tried = (trial.outputs(order[:count], sample) for sample in more)
        return all(loss(e, t) <= max_loss for e, t in zip(exact, tried, strict=True))

    most, too_many = 0, len(order) + 1
    tried = len(order)
    while too_many - most > 1:
        if acceptable(tried):
            most = tried
        else:
            too_many = tried
        tried = (most + too_many) // 2
    return {name: plans[name] for name in order[:most]}


def loss(expected: Arrays, actual: Arrays) -> float:
    """One minus the cosine of the output that is farthest off, each taken as one vector, in float64."""
    worst = 0.0
    for a, b in zip(expected, actual, strict=True):
        if a.dtype.kind == "f":
            x, y = (part.astype(np.float64).reshape(-1) for part in (a, b))
            length = float(np.sqrt((x @ x) * (y @ y)))
            worst = max(worst, 1.0 - float(x @ y) / length if length > 0.0 else 0.0)
    return worst


def _noise(expected: Arrays, actual: Arrays) -> float:
    """The squared errors of all outputs relative to their squares, summed."""
    pairs = [(a, b) for a, b in zip(expected, actual, strict=True) if a.dtype.kind == "f"]
    return sum(float(((a - b) ** 2).sum() / ((a**2).sum() or 1.0)) for a, b in pairs)


def _spread(samples: Sequence[Arrays], count: int) -> Sequence[Arrays]:
    places = np.unique(np.linspace(0, len(samples) - 1, count).astype(int))
    return [samples[place] for place in places]


class _Trial:
    """Runs a module with some products rounded to 8 bits."""

    def __init__(self, module: ir.IRModule, plans: NarrowProducts):
        self.exact = interpret(module)
        self.narrow: dict[str, Compute] = {}
        self.macs: dict[str, int] = {}
        for binding in bindings_of(module["main"]):
            name = binding.var.name
            if name in plans:
                self.narrow[name] = rounded_product(binding.value, plans[name])
                self.macs[name] = int(np.prod(shape_of(binding.var))) * shape_of(binding.value.args[0])[-1]

    def outputs(self, names: Sequence[str], sample: Arrays) -> Arrays:
        """The outputs when the products of these names have 8-bit operands."""
        chosen = set(names)
        result = Interpreter(
            self.exact.parameters,
            tuple(self._step(step, chosen) for step in self.exact.steps),
            self.exact.result,
        ).run(sample)
        return result if isinstance(result, tuple) else (result,)

    def _step(self, step: Step, chosen: set[str]) -> Step:
        name = step.variable.name
        return replace(step, compute=self.narrow[name]) if name in chosen else step


def rounded_product(call: relax.Call, plan: NarrowProduct) -> Compute:
    """The product of operands that are rounded as a plan says, in float32, by the values of variables."""
    left, right = call.args
    weights = constant_value(right)
    reciprocals = None if plan.row_factors is None else (1.0 / plan.row_factors)[:, None, :]
    if weights is None:
        assert plan.right is not None
        return lambda values: np.matmul(
            _rounded(values[left], plan.left), _rounded(values[right], plan.right)
        )
    if reciprocals is not None:
        weights = weights / reciprocals.transpose(0, 2, 1)
    steps = column_scales(np.asarray(weights, np.float64), NARROW_BITS, NARROW_BITS)
    if steps is not None:
        weights = (nearest_steps(weights, steps) * steps).astype(np.float32)
    bias = np.float32(0.0) if plan.correction is None else plan.correction[:, None, :].astype(np.float32)

    def compute(values: Mapping[relax.Var, np.ndarray]) -> np.ndarray:
        x = values[left] if reciprocals is None else values[left] * reciprocals.astype(np.float32)
        return np.asarray(np.matmul(_rounded(x, plan.left), weights) + bias)

    return compute


def _rounded(values: np.ndarray, tensor: NarrowTensor | None) -> np.ndarray:
    assert tensor is not None
    integers = affine_integers(values, tensor.scale, tensor.zero, NARROW_BITS)
    return (integers * np.float32(tensor.scale)).astype(np.float32)
