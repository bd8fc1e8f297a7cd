"""How far the integers of level 3 can be from the exact functions, element by element: running error analysis.

The bound follows a model's operations on given inputs (Higham, Accuracy and Stability of Numerical Algorithms, section
3.3). A centre goes through the float operations of level 2, cut to what each format holds; around it a spread grows: each
operation passes on those of its operands, as far as its derivative lets it, and adds a step of its result's format. At the
outputs the bound is the spread and the distance of the centre from the exact functions, which is what tables cost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import ir, relax

from nmc.compiler import Compilation
from nmc.metrics import equal_values
from nmc.quant import fixed_point
from nmc.quant.formats import DATA_BITS
from passes.keep_on_host import HOST
from passes.matrix_form.grid import GRID, grid_of
from passes.matrix_form.im2col import IM2COL
from passes.matrix_form.moves import MOVES
from passes.matrix_form.pwl import FLOAT_PWL
from passes.matrix_form.unary import UNARY
from passes.quantise_gemm import column_scales, nearest_steps
from passes.rewrite import bindings_of, callee_attributes, callee_name, constant_value, dtype_of
from targets.cpu.interpreter import Step, interpret

Array = np.ndarray

MULTIPLIER_BITS = 30
FLOAT_ROUNDING = 2.0**-22
"""How far, as a part of it, a centre computed in float32 may be from what it would be in real numbers."""
MOST_BOUNDARIES = 64
"""A table of more segments is a curve without jumps."""
PROBES = np.linspace(-1.0, 1.0, 17)
"""Where in the interval of a table's argument it is evaluated, from end to end."""


@dataclass(frozen=True)
class Operand:
    """What integers stand for: values within `spread` of `centre`; both have the tensor's shape."""

    centre: Array
    spread: Array
    scale: float
    bits: int

    def narrowed(self) -> "Operand":
        """The operand in at most 16 bits, as a product of two activations reads it."""
        if self.bits <= DATA_BITS:
            return self
        scale = self.scale * 2.0 ** (self.bits - DATA_BITS)
        return Operand(self.centre, self.spread + scale / 2, scale, DATA_BITS)


@dataclass(frozen=True)
class Operation:
    """One call of level 2, how to evaluate it, the name of its result, and the result's centre."""

    step: Step
    call: relax.Call
    name: str
    centre: Array


def error_bounds(compilation: Compilation, inputs: Sequence[Array]) -> list[Array]:
    """For each output, of its shape, a bound on |integers · scale - exact functions| for these inputs.

    The compilation must have gone down to level 3 with every operator that reads floats in matrix form, or on the host
    because no integers stand for its results; raises ValueError otherwise.
    """
    if compilation.imported.in_doubles:  # the host's floats are those of level 1
        return [np.zeros(spec.shape) for spec in compilation.outputs]
    analysis = _Analysis(compilation, inputs)
    module = compilation.levels["matrix_form"]
    for step, binding in zip(interpret(module).steps, bindings_of(module["main"]), strict=True):
        analysis.visit(step, binding)
    result = bindings_of(module["main"])[-1].value
    fields = result.fields if isinstance(result, relax.Tuple) else [result]
    found = [analysis.operand(field) for field in fields]
    exact = interpret(_before_expansion(compilation)).run(inputs)
    wanted = exact if isinstance(exact, tuple) else (exact,)
    return [
        _distance(value, operand.centre) + operand.spread
        for value, operand in zip(wanted, found, strict=True)
    ]


def _distance(value: Array, centre: Array) -> Array:
    """How far a centre is from the exact value; what is equal, as two that are not numbers are, is not far."""
    return np.where(equal_values(value, centre), 0.0, np.abs(value.astype(np.float64) - centre))


def _before_expansion(compilation: Compilation) -> ir.IRModule:
    """The last stage in which maxima are maxima: in floats b + relu(a - b) is not quite a, as a test of equality finds."""
    names = [name for name, _ in compilation.stages]
    return compilation.stages[names.index("expand_maximum") - 1][1]


class _Analysis:
    def __init__(self, compilation: Compilation, inputs: Sequence[Array]) -> None:
        self._module = compilation.levels["matrix_form"]
        self._tensors = compilation.tensors
        quantised = bindings_of(compilation.levels["quantised"]["main"])
        self._bits = {
            b.var.name: np.dtype(dtype_of(b.var)).itemsize * 8 for b in quantised if _is_tensor(b.var)
        }
        self._exact_module = dict(compilation.stages)["expand_maximum"]
        exact = bindings_of(self._exact_module["main"])
        self._exact = {b.var.name: b.value for b in exact if isinstance(b.value, relax.Call)}
        self._operands: dict[str, Operand] = {}
        for parameter, value in zip(self._module["main"].params, inputs, strict=True):
            self._store(parameter.name, value, np.zeros(value.shape), rounds=value.dtype.kind == "f")

    def operand(self, expr: relax.Expr) -> Operand:
        """What an expression stands for; a constant is off by what rounding to its own format costs."""
        value = constant_value(expr)
        if value is None:
            return self._operands[expr.name]
        return _constant(value)

    def summand(self, expr: relax.Expr, other: relax.Expr, name: str) -> Operand:
        """An operand of an addition: a constant is cut to what the sum can tell apart."""
        value = constant_value(expr)
        if value is None or constant_value(other) is not None:
            return self.operand(expr)
        form, beside = self.format(name), self.operand(other)
        reach = sum(scale * 2.0 ** (bits - 1) for scale, bits in (form, (beside.scale, beside.bits)))
        return _constant(np.clip(value, -reach, reach))

    def maximum_of(self, operation: Operation) -> tuple[Operand, Operand, Array] | None:
        """The operands of max(a, b) where the addition is b + relu(a - b), the form that maxima take, and what the
        difference is off by beside them."""
        base, excess = operation.call.args
        relu = self._exact.get(getattr(excess, "name", ""))
        if (
            operation.name not in self._exact
            or relu is None
            or callee_name(self._exact_module, relu) != UNARY
        ):
            return None
        difference = self._exact.get(getattr(relu.args[0], "name", ""))
        if callee_attributes(self._exact_module, relu)["function"] != "relu" or difference is None:
            return None
        is_difference = callee_name(self._exact_module, difference) == "relax.subtract"
        if not is_difference or getattr(difference.args[1], "name", "") != getattr(base, "name", None):
            return None
        a, b = (self.operand(argument) for argument in difference.args)
        return a, b, _multiplier_error(a, b, self.scale(relu.args[0].name))

    def attributes(self, call: relax.Call) -> dict[str, Any]:
        """The attributes of the composite that a call names."""
        return callee_attributes(self._module, call)

    def visit(self, step: Step, binding: relax.VarBinding) -> None:
        """Finds centre and spread of one binding."""
        value, name = binding.value, binding.var.name
        if isinstance(value, relax.Tuple):
            return
        if not isinstance(value, relax.Call):
            self._operands[name] = self.operand(value)
            return
        centres = {v: self._operands[v.name].centre for v in relax.analysis.free_vars(value) if _is_tensor(v)}
        rule = RULES.get(callee_name(self._module, value))
        if rule is None and all(centre.dtype.kind != "f" for centre in centres.values()):
            rule = _exact
        if rule is None:
            raise ValueError(f"{callee_name(self._module, value)} of '{name}' is no operation of matrix form")
        centre = step.compute(centres)
        operation = Operation(step, value, name, centre)
        self._store(name, centre, rule(self, operation), self._rounds(value, name))

    def moved(self, step: Step, call: relax.Call) -> Array:
        """The spreads of a move's operands, moved as their values are."""
        variables = [v for v in relax.analysis.free_vars(call) if _is_tensor(v)]
        values = {v: self._operands[v.name].centre for v in variables}
        floats = [v for v in variables if values[v].dtype.kind == "f"]
        spreads = {v: self._operands[v.name].spread for v in floats}
        with_spread = step.compute({**values, **spreads})
        without = step.compute({**values, **{v: np.zeros_like(spreads[v]) for v in floats}})
        return np.abs(np.asarray(with_spread, np.float64) - without)

    def _rounds(self, call: relax.Call, name: str) -> bool:
        """Whether the result is computed, or moved into another format, as float constants among what is moved are."""
        if callee_name(self._module, call) not in MOVES | {IM2COL} or _moves_constants(call):
            return True
        sources = [v.name for v in relax.analysis.free_vars(call) if v.name in self._tensors]
        return any(self._tensors[source].scale != self.scale(name) for source in sources)

    def scale(self, name: str) -> float:
        """The scale of the integers that stand for a variable; 0 where there are none."""
        return self._tensors[name].scale if name in self._tensors else 0.0

    def format(self, name: str) -> tuple[float, int]:
        """Scale and bits of the integers that stand for a variable; a scale of 0 where there are none."""
        if name not in self._tensors:
            return 0.0, 32
        return self.scale(name), self._bits.get(self._tensors[name].variable, 32)

    def _store(self, name: str, centre: Array, spread: Array, rounds: bool) -> None:
        scale, bits = self.format(name)
        if rounds and scale:
            # a multiplier of 30 bits is off by a part in 2^30 of the integer
            centre, spread = _rounded(centre, spread + np.abs(centre) * 2.0**-MULTIPLIER_BITS, scale, bits)
        self._operands[name] = Operand(centre, np.broadcast_to(spread, centre.shape), scale, bits)


def _rounded(centre: Array, spread: Array, scale: float, bits: int) -> tuple[Array, Array]:
    """Centre and spread of what values within `spread` of `centre` are rounded to, whole numbers of steps that saturate.

    Where all of them are rounded to the same, the result is known and its spread is 0: so steps of what is exact are.
    """
    slack, highest = spread + FLOAT_ROUNDING * np.abs(centre), 2.0 ** (bits - 1) - 1
    wide = centre.astype(np.float64)
    low, high = (
        np.clip(np.floor((wide + end) / scale + 0.5), -highest - 1.0, highest) for end in (-slack, slack)
    )
    return ((low + high) * (scale / 2)).astype(np.float32), (high - low) * (scale / 2)


def _moves_constants(call: relax.Call) -> bool:
    moved = call.args[0].fields if isinstance(call.args[0], relax.Tuple) else [call.args[0]]
    return any(isinstance(part, ir.GenericConst) and dtype_of(part).startswith("float") for part in moved)


def _is_tensor(variable: relax.Var) -> bool:
    return isinstance(variable.ty, relax.TensorType)


def _constant(value: Array) -> Operand:
    scale = float(np.abs(value).max(initial=0.0)) / (2 ** (DATA_BITS - 1) - 1)
    whole = value.dtype.kind != "f" or scale == 0.0
    spread = np.zeros(value.shape) if whole else _rounding(value.astype(np.float64), scale)
    return Operand(value, spread, scale, DATA_BITS)


def _rounding(value: Array, scale: float) -> Array:
    """How far the nearest whole number of steps is."""
    return np.abs(np.round(value / scale) * scale - value) + 2.0**-40 * np.abs(value)


def _exact(_analysis: _Analysis, operation: Operation) -> Array:
    """What the host computes from integers and truth values alone."""
    return np.zeros(operation.centre.shape)


def _sum(analysis: _Analysis, operation: Operation) -> Array:
    first, second = operation.call.args
    a = analysis.summand(first, second, operation.name)
    b = analysis.summand(second, first, operation.name)
    rounded = _multiplier_error(a, b, analysis.scale(operation.name))
    pair = analysis.maximum_of(operation)
    if pair is not None:  # no further than the worse of the two, and what the difference was rounded by
        difference = 0.0 if pair[0].scale == pair[1].scale == b.scale else b.scale
        return np.maximum(pair[0].spread, pair[1].spread) + pair[2] + difference + rounded
    return a.spread + b.spread + rounded


def _multiplier_error(a: Operand, b: Operand, scale: float) -> Array:
    """What the rounding of an addition's multipliers costs: they share a shift, which the larger one takes its bits from."""
    if not scale:
        return np.zeros(())
    ratios = tuple(x.scale / scale if np.any(x.centre) else 0.0 for x in (a, b))
    *multipliers, shift = fixed_point.add_multipliers(*ratios)
    lost = [
        abs(1 - m / (ratio * 2.0**shift)) if ratio else 0.0
        for m, ratio in zip(multipliers, ratios, strict=True)
    ]
    return np.abs(a.centre) * lost[0] + np.abs(b.centre) * lost[1]


def _product(analysis: _Analysis, operation: Operation) -> Array:
    a, b = (analysis.operand(argument) for argument in operation.call.args)
    if a.bits > DATA_BITS and b.bits > DATA_BITS:
        a, b = a.narrowed(), b.narrowed()
    return np.abs(a.centre) * b.spread + a.spread * np.abs(b.centre) + a.spread * b.spread


def _off_steps(weights: Array, steps: Array) -> Array:
    """How far weights are from the steps that stand for them."""
    return np.abs(nearest_steps(weights, steps) * steps - weights)


def _grid(analysis: _Analysis, operation: Operation) -> Array:
    """How far from the centre's point of the grid the points are that values within its operand's spread go to."""
    x = analysis.operand(operation.call.args[0])
    scale = grid_of(analysis.attributes(operation.call)).scale
    slack = x.spread + FLOAT_ROUNDING * np.abs(x.centre)
    ends = [np.floor((x.centre + end) / scale + 0.5) * scale for end in (-slack, slack)]
    return np.maximum(*(np.abs(end - operation.centre) for end in ends))


def _matrix_product(analysis: _Analysis, operation: Operation) -> Array:
    a, b = (analysis.operand(argument) for argument in operation.call.args)
    weights = constant_value(operation.call.args[1])
    if weights is None:
        a, b = a.narrowed(), b.narrowed()
        b_spread = b.spread
    else:
        steps = column_scales(weights.astype(np.float64), a.bits, DATA_BITS)
        if steps is None:
            a = a.narrowed()
            steps = column_scales(weights.astype(np.float64), a.bits, DATA_BITS)
        b_spread = np.zeros(weights.shape) if steps is None else _off_steps(weights.astype(np.float64), steps)
    return np.abs(a.centre).astype(np.float64) @ b_spread + a.spread @ (np.abs(b.centre) + b_spread)


def _table(analysis: _Analysis, operation: Operation) -> Array:
    """How far from its value at the centre the table gets anywhere in the interval of its argument: at probes, and on both
    sides of each boundary in between. A step that the interval holds counts in full: the result may be either side's.
    """
    x = analysis.operand(operation.call.args[0])
    boundaries, slopes = (np.asarray(constant_value(argument)) for argument in operation.call.args[1:3])
    places = [x.centre + p * x.spread for p in PROBES]
    low, high = places[0], places[-1]
    for boundary in boundaries if len(boundaries) <= MOST_BOUNDARIES else ():
        sides = (boundary, np.nextafter(boundary, np.float32(-np.inf)))
        places += [np.clip(side, low, high) for side in sides if ((low <= side) & (side <= high)).any()]
    worst = np.zeros(operation.centre.shape)
    for place in places:
        probe = operation.step.compute({operation.call.args[0]: place.astype(np.float32)})
        worst = np.maximum(worst, np.abs(probe.astype(np.float64) - operation.centre))
    steps = slopes * (x.scale / (analysis.scale(operation.name) or 1.0))
    if (np.round(steps) == steps).all():  # slopes that 16 bits hold as they are
        return worst
    # a slope of 16 bits is off by a part in 2^15; over half a segment that is as small a part of what the table reaches
    return worst + 2.0**-15 * np.abs(operation.centre).max(initial=0.0)


def _host(analysis: _Analysis, operation: Operation) -> Array:
    """What the host computes in floats is exact where its operands are; no bound is known elsewhere."""
    operands = [analysis.operand(argument) for argument in operation.call.args]
    if any(operand.spread.any() for operand in operands):
        raise ValueError(f"what '{operation.name}' reads on the host is not exact")
    return np.zeros(operation.centre.shape)


def _move(analysis: _Analysis, operation: Operation) -> Array:
    return analysis.moved(operation.step, operation.call)


Rule = Callable[[_Analysis, Operation], Array]


def _padded(analysis: _Analysis, operation: Operation) -> Array:
    """What is padded with becomes a whole number of the result's steps, as far as those reach."""
    source, attributes = operation.call.args[0], operation.call.attrs
    scale, bits = analysis.format(operation.name)
    spread = analysis.moved(operation.step, operation.call)
    if not scale or str(attributes.pad_mode) != "constant":
        return spread
    widths = np.array([int(width) for width in attributes.pad_width]).reshape(-1, 2)
    reach = scale * 2.0 ** (bits - 1)
    rounding = float(_rounding(np.clip(float(attributes.pad_value), -reach, reach), scale))
    padding = np.pad(np.zeros([int(extent) for extent in source.ty.shape]), widths, constant_values=rounding)
    return np.maximum(spread, padding)


RULES: Mapping[str, Rule] = {
    "relax.add": _sum,
    "relax.subtract": _sum,
    "relax.multiply": _product,
    "relax.matmul": _matrix_product,
    FLOAT_PWL: _table,
    GRID: _grid,
    IM2COL: _move,
    HOST: _host,
    **dict.fromkeys(MOVES, _move),
    "relax.nn.pad": _padded,
}
"""How each operation of matrix form passes on the spreads of its operands."""
