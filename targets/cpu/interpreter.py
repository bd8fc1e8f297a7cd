"""Runs a straight-line module on numpy arrays, one call at a time, and shows every tensor to an observer.

Nothing is compiled, so that a large model starts at once, and a tensor is freed after its last use. A composite is run by
its body, as everywhere; what `targets.cpu.numpy_calls` does not know is built by LLVM, alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import ir, relax

from passes.rewrite import bindings_of, callee_name, variables_of
from targets.cpu.numpy_calls import numpy_call
from targets.cpu.single_call import SingleCalls

Value = Any
"""An array, a tuple of values, or what a call takes besides tensors, such as a shape."""
Observer = Callable[[str, np.ndarray], None]
"""Is told the name of a variable and its value; it must not keep the array, unless it copies it."""


@dataclass(frozen=True)
class Step:
    """One binding: `compute` maps the values so far, by variable, to its own; `last_used` are needed no more after it."""

    variable: relax.Var
    compute: Callable[[Mapping[relax.Var, Value]], Value]
    last_used: tuple[relax.Var, ...]


@dataclass(frozen=True)
class Interpreter:
    """A function, prepared to be run any number of times."""

    parameters: tuple[relax.Var, ...]
    steps: tuple[Step, ...]
    result: Callable[[Mapping[relax.Var, Value]], Value]

    def run(self, inputs: Sequence[Value], observe: Observer = lambda _name, _array: None) -> Value:
        """The result for arrays of exactly the shapes and types of the parameters, an array or a tuple of them.

        `observe` is called for each parameter and each variable that holds a tensor, in order.
        """
        values: dict[relax.Var, Value] = dict(zip(self.parameters, inputs, strict=True))
        for parameter, value in values.items():
            observe(parameter.name, value)
        with np.errstate(all="ignore"):
            for step in self.steps:
                value = values[step.variable] = step.compute(values)
                if isinstance(value, np.ndarray):
                    observe(step.variable.name, value)
                del value
                for variable in step.last_used:
                    del values[variable]
        return self.result(values)


def interpret(module: ir.IRModule, function: str = "main") -> Interpreter:
    """Prepares a function of a module of level 1 or 2, whose shapes are static."""
    return _Preparation(module).function(module.get_global_var(function))


@dataclass
class _Preparation:
    """Turns functions into steps; each private function once."""

    module: ir.IRModule
    functions: dict[ir.GlobalVar, Interpreter] = field(default_factory=dict)
    single_calls: SingleCalls = field(init=False)

    def __post_init__(self) -> None:
        self.single_calls = SingleCalls(self.module)

    def function(self, name: ir.GlobalVar) -> Interpreter:
        if name not in self.functions:
            function = self.module[name]
            bindings, result = bindings_of(function), function.body.body
            last_uses = _last_uses(bindings, result)
            steps = [
                Step(binding.var, self._expression(binding.value), tuple(last_uses[index]))
                for index, binding in enumerate(bindings)
            ]
            self.functions[name] = Interpreter(tuple(function.params), tuple(steps), self._expression(result))
        return self.functions[name]

    def _expression(self, expr: relax.Expr) -> Callable[[Mapping[relax.Var, Value]], Value]:
        if isinstance(expr, relax.Var):
            return lambda values: values[expr]
        if isinstance(expr, ir.GenericConst) and isinstance(expr.ty, relax.TensorType):
            constant = _view(expr)
            return lambda _values: constant
        if isinstance(expr, relax.Tuple):
            fields = [self._expression(item) for item in expr.fields]
            return lambda values: tuple(field(values) for field in fields)
        if isinstance(expr, relax.TupleGetItem):
            source, index = self._expression(expr.tuple_value), int(expr.index)
            return lambda values: source(values)[index]
        if isinstance(expr, relax.Call):
            compute = self._call(expr)
            arguments = [self._expression(argument) for argument in expr.args]
            return lambda values: compute(*(argument(values) for argument in arguments))
        return lambda _values: expr

    def _call(self, call: relax.Call) -> Callable[..., Value]:
        """What maps the values of a call's arguments to its value."""
        compute = numpy_call(self.module, call, callee_name(self.module, call))
        if compute is not None:
            return compute
        if isinstance(call.op, ir.GlobalVar) and isinstance(self.module[call.op], relax.Function):
            body = self.function(call.op)
            return lambda *arguments: body.run(arguments)
        return self.single_calls.built(call)


def _view(constant: ir.GenericConst) -> np.ndarray:
    """The constant's own memory, not a copy of it."""
    array: np.ndarray = np.from_dlpack(constant.value)
    array.flags.writeable = False
    return array


def _last_uses(bindings: Sequence[relax.VarBinding], result: relax.Expr) -> list[list[relax.Var]]:
    """For each binding the variables that it is the last to use, or that nothing uses; the result stays."""
    last: dict[relax.Var, int] = {}
    for index, binding in enumerate(bindings):
        last[binding.var] = index
        last.update(dict.fromkeys(variables_of(binding.value), index))
    uses: list[list[relax.Var]] = [[] for _ in bindings]
    kept = set(variables_of(result))
    for variable, index in last.items():
        if variable not in kept:
            uses[index].append(variable)
    return uses
