"""Which tensors need 32 bits, because 16 would lose what matters.

Squares, arguments of mirrors and of functions whose input spans decades, residual sums that only normalisations read,
differences inside a maximum, the outputs of the model, and what such tensors are sums or moves of. Plain analysis of a
module in matrix form with exact functions; nothing is rewritten.
"""

from tvm import relax

from passes.dataflow import Dataflow
from passes.exact_operands import is_mirror, unary_of
from passes.matrix_form.im2col import IM2COL
from passes.matrix_form.moves import MOVES
from passes.matrix_form.unary import UNARY
from passes.rewrite import bindings_of, constant_value, variables_of
from passes.scalars import scalar_of


def wide_tensors(flow: Dataflow) -> set[str]:
    """The names of the variables of `main` that need 32 bits."""
    # of a mirror's argument, an input of the model too, what is small beside it decides
    mirrors = [binding for binding in flow.definitions.values() if is_mirror(flow.module, binding.value)]
    wide = {variable.name for mirror in mirrors for variable in variables_of(mirror.value)}
    bindings = bindings_of(flow.module["main"])
    outputs = {variable.name for variable in variables_of(bindings[-1].value)} if bindings else set()
    for binding in reversed(bindings):
        name, consumers = binding.var.name, flow.consumers[binding.var.name]
        if not isinstance(binding.value, relax.Call):
            continue
        if (
            (name in outputs and len(consumers) == 1)
            or _is_square(flow, binding.value)
            or _is_residual(flow, binding)
            or _is_centred(flow, binding.value)
            or is_excess(flow, binding)
            or any(_needs_wide_argument(flow, name, consumer, wide) for consumer in consumers)
        ):
            wide.add(name)
    return wide


def _is_square(flow: Dataflow, value: relax.Call) -> bool:
    return flow.kind(value) == "relax.multiply" and value.args[0].same_as(value.args[1])


def _is_residual(flow: Dataflow, binding: relax.VarBinding) -> bool:
    """A sum of two computed tensors that normalisations read: by their mean and otherwise, but by no other product."""
    if flow.kind(binding.value) != "relax.add" or any(
        constant_value(a) is not None for a in binding.value.args
    ):
        return False
    consumers = flow.consumers[binding.var.name]
    if len(consumers) < 2 or any(_reads_into_product(flow, consumer) for consumer in consumers):
        return False
    return any(_reads_into_mean(flow, consumer) for consumer in consumers)


def _is_centred(flow: Dataflow, value: relax.Call) -> bool:
    """A residual sum without its mean: rows whose variance is small keep their digits beside rows with huge values."""
    if flow.kind(value) != "relax.subtract":
        return False
    source = flow.source(value.args[0])
    return source is not None and isinstance(source.value, relax.Call) and _is_residual(flow, source)


def is_excess(flow: Dataflow, binding: relax.VarBinding) -> bool:
    """The relu(a - b) of a maximum b + relu(a - b), which is exact when the difference is not rounded."""
    consumers = flow.consumers[binding.var.name]
    if flow.function(binding.value) != "relu" or len(consumers) != 1:
        return False
    difference = flow.source(binding.value.args[0])
    if difference is None or flow.kind(difference.value) != "relax.subtract":
        return False
    if flow.kind(consumers[0].value) not in ("relax.add", "relax.subtract"):
        return False
    return any(base.same_as(operand) for base in consumers[0].value.args for operand in difference.value.args)


def spans_decades(flow: Dataflow, value: relax.Expr) -> bool:
    """Whether a binding applies a function whose table addresses by octaves, because its arguments span decades."""
    applied = unary_of(flow.module, value)
    return applied is not None and applied.octaves


def _reads_into_mean(flow: Dataflow, consumer: relax.VarBinding) -> bool:
    kind = flow.kind(consumer.value)
    if kind in MOVES:
        return any(_reads_into_mean(flow, further) for further in flow.consumers[consumer.var.name])
    return kind == "relax.matmul" and scalar_of(consumer.value.args[1]) is not None


def _reads_into_product(flow: Dataflow, consumer: relax.VarBinding) -> bool:
    """Whether the values reach, perhaps through moves, a product other than a plain sum or mean."""
    kind = flow.kind(consumer.value)
    if kind in MOVES or kind == IM2COL:
        return any(_reads_into_product(flow, further) for further in flow.consumers[consumer.var.name])
    return kind == "relax.matmul" and scalar_of(consumer.value.args[1]) is None


def _needs_wide_argument(flow: Dataflow, name: str, consumer: relax.VarBinding, wide: set[str]) -> bool:
    kind = flow.kind(consumer.value)
    if kind == UNARY:
        relu_of_wide = flow.function(consumer.value) == "relu" and consumer.var.name in wide
        return relu_of_wide or spans_decades(flow, consumer.value)
    if any(is_excess(flow, further) for further in flow.consumers[consumer.var.name]):
        return False
    keeps_width = kind in MOVES or kind in ("relax.add", "relax.subtract", IM2COL)
    if not keeps_width or consumer.var.name not in wide:
        return False
    return not _is_residual(flow, consumer) or len(flow.consumers[name]) == 1
