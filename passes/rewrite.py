"""Rewrites a straight-line Relax function binding by binding, keeping track of the source layer of each.

Every function nmc works on is one dataflow block. A binding's variable is named after the layer of the source model it
came from; bindings that a pass adds to a layer are named `layer#1`, `layer#2` …, so that names are unique within a
function and the layer of any binding can be read from its name (`layer_of`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import ir, relax, runtime

LAYER_SEPARATOR = "#"


def layer_of(variable: relax.Var) -> str:
    """The layer of the source model that a variable belongs to."""
    return layer_named(str(variable.name))


def layer_named(name: str) -> str:
    """The layer that the variable of a name belongs to."""
    return name.split(LAYER_SEPARATOR, 1)[0]


def shape_of(expr: relax.Expr) -> tuple[int, ...]:
    """The static shape of a tensor expression.

    Raises TypeError when the expression is not a tensor with a constant shape.
    """
    ty = expr.ty
    if not isinstance(ty, relax.TensorType) or ty.shape is None:
        raise TypeError(f"expected a tensor of static shape, got {ty}")
    return tuple(int(extent) for extent in ty.shape)


def dtype_of(expr: relax.Expr) -> str:
    """The element type of a tensor expression, as in `float32`."""
    return str(expr.ty.dtype)


def constant_value(expr: relax.Expr) -> np.ndarray | None:
    """The value of a constant tensor, or None for what is computed, and for a constant that is no tensor but a type."""
    if not isinstance(expr, ir.GenericConst):
        return None
    value = expr.value
    return value.numpy() if isinstance(value, runtime.Tensor) else None


@dataclass
class Emitter:
    """Collects the bindings of the function that is being built; `layer` names the ones emitted next."""

    builder: relax.BlockBuilder
    layer: str = "input"
    bindings: list[relax.Binding] = field(default_factory=list)
    _next_number: dict[str, int] = field(default_factory=dict)

    def emit(self, expr: relax.Expr) -> relax.Expr:
        """Binds a call to a new variable of the current layer; variables, constants and tuples stay as they are."""
        if isinstance(expr, relax.Var | ir.GenericConst | relax.Tuple):
            return expr
        return self.bind(self.fresh_name(), expr)

    def bind(self, name: str, expr: relax.Expr) -> relax.Var:
        """Binds an expression to a new variable of exactly this name."""
        if isinstance(expr, relax.Call) and any(map(_nests_calls, expr.args)):
            arguments = [self._flat(argument) for argument in expr.args]
            expr = relax.Call(expr.op, arguments, expr.attrs, expr.ty_args)
        normal = self.builder.normalize(expr)
        variable = relax.DataflowVar(name, normal.ty)
        self.bindings.append(relax.VarBinding(variable, normal))
        return variable

    def _flat(self, argument: relax.Expr) -> relax.Expr:
        """An argument of a call, with calls nested in it bound to variables of their own."""
        if isinstance(argument, relax.Tuple):
            return relax.Tuple([self._flat(item) for item in argument.fields])
        return self.emit(argument) if isinstance(argument, relax.Call) else argument

    def reserve(self, name: str) -> None:
        """Keeps `fresh_name` from giving out a name that a later binding already has."""
        layer, _, number = name.partition(LAYER_SEPARATOR)
        self._next_number[layer] = max(self._next_number.get(layer, 0), int(number or 0) + 1)

    def fresh_name(self) -> str:
        """A name for the current layer that no other binding of the function has."""
        number = self._next_number.get(self.layer, 0)
        self._next_number[self.layer] = number + 1
        return f"{self.layer}{LAYER_SEPARATOR}{number}" if number else self.layer

    def constant(self, value: np.ndarray | float, dtype: str = "float32") -> ir.GenericConst:
        """A constant of the given element type."""
        return relax.const(np.asarray(value, dtype), dtype)


def _nests_calls(argument: relax.Expr) -> bool:
    if isinstance(argument, relax.Tuple):
        return any(map(_nests_calls, argument.fields))
    return isinstance(argument, relax.Call)


Rule = Callable[[Emitter, relax.Call], relax.Expr | None]
"""Maps a call, whose arguments belong to the new function, to what replaces it; None leaves it as it is."""


def callee_name(module: ir.IRModule, call: relax.Call) -> str:
    """The name rules are looked up by: an operator's name, or the Composite attribute of a called private function."""
    if isinstance(call.op, ir.Op):
        return str(call.op.name)
    if isinstance(call.op, ir.GlobalVar):
        return str((module[call.op].attrs or {}).get("Composite", call.op.name_hint))
    return ""


def callee_attributes(module: ir.IRModule, call: relax.Call) -> dict[str, Any]:
    """The attributes of the private function that a call names; empty for operators."""
    if isinstance(call.op, ir.GlobalVar) and module[call.op].attrs is not None:
        return dict(module[call.op].attrs.items())
    return {}


def bindings_of(function: relax.Function) -> list[relax.VarBinding]:
    """All bindings of a straight-line function in order."""
    return [binding for block in function.body.blocks for binding in block.bindings]


def variables_of(value: relax.Expr) -> list[relax.Var]:
    """The variables that a binding's value reads, once for each time it does, in order."""
    if isinstance(value, relax.Var):
        return [value]
    if isinstance(value, relax.Tuple):
        return [variable for item in value.fields for variable in variables_of(item)]
    if isinstance(value, relax.TupleGetItem):
        return variables_of(value.tuple_value)
    if isinstance(value, relax.Call):
        return [variable for argument in value.args for variable in variables_of(argument)]
    return []


def rewrite_calls(module: ir.IRModule, rules: Mapping[str, Rule], function: str = "main") -> ir.IRModule:
    """Applies `rules`, keyed by operator or composite name, to each call of a function, once, in order."""

    def visit(emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        if not isinstance(value, relax.Call):
            return value
        rule = rules.get(callee_name(module, value))
        replacement = rule(emitter, value) if rule is not None else None
        return value if replacement is None else replacement

    return rebuild(module, visit, function)


Visit = Callable[[Emitter, relax.VarBinding, relax.Expr], relax.Expr]


def rebuild(module: ir.IRModule, visit: Visit, function: str = "main") -> ir.IRModule:
    """Builds a function anew: `visit` maps each binding's value (arguments already replaced) to its new value.

    A binding keeps its name unless another has it already. Unused bindings and private functions are dropped.
    """
    old = module[function]
    emitter = Emitter(relax.BlockBuilder(module))
    for binding in bindings_of(old):
        emitter.reserve(binding.var.name)
    new_values: dict[relax.Var, relax.Expr] = {}
    taken: set[str] = set()
    for binding in bindings_of(old):
        emitter.layer = layer_of(binding.var)
        old_value = binding.value
        given = substitute(old_value, new_values)
        if isinstance(given, relax.Call) and given is not old_value:
            given = emitter.builder.normalize(given)
        value = visit(emitter, binding, given)
        if isinstance(value, relax.Call | relax.TupleGetItem):
            taken_already = binding.var.name in taken
            if value is old_value and isinstance(binding.var, relax.DataflowVar) and not taken_already:
                taken.add(binding.var.name)
                emitter.bindings.append(binding)
                continue
            name = emitter.fresh_name() if taken_already else binding.var.name
            taken.add(name)
            value = emitter.bind(name, value)
        new_values[binding.var] = value
    result = substitute(old.body.body, new_values)
    return finish(emitter, module.get_global_var(function), old, list(old.params), result)


def substitute(expr: relax.Expr, new_values: Mapping[relax.Var, relax.Expr]) -> relax.Expr:
    """The expression with variables replaced by their values in the new function; itself where there are none."""
    if isinstance(expr, relax.Var):
        return new_values.get(expr, expr)
    if isinstance(expr, relax.Tuple):
        old_fields = list(expr.fields)
        fields = [substitute(item, new_values) for item in old_fields]
        unchanged = all(new is old for new, old in zip(fields, old_fields, strict=True))
        return expr if unchanged else relax.Tuple(fields)
    if isinstance(expr, relax.TupleGetItem):
        old_source = expr.tuple_value
        source = substitute(old_source, new_values)
        if isinstance(source, relax.Tuple):
            return source.fields[expr.index]
        return expr if source is old_source else relax.TupleGetItem(source, expr.index)
    if isinstance(expr, relax.Call):
        old_arguments = list(expr.args)
        arguments = [substitute(argument, new_values) for argument in old_arguments]
        if all(new is old for new, old in zip(arguments, old_arguments, strict=True)):
            return expr
        return relax.Call(expr.op, arguments, expr.attrs, expr.ty_args)
    return expr


def finish(
    emitter: Emitter,
    global_var: ir.GlobalVar,
    old: relax.Function,
    parameters: Sequence[relax.Var],
    result: relax.Expr,
) -> ir.IRModule:
    """The module with `global_var` now holding the emitted bindings and returning `result`."""
    body = straight_line_body(emitter.builder, emitter.bindings, result)
    function = relax.Function(list(parameters), body, ret_ty=body.ty, is_pure=True, attrs=old.attrs)
    emitter.builder.update_func(global_var, function)
    return relax.transform.DeadCodeElimination([global_var.name_hint])(emitter.builder.get())


def straight_line_body(
    builder: relax.BlockBuilder, bindings: Sequence[relax.Binding], result: relax.Expr
) -> relax.SeqExpr:
    """One dataflow block of these bindings, whose last variable holds the result and is visible outside the block."""
    output = relax.Var("output", builder.normalize(result).ty)
    block = relax.DataflowBlock([*bindings, relax.VarBinding(output, result)])
    return builder.normalize(relax.SeqExpr([block], output))
