"""What computes each tensor of a function and what reads it, by variable name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm import ir, relax

from passes.matrix_form.unary import UNARY
from passes.rewrite import bindings_of, callee_attributes, callee_name, variables_of


@dataclass(frozen=True, eq=False)
class Dataflow:
    """The bindings of `main` by the variable they define, and those that read it, once for each time they do."""

    module: ir.IRModule
    definitions: Mapping[str, relax.VarBinding]
    consumers: Mapping[str, Sequence[relax.VarBinding]]

    def kind(self, value: relax.Expr) -> str:
        """The operator or composite that a binding's value applies; empty for what is no call."""
        return callee_name(self.module, value) if isinstance(value, relax.Call) else ""

    def function(self, value: relax.Expr) -> str:
        """The name of the unary function that a binding's value applies, or an empty string."""
        return str(callee_attributes(self.module, value)["function"]) if self.kind(value) == UNARY else ""

    def source(self, operand: relax.Expr) -> relax.VarBinding | None:
        """The binding that computes an operand; None for parameters and constants."""
        return self.definitions.get(operand.name) if isinstance(operand, relax.Var) else None


def dataflow_of(module: ir.IRModule) -> Dataflow:
    """The dataflow of `main`; a variable that nothing reads has no consumers."""
    main = module["main"]
    bindings = bindings_of(main)
    consumers: dict[str, list[relax.VarBinding]] = {parameter.name: [] for parameter in main.params}
    consumers |= {binding.var.name: [] for binding in bindings}
    for binding in bindings:
        for variable in variables_of(binding.value):
            consumers[variable.name].append(binding)
    return Dataflow(module, {binding.var.name: binding for binding in bindings}, consumers)
