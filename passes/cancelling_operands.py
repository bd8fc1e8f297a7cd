"""Which tensors need 32 bits because a difference of them is far smaller than they are.

Softmax of scores around 10000 reads their distances to the largest, a few units: 16 bits for 10000 would round those away.
Plain analysis of a module in matrix form with exact functions; nothing is rewritten.
"""

from tvm import relax

from passes.dataflow import Dataflow
from passes.matrix_form.moves import MOVES
from passes.ranges import Ranges
from passes.rewrite import bindings_of, variables_of
from passes.wide_tensors import is_excess

CANCELLED = 2.0**6
"""A difference this many times smaller than both operands has lost six of their 16 bits."""


def cancelling_operands(flow: Dataflow, ranges: Ranges) -> set[str]:
    """The names of the operands of such differences and of what they are moves, sums and maxima of, the model's inputs
    included; `ranges` are those that matter, by variable name."""
    found: set[str] = set()
    for binding in reversed(bindings_of(flow.module["main"])):
        keeps = _keeps_values(flow, binding.value) and binding.var.name in found
        if keeps or _cancels(flow, binding, ranges):
            found |= {variable.name for variable in variables_of(binding.value) if variable.name in ranges}
    return found


def _keeps_values(flow: Dataflow, value: relax.Expr) -> bool:
    kind = flow.kind(value)
    return kind in MOVES or kind in ("relax.add", "relax.subtract") or flow.function(value) == "relu"


def _cancels(flow: Dataflow, binding: relax.VarBinding, ranges: Ranges) -> bool:
    """Whether a binding is a difference, not one inside a maximum, that is far smaller than both its operands."""
    name, consumers = binding.var.name, flow.consumers[binding.var.name]
    if flow.kind(binding.value) != "relax.subtract" or any(is_excess(flow, further) for further in consumers):
        return False
    operands = [getattr(operand, "name", "") for operand in binding.value.args]
    if any(variable not in ranges for variable in (name, *operands)):
        return False
    magnitude = CANCELLED * ranges[name].magnitude
    return 0.0 < magnitude < min(ranges[operand].magnitude for operand in operands)
