"""Decides the integer format of every float tensor of a module in matrix form: its width and its scale.

16 bits are the rule; products that read 8 bits convert what they read (`passes.narrow_products`). A tensor has 32 bits
where 16 would lose what matters (`passes.wide_tensors`). What the model itself holds on a grid keeps that grid's scale,
and so does what is computed for the grid alone (`passes.grid_formats`). What a step function reads has a scale that is a
power of two (`passes.exact_operands`): whole numbers, halves and the differences of two such tensors are then exact, so
that what is equal stays equal. So has what a mirror reads and what it makes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tvm import ir, relax

from nmc.pwl.functions import Function
from nmc.pwl.quantised_table import SLOPE_LIMIT
from nmc.quant.formats import DATA_BITS, WIDE_BITS, TensorFormat
from nmc.quant.ranges import scale_for
from passes.cancelling_operands import cancelling_operands
from passes.dataflow import Dataflow, dataflow_of
from passes.exact_operands import exact_operands, is_mirror, is_step, unary_of
from passes.grid_formats import grid_formats
from passes.matrix_form.im2col import IM2COL
from passes.matrix_form.moves import MOVES
from passes.ranges import Ranges, effective_ranges
from passes.rewrite import bindings_of, constant_value, dtype_of, variables_of
from passes.scalars import scalar_factor
from passes.wide_tensors import is_excess, spans_decades, wide_tensors

HEADROOM = 2.0
"""How much larger than the calibrated range a format's range is: data not seen in calibration may exceed it."""

WIDE_RATIO = 16.0
"""A function of decades whose result spans more than this ratio keeps its result wide."""

DIFFERENCE_STEP = 2.0**-8
"""The step of a difference of two tensors of different scales, in steps of the finer one."""

LEAST_DIFFERENCE_STEP = 2.0**-14
"""The same in steps of the coarser one, of which there may be 2^16: 32 bits hold no more."""

SLOPE_PROBE = 2.0**-10
"""By which part of itself an argument is moved to see how steep a function is there."""

TINY = 2.0**-100
"""Stands for the largest value of a tensor of zeros."""


@dataclass(frozen=True, eq=False)
class FormatPlan:
    """What decides the formats, and in `formats` those decided so far; all by variable name."""

    flow: Dataflow
    ranges: Ranges
    reaches: Ranges
    """The ranges with headroom, as far as it is needed."""
    wide: set[str]
    exact: set[str]
    """The tensors whose scale is a power of two."""
    on_grids: Mapping[str, TensorFormat]
    """The formats of grids, for the tensors on them and those that nothing but a grid reads."""
    formats: dict[str, TensorFormat] = field(default_factory=dict)


def plan_formats(module: ir.IRModule, ranges: Ranges) -> dict[str, TensorFormat]:
    """The format of each float tensor of `main` by variable name.

    The module is in matrix form with exact functions and without maxima.
    """
    flow, main = dataflow_of(module), module["main"]
    on_grids, terms = grid_formats(flow)
    effective = effective_ranges(module, ranges)
    plan = FormatPlan(
        flow=flow,
        ranges=effective,
        reaches=effective_ranges(module, ranges, HEADROOM),
        wide=wide_tensors(flow) | cancelling_operands(flow, effective) | terms,
        exact=exact_operands(module),
        on_grids=on_grids,
    )
    for parameter in main.params:
        if dtype_of(parameter) == "float32":
            own = plan.on_grids.get(parameter.name)
            plan.formats[parameter.name] = _format_for(plan, parameter.name) if own is None else own
    for binding in bindings_of(main):
        if isinstance(binding.var.ty, relax.TensorType) and dtype_of(binding.var) == "float32":
            plan.formats[binding.var.name] = _format_of(plan, binding)
    return plan.formats


def _format_of(plan: FormatPlan, binding: relax.VarBinding) -> TensorFormat:
    value, kind = binding.value, plan.flow.kind(binding.value)
    if binding.var.name in plan.on_grids:
        return plan.on_grids[binding.var.name]
    if isinstance(value, relax.Var):
        return plan.formats[value.name]
    if kind in MOVES or kind == IM2COL:
        return _format_of_move(plan, binding)
    compared = _format_in_maximum(plan, binding)
    if compared is not None:
        return compared
    if kind == "relax.multiply" and not _is_mirrored(plan, binding.var.name):
        source, factor = scalar_factor(value)
        if source is not None and factor > 0.0 and source.name in plan.formats:
            own = plan.formats[source.name]
            return TensorFormat(own.scale * factor, own.bits)
    return _format_for(plan, binding.var.name)


def _is_mirrored(plan: FormatPlan, name: str) -> bool:
    """Whether a mirror reads the tensor, whose ratio of scales has to be a power of two."""
    return any(is_mirror(plan.flow.module, consumer.value) for consumer in plan.flow.consumers[name])


def _format_in_maximum(plan: FormatPlan, binding: relax.VarBinding) -> TensorFormat | None:
    """The format of a part of b + relu(a - b), which is exact in the scale that narrow a and b share; None elsewhere.

    Where they differ the difference has a few bits more than the finer one. Were it as fine as 32 bits allow, the
    multipliers of the sum, which share a shift, would lose what they have for the difference.
    """
    value, flow = binding.value, plan.flow
    kind, consumers = flow.kind(value), flow.consumers[binding.var.name]
    if is_excess(flow, binding):
        return plan.formats[value.args[0].name]
    if kind == "relax.subtract":
        compared = any(is_step(flow.module, consumer.value) for consumer in consumers)
        if compared or any(is_excess(flow, consumer) for consumer in consumers):
            return _format_of_difference(_narrow_scales(plan, value), compared)
    if kind in ("relax.add", "relax.subtract"):
        excess = flow.source(value.args[1])
        if excess is not None and is_excess(flow, excess):
            scales = _narrow_scales(plan, flow.definitions[excess.value.args[0].name].value)
            return TensorFormat(scales[0], DATA_BITS) if len(set(scales)) == 1 else None
    return None


def _format_of_difference(scales: Sequence[float], compared: bool) -> TensorFormat | None:
    """The format of a difference of narrow tensors of these scales that a step or a maximum reads; None without scales."""
    if not scales:
        return None
    finest, coarsest = min(scales), max(scales)
    if finest == coarsest:
        return TensorFormat(finest, WIDE_BITS)
    step = finest if compared else DIFFERENCE_STEP * finest
    return TensorFormat(max(step, LEAST_DIFFERENCE_STEP * coarsest), WIDE_BITS)


def _narrow_scales(plan: FormatPlan, difference: relax.Call) -> list[float]:
    """The scales of the operands of a difference when all are narrow tensors; else none."""
    formats = [plan.formats.get(getattr(operand, "name", "")) for operand in difference.args]
    narrow = [form for form in formats if form is not None and form.bits == DATA_BITS]
    return [form.scale for form in narrow] if len(narrow) == len(formats) else []


def _format_of_move(plan: FormatPlan, binding: relax.VarBinding) -> TensorFormat:
    """A move keeps its source's format; a concatenation takes the coarsest of its parts', and what is padded with a number
    beyond its format one that holds as much of that as is needed."""
    sources = [v for v in variables_of(binding.value) if v.name in plan.formats]
    if not sources or constant_value(binding.value.args[0]) is not None:
        return _format_for(plan, binding.var.name)
    formats = [plan.formats[source.name] for source in sources]
    widest = max(formats, key=lambda f: (f.bits, f.scale))
    if plan.flow.kind(binding.value) == "relax.nn.pad" and _pads_beyond(binding.value, widest):
        own = _format_for(plan, binding.var.name)
        scale = own.scale * 2.0 ** (own.bits - widest.bits)
        return TensorFormat(max(scale, widest.scale), widest.bits)
    return widest


def _pads_beyond(pad: relax.Call, form: TensorFormat) -> bool:
    return (
        str(pad.attrs.pad_mode) == "constant" and abs(float(pad.attrs.pad_value)) > form.scale * form.highest
    )


def _format_for(plan: FormatPlan, name: str) -> TensorFormat:
    """The format that the tensor's own range asks for, with headroom unless nothing can lie beyond it."""
    bits = WIDE_BITS if _is_wide(plan, name) else DATA_BITS
    reach = plan.reaches[name].magnitude if name in plan.reaches else HEADROOM
    definition = plan.flow.definitions.get(name)
    applied = None if definition is None else unary_of(plan.flow.module, definition.value)
    bound = min(reach, 3.0e38 if applied is None else applied.bound or 3.0e38, 3.0e38)
    if name in plan.exact:
        return TensorFormat(2.0 ** math.ceil(math.log2(max(bound, TINY) / (2 ** (bits - 1) - 1))), bits)
    if _is_whole(plan, name):
        return TensorFormat(2.0 ** math.ceil(math.log2(max(bound, 1.0) / (2 ** (bits - 1) - 1))), bits)
    return TensorFormat(max(scale_for(-bound, bound, bits), _step_of_slopes(plan, definition, applied)), bits)


def _step_of_slopes(plan: FormatPlan, definition: relax.VarBinding | None, applied: Function | None) -> float:
    """The finest step of the result of a function of decades with which 16 bits hold the slopes of its table, which are
    steepest at an end of the range; 0 for anything else."""
    argument = None if definition is None or applied is None else definition.value.args[0].name
    if applied is None or not applied.octaves or argument not in plan.formats or argument not in plan.ranges:
        return 0.0
    span = plan.ranges[argument]
    if span.low <= 0.0:
        return 0.0
    ends = np.array([span.low, span.high])
    slopes = np.abs(applied(ends * (1.0 + SLOPE_PROBE)) - applied(ends)) / (ends * SLOPE_PROBE)
    return HEADROOM * float(slopes.max()) * plan.formats[argument].scale / SLOPE_LIMIT


def _is_whole(plan: FormatPlan, name: str) -> bool:
    """Whether the tensor holds whole numbers, a cast of integers or steps: a power of two as scale keeps them exact."""
    definition = plan.flow.definitions.get(name)
    if definition is None:
        return False
    applied = unary_of(plan.flow.module, definition.value)
    return plan.flow.kind(definition.value) == "relax.astype" or (applied is not None and applied.whole)


def _is_wide(plan: FormatPlan, name: str) -> bool:
    """Whether the tensor was marked, or is the result of a function of decades and spans decades itself; steps need no
    more than 16 bits."""
    span, definition = plan.ranges.get(name), plan.flow.definitions.get(name)
    applied = None if definition is None else unary_of(plan.flow.module, definition.value)
    if applied is not None and applied.whole:
        return False
    if name in plan.wide:
        return True
    if span is None or definition is None or span.low <= 0.0 or span.high / span.low < WIDE_RATIO:
        return False
    return spans_decades(plan.flow, definition.value)
