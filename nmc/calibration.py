"""Runs a float module on samples and records the range of every tensor."""

from collections.abc import Iterable, Sequence

import numpy as np
from tvm import ir, relax

from nmc.errors import CalibrationError, UndefinedResultError
from nmc.quant.formats import MINUS_INFINITY, TensorRange
from passes.keep_on_host import HOST
from passes.matrix_form.im2col import IM2COL
from passes.ranges import FLOAT32_HIGHEST, range_of
from passes.rewrite import bindings_of, callee_name, dtype_of, layer_named
from targets.cpu import interpret
from targets.cpu.interpreter import Observer

RANGE_KEEPING = frozenset(
    {
        IM2COL,
        "relax.reshape",
        "relax.permute_dims",
        "relax.broadcast_to",
        "relax.expand_dims",
        "relax.squeeze",
        "relax.flatten",
    }
)
"""Calls whose result has the range of their first argument: recording it again would only cost memory."""


def synthetic_samples(inputs: Sequence[relax.Var], count: int = 4, seed: int = 0) -> list[list[np.ndarray]]:
    """Seeded stand-ins for real data: standard normal floats, small non-negative integers, random booleans."""
    generator = np.random.default_rng(seed)
    return [[_synthetic(generator, variable) for variable in inputs] for _ in range(count)]


def collect_ranges(
    module: ir.IRModule,
    samples: Iterable[Sequence[np.ndarray]],
    observer: Observer = lambda _name, _array: None,
    source: str = "the samples",
) -> dict[str, TensorRange]:
    """The range of each float tensor of `main`, by variable name, over all samples.

    Each sample holds one array a parameter; `observer` is shown every tensor, too. Raises CalibrationError when there is
    no sample, and UndefinedResultError when a tensor takes a value that is not a number, on what `source` names.
    """
    main = module["main"]
    measured = {b.var.name for b in bindings_of(main) if _is_float(b.var) and _computes(module, b)}
    inputs = {parameter.name for parameter in main.params if _is_float(parameter)}
    ranges: dict[str, TensorRange] = {}

    def observe(name: str, array: np.ndarray) -> None:
        observer(name, array)
        if array.size and (name in measured or name in inputs):
            seen = _range_in(name, array, source)
            ranges[name] = ranges[name].union(seen) if name in ranges else seen

    prepared, count = interpret(module), 0
    for sample in samples:
        prepared.run(sample, observe)
        count += 1
    if not count and measured:
        raise CalibrationError(
            "calibration needs at least one sample; give --calibrate a file with one or more"
        )
    return _with_range_keeping(main, ranges)


def _range_in(name: str, array: np.ndarray, source: str) -> TensorRange:
    low, high = float(np.min(array)), float(np.max(array))
    if np.isnan(low) or np.isnan(high):
        raise UndefinedResultError(
            f"layer '{layer_named(name)}': its result is not a number everywhere on {source}"
        )
    masked = low < MINUS_INFINITY < high
    return TensorRange(
        max(low, -FLOAT32_HIGHEST),
        min(high, FLOAT32_HIGHEST),
        float(array[array > MINUS_INFINITY].min()) if masked else None,
    )


def _with_range_keeping(main: relax.Function, ranges: dict[str, TensorRange]) -> dict[str, TensorRange]:
    for binding in bindings_of(main):
        call = isinstance(binding.value, relax.Call)
        if call and _is_float(binding.var) and binding.var.name not in ranges:
            source = binding.value.args[0]
            is_tensor = isinstance(source, relax.Var | ir.GenericConst)
            # what is made of no tensor and was not measured has no elements, and any range
            ranges[binding.var.name] = range_of(source, ranges) if is_tensor else TensorRange(0.0, 0.0)
    return ranges


def _computes(module: ir.IRModule, binding: relax.VarBinding) -> bool:
    """Whether a binding inside the block makes values of its own."""
    if not isinstance(binding.var, relax.DataflowVar):
        return False
    if not isinstance(binding.value, relax.Call):
        return True
    return callee_name(module, binding.value) not in RANGE_KEEPING | {HOST}


def _is_float(variable: relax.Var) -> bool:
    return isinstance(variable.ty, relax.TensorType) and dtype_of(variable) == "float32"


def _synthetic(generator: np.random.Generator, variable: relax.Var) -> np.ndarray:
    shape, dtype = [int(extent) for extent in variable.ty.shape], dtype_of(variable)
    if dtype.startswith("float"):
        return generator.standard_normal(shape).astype(dtype)
    if dtype == "bool":
        return generator.integers(0, 2, shape).astype(bool)
    return np.ones(shape, dtype)
