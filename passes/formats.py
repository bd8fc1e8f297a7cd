"""Decides the integer format of every float tensor of a module in matrix form: its width and its scale.

Narrow tensors (16 bits) are the rule; products that read 8 bits convert what they read (`passes.narrow_products`). A
tensor is wide (32 bits) where 16 bits would lose what matters: squares, arguments of functions whose input spans
decades, residual sums that only normalisations read, differences inside a maximum, and the outputs of the model. What
the model itself holds on a grid keeps that grid's scale, and so does what is computed for the grid alone. What a step
function reads has a scale that is a power of two (`passes.exact_operands`): whole numbers, halves and the differences of
two such tensors are then exact, so that what is equal stays equal.
"""

import math
from collections import defaultdict
from dataclasses import dataclass, field

from tvm import ir, relax

from nmc.pwl.functions import function_named
from nmc.quant.formats import TensorFormat, TensorRange
from nmc.quant.ranges import scale_for
from passes.exact_operands import exact_operands, is_step, unary_of
from passes.matrix_form.grid import GRID, grid_of
from passes.matrix_form.im2col import IM2COL
from passes.matrix_form.moves import MOVES
from passes.matrix_form.unary import UNARY
from passes.ranges import Ranges, effective_ranges
from passes.rewrite import (
    bindings_of,
    callee_attributes,
    callee_name,
    constant_value,
    dtype_of,
)

WIDE_BITS = 32

NARROW_BITS = 16

HEADROOM = 2.0
"""How much larger than the calibrated range a format's range is: data not seen in calibration may exceed it."""

WIDE_RATIO = 16.0
"""A function of decades whose result spans more than this ratio keeps its result wide."""

DIFFERENCE_STEP = 2.0**-8
"""The step of a difference of two tensors of different scales, in steps of the finer one."""

LEAST_DIFFERENCE_STEP = 2.0**-14
"""The same in steps of the coarser one, of which there may be 2^16: 32 bits hold no more."""

TINY = 2.0**-100
"""Stands for the largest value of a tensor of zeros."""

GRID_TOLERANCE = 1.0e-3
"""How far from a point of a grid, in its steps, a number may be that stands for the point."""


@dataclass
class FormatPlan:
    """The formats decided so far, by variable name, and what the decisions read."""

    module: ir.IRModule
    ranges: Ranges
    definitions: dict[str, relax.VarBinding] = field(default_factory=dict)
    consumers: dict[str, list[relax.VarBinding]] = field(default_factory=lambda: defaultdict(list))
    formats: dict[str, TensorFormat] = field(default_factory=dict)
    wide: set[str] = field(default_factory=set)
    exact: set[str] = field(default_factory=set)
    """The tensors whose scale is a power of two."""
    on_grids: dict[str, TensorFormat] = field(default_factory=dict)
    """The formats of grids, for the tensors on them and those that nothing but a grid reads."""


def plan_formats(module: ir.IRModule, ranges: Ranges) -> dict[str, TensorFormat]:
    """The format of each float tensor of `main` by variable name.

    The module is in matrix form with exact functions and without maxima.
    """
    plan = FormatPlan(module, effective_ranges(module, ranges))
    main = module["main"]
    for binding in bindings_of(main):
        plan.definitions[binding.var.name] = binding
        for argument in _arguments(binding.value):
            plan.consumers[argument.name].append(binding)
    _mark_wide(plan)
    _mark_grids(plan)
    plan.exact |= exact_operands(module)
    for parameter in main.params:
        if dtype_of(parameter) == "float32":
            own = plan.on_grids.get(parameter.name)
            plan.formats[parameter.name] = _format_for(plan, parameter.name) if own is None else own
    for binding in bindings_of(main):
        if isinstance(binding.var.ty, relax.TensorType) and dtype_of(binding.var) == "float32":
            plan.formats[binding.var.name] = _format_of(plan, binding)
    return plan.formats


def _arguments(value: relax.Expr) -> list[relax.Var]:
    if isinstance(value, relax.Var):
        return [value]
    if isinstance(value, relax.Tuple):
        return [v for item in value.fields for v in _arguments(item)]
    if isinstance(value, relax.TupleGetItem):
        return _arguments(value.tuple_value)
    return [v for item in value.args for v in _arguments(item)] if isinstance(value, relax.Call) else []


def _mark_wide(plan: FormatPlan) -> None:
    main = plan.module["main"]
    outputs = (
        {variable.name for variable in _arguments(bindings_of(main)[-1].value)}
        if bindings_of(main)
        else set()
    )
    for binding in reversed(bindings_of(main)):
        name, consumers = binding.var.name, plan.consumers[binding.var.name]
        if not isinstance(binding.value, relax.Call):
            continue
        if (
            (name in outputs and len(consumers) == 1)
            or _is_square(plan, binding.value)
            or _is_residual(plan, binding)
            or _is_centred(plan, binding.value)
            or _is_excess(plan, binding)
            or any(_needs_wide_argument(plan, name, consumer) for consumer in consumers)
        ):
            plan.wide.add(name)


def _kind(plan: FormatPlan, value: relax.Expr) -> str:
    return callee_name(plan.module, value) if isinstance(value, relax.Call) else ""


def _is_square(plan: FormatPlan, value: relax.Call) -> bool:
    return _kind(plan, value) == "relax.multiply" and value.args[0].same_as(value.args[1])


def _is_residual(plan: FormatPlan, binding: relax.VarBinding) -> bool:
    """A sum of two computed tensors that normalisations read: by their mean and otherwise, but by no other product."""
    if _kind(plan, binding.value) != "relax.add" or any(
        constant_value(a) is not None for a in binding.value.args
    ):
        return False
    consumers = plan.consumers[binding.var.name]
    if len(consumers) < 2 or any(_reads_into_product(plan, consumer) for consumer in consumers):
        return False
    return any(_reads_into_mean(plan, consumer) for consumer in consumers)


def _is_centred(plan: FormatPlan, value: relax.Call) -> bool:
    """A residual sum without its mean: rows whose variance is small keep their digits beside rows with huge values."""
    if _kind(plan, value) != "relax.subtract":
        return False
    source = plan.definitions.get(getattr(value.args[0], "name", ""))
    return source is not None and isinstance(source.value, relax.Call) and _is_residual(plan, source)


def _is_excess(plan: FormatPlan, binding: relax.VarBinding) -> bool:
    """The relu(a - b) of a maximum b + relu(a - b), which is exact when the difference is not rounded."""
    consumers = plan.consumers[binding.var.name]
    if _function(plan, binding.value) != "relu" or len(consumers) != 1:
        return False
    difference = plan.definitions.get(getattr(binding.value.args[0], "name", ""))
    if difference is None or _kind(plan, difference.value) != "relax.subtract":
        return False
    if _kind(plan, consumers[0].value) not in ("relax.add", "relax.subtract"):
        return False
    return any(base.same_as(operand) for base in consumers[0].value.args for operand in difference.value.args)


def _function(plan: FormatPlan, value: relax.Expr) -> str:
    """The name of the unary function that a binding applies, or an empty string."""
    return str(callee_attributes(plan.module, value)["function"]) if _kind(plan, value) == UNARY else ""


def _spans_decades(plan: FormatPlan, value: relax.Expr) -> bool:
    """Whether a binding applies a function whose table addresses by octaves, because its arguments span decades."""
    if _kind(plan, value) != UNARY:
        return False
    attributes = callee_attributes(plan.module, value)
    return function_named(str(attributes["function"]), dict(attributes["parameters"].items())).octaves


def _reads_into_mean(plan: FormatPlan, consumer: relax.VarBinding) -> bool:
    kind = _kind(plan, consumer.value)
    if kind in MOVES:
        return any(_reads_into_mean(plan, further) for further in plan.consumers[consumer.var.name])
    return kind == "relax.matmul" and is_uniform(consumer.value.args[1])


def _reads_into_product(plan: FormatPlan, consumer: relax.VarBinding) -> bool:
    """Whether the values reach, perhaps through moves, a product other than a plain sum or mean."""
    kind = _kind(plan, consumer.value)
    if kind in MOVES or kind == IM2COL:
        return any(_reads_into_product(plan, further) for further in plan.consumers[consumer.var.name])
    return kind == "relax.matmul" and not is_uniform(consumer.value.args[1])


def is_uniform(expr: relax.Expr) -> bool:
    """Whether a constant holds one value only, so that a product with it is a sum or a mean."""
    value = constant_value(expr)
    return value is not None and value.size > 0 and bool((value == value.reshape(-1)[0]).all())


def _needs_wide_argument(plan: FormatPlan, name: str, consumer: relax.VarBinding) -> bool:
    kind = _kind(plan, consumer.value)
    if kind == UNARY:
        relu_of_wide = _function(plan, consumer.value) == "relu" and consumer.var.name in plan.wide
        return relu_of_wide or _spans_decades(plan, consumer.value)
    if any(_is_excess(plan, further) for further in plan.consumers[consumer.var.name]):
        return False
    keeps_width = kind in MOVES or kind in ("relax.add", "relax.subtract", IM2COL)
    if not keeps_width or consumer.var.name not in plan.wide:
        return False
    return not _is_residual(plan, consumer) or len(plan.consumers[name]) == 1


def _mark_grids(plan: FormatPlan) -> None:
    """The grids' own formats, and those of what is computed for a grid: rounding once is rounding as the model does.

    The terms of a sum that is rounded to a grid are wide unless they are on a grid too, for the same reason.
    """
    for binding in reversed(bindings_of(plan.module["main"])):
        if _kind(plan, binding.value) == GRID:
            grid = grid_of(callee_attributes(plan.module, binding.value))
            bits = NARROW_BITS if max(-grid.low, grid.high) < 2 ** (NARROW_BITS - 1) else WIDE_BITS
            plan.on_grids[binding.var.name] = TensorFormat(grid.scale, bits)
        form = plan.on_grids.get(binding.var.name)
        if form is None:
            continue
        if _kind(plan, binding.value) in ("relax.add", "relax.subtract"):
            plan.wide |= {term.name for term in _arguments(binding.value)}
        if not _keeps_grid(plan, binding.value, form):
            continue
        source = binding.value.args[0]
        if isinstance(source, relax.Var) and plan.consumers[source.name] == [binding]:
            plan.on_grids.setdefault(source.name, form)


def _keeps_grid(plan: FormatPlan, value: relax.Expr, form: TensorFormat) -> bool:
    """Whether rounding the operand to the grid beforehand gives what rounding the result does."""
    kind = _kind(plan, value)
    if kind == GRID:
        return True
    if kind != UNARY:
        return kind in MOVES and kind != "relax.concat"
    if _function(plan, value) == "clip":
        bounds = [
            float(bound) / form.scale
            for bound in callee_attributes(plan.module, value)["parameters"].values()
        ]
        return all(abs(bound - round(bound)) < GRID_TOLERANCE for bound in bounds if abs(bound) < 2.0**31)
    return _function(plan, value) == "relu"


def _format_of(plan: FormatPlan, binding: relax.VarBinding) -> TensorFormat:
    value, kind = binding.value, _kind(plan, binding.value)
    if binding.var.name in plan.on_grids:
        return plan.on_grids[binding.var.name]
    if isinstance(value, relax.Var):
        return plan.formats[value.name]
    if kind in MOVES or kind == IM2COL:
        return _format_of_move(plan, binding)
    compared = _format_in_maximum(plan, binding)
    if compared is not None:
        return compared
    if kind == "relax.multiply":
        source, factor = scalar_factor(value)
        if source is not None and factor > 0.0 and source.name in plan.formats:
            own = plan.formats[source.name]
            return TensorFormat(own.scale * factor, own.bits)
    return _format_for(plan, binding.var.name)


def _format_in_maximum(plan: FormatPlan, binding: relax.VarBinding) -> TensorFormat | None:
    """The format of a part of b + relu(a - b), which is exact in the scale that narrow a and b share; None elsewhere.

    Where they differ the difference has a few bits more than the finer one. Were it as fine as 32 bits allow, the
    multipliers of the sum, which share a shift, would lose what they have for the difference.
    """
    value, consumers = binding.value, plan.consumers[binding.var.name]
    if _is_excess(plan, binding):
        return plan.formats[value.args[0].name]
    if _kind(plan, value) == "relax.subtract" and any(is_step(plan.module, c.value) for c in consumers):
        scales = _narrow_scales(plan, value)
        return (
            TensorFormat(max(min(scales), LEAST_DIFFERENCE_STEP * max(scales)), WIDE_BITS) if scales else None
        )
    if _kind(plan, value) == "relax.subtract" and any(_is_excess(plan, consumer) for consumer in consumers):
        scales = _narrow_scales(plan, value)
        if not scales:
            return None
        finer = max(DIFFERENCE_STEP * min(scales), LEAST_DIFFERENCE_STEP * max(scales))
        return TensorFormat(scales[0] if len(set(scales)) == 1 else finer, WIDE_BITS)
    if _kind(plan, value) in ("relax.add", "relax.subtract"):
        excess = plan.definitions.get(getattr(value.args[1], "name", ""))
        if excess is not None and _is_excess(plan, excess):
            scales = _narrow_scales(plan, plan.definitions[excess.value.args[0].name].value)
            return TensorFormat(scales[0], NARROW_BITS) if len(set(scales)) == 1 else None
    return None


def _narrow_scales(plan: FormatPlan, difference: relax.Call) -> list[float]:
    """The scales of the operands of a difference when all are narrow tensors; else none."""
    formats = [plan.formats.get(getattr(operand, "name", "")) for operand in difference.args]
    narrow = [form for form in formats if form is not None and form.bits == NARROW_BITS]
    return [form.scale for form in narrow] if len(narrow) == len(formats) else []


def _format_of_move(plan: FormatPlan, binding: relax.VarBinding) -> TensorFormat:
    """A move keeps its source's format; a concatenation takes the coarsest of its parts'."""
    sources = [v for v in _arguments(binding.value) if v.name in plan.formats]
    if not sources or constant_value(binding.value.args[0]) is not None:
        return _format_for(plan, binding.var.name)
    formats = [plan.formats[source.name] for source in sources]
    return max(formats, key=lambda f: (f.bits, f.scale))


def scalar_factor(call: relax.Call) -> tuple[relax.Var | None, float]:
    """The variable and the scalar of a multiplication by a constant scalar, or (None, 0)."""
    for source, factor in (call.args, reversed(call.args)):
        value = constant_value(factor)
        if value is None or value.size != 1 or not isinstance(source, relax.Var):
            continue
        if value.ndim <= len(source.ty.shape):
            return source, float(value.reshape(()))
    return None, 0.0


def _format_for(plan: FormatPlan, name: str) -> TensorFormat:
    """The format that the tensor's own range asks for."""
    bits = WIDE_BITS if _is_wide(plan, name) else NARROW_BITS
    span: TensorRange = plan.ranges[name] if name in plan.ranges else TensorRange(-1.0, 1.0)
    bound = min(span.magnitude * HEADROOM, 3.0e38)
    if name in plan.exact:
        return TensorFormat(2.0 ** math.ceil(math.log2(max(bound, TINY) / (2 ** (bits - 1) - 1))), bits)
    if _is_whole(plan, name):
        return TensorFormat(2.0 ** math.ceil(math.log2(max(bound, 1.0) / (2 ** (bits - 1) - 1))), bits)
    return TensorFormat(scale_for(-bound, bound, bits), bits)


def _is_whole(plan: FormatPlan, name: str) -> bool:
    """Whether the tensor holds whole numbers, a cast of integers or steps: a power of two as scale keeps them exact."""
    definition = plan.definitions.get(name)
    if definition is None:
        return False
    applied = unary_of(plan.module, definition.value)
    return _kind(plan, definition.value) == "relax.astype" or (applied is not None and applied.whole)


def _is_wide(plan: FormatPlan, name: str) -> bool:
    """Whether the tensor was marked, or is the result of a function of decades and spans decades itself; steps need no
    more than 16 bits."""
    span, definition = plan.ranges.get(name), plan.definitions.get(name)
    applied = None if definition is None else unary_of(plan.module, definition.value)
    if applied is not None and applied.whole:
        return False
    if name in plan.wide:
        return True
    if span is None or definition is None or span.low <= 0.0 or span.high / span.low < WIDE_RATIO:
        return False
    return _spans_decades(plan, definition.value)
