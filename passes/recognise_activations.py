"""An activation function that a model spells out in primitives is one `nmc.unary`.

Run first, on the operators as they were imported. A value computed element by element from one tensor and
scalars is a function of that tensor; when its values at sample points are those of a known function
(`passes.known_functions`), a call of that function replaces it, and what it was spelled with becomes dead. A
function that is not known stays as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import ir, relax, tirx

from passes.known_functions import Known, recognise
from passes.matrix_form.unary import unary
from passes.numpy_meaning import evaluate_elementwise
from passes.rewrite import Emitter, bindings_of, dtype_of, rebuild, shape_of
from passes.scalars import scalar_of

MOST_OPERATORS = 24
"""A spelled-out activation has no more operators than this."""


@dataclass(frozen=True)
class Spelling:
    """A value as a function of the tensor `root`: the calls that compute it in order, itself the last."""

    root: relax.Var
    bindings: tuple[relax.VarBinding, ...]

    def constants(self) -> list[float]:
        """The scalars that it is made of."""
        found = []
        for binding in self.bindings:
            for argument in binding.value.args:
                number = scalar_of(argument) if isinstance(argument, ir.GenericConst) else None
                if isinstance(argument, tirx.IntImm | tirx.FloatImm):
                    number = float(argument.value)
                if number is not None and np.isfinite(number):
                    found.append(number)
        return list(dict.fromkeys(found))

    def structure(self) -> tuple[object, ...]:
        """Equal for spellings that compute the same: each call's operator, operands and attributes."""
        number = {self.root: -1} | {binding.var: index for index, binding in enumerate(self.bindings)}

        def operand(argument: relax.Expr) -> object:
            if isinstance(argument, relax.Var):
                return ("variable", number[argument])
            return ("scalar", scalar_of(argument)) if isinstance(argument, ir.GenericConst) else str(argument)

        calls = [binding.value for binding in self.bindings]
        return tuple((call.op.name, str(call.attrs), *map(operand, call.args)) for call in calls)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The function's values at float64 points; NaN where an operator has no meaning in numpy."""
        values: dict[relax.Var, np.ndarray] = {self.root: points}
        for binding in self.bindings:
            arguments = [
                values[argument]
                if isinstance(argument, relax.Var)
                else np.asarray(scalar_of(argument), np.float64)
                for argument in binding.value.args
                if isinstance(argument, relax.Var | ir.GenericConst)
            ]
            result = evaluate_elementwise(binding.value, arguments)
            values[binding.var] = np.full_like(points, np.nan) if result is None else result
        return np.broadcast_to(values[self.bindings[-1].var], points.shape)


class Spellings:
    """For each value of a function, the tensors that it is a function of, the most distant last."""

    def __init__(self) -> None:
        self._operators: dict[relax.Var, dict[relax.Var, frozenset[int]]] = {}
        self._bindings: list[relax.VarBinding] = []

    def of(self, binding: relax.VarBinding) -> Iterator[Spelling]:
        """The ways to see the next binding of the function as a function of one tensor, the largest first."""
        index = len(self._bindings)
        self._bindings.append(binding)
        roots = self._roots(binding, index)
        self._operators[binding.var] = {binding.var: frozenset(), **roots}
        for root, operators in sorted(roots.items(), key=lambda item: -len(item[1])):
            if len(operators) > 1 and dtype_of(root) == dtype_of(binding.var) == "float32":
                yield Spelling(root, tuple(self._bindings[i] for i in sorted(operators)))

    def _roots(self, binding: relax.VarBinding, index: int) -> dict[relax.Var, frozenset[int]]:
        call = binding.value
        if not isinstance(call, relax.Call) or not isinstance(call.op, ir.Op) or not _is_elementwise(call):
            return {}
        sources = [argument for argument in call.args if isinstance(argument, relax.Var)]
        if not sources or any(shape_of(source) != shape_of(call) for source in sources):
            return {}
        known = [self._operators.get(source, {source: frozenset()}) for source in sources]
        common = [root for root in known[0] if all(root in other for other in known)]
        combined = {root: frozenset({index}).union(*(other[root] for other in known)) for root in common}
        return {root: used for root, used in combined.items() if len(used) <= MOST_OPERATORS}


def _is_elementwise(call: relax.Call) -> bool:
    """Whether every constant operand is a scalar, and the operator has a meaning element by element."""
    for argument in call.args:
        if isinstance(argument, ir.GenericConst):
            if scalar_of(argument) is None or len(shape_of(argument)) > len(shape_of(call)):
                return False
        elif isinstance(argument, relax.Var):
            if dtype_of(argument) not in ("float32", "bool"):
                return False
        elif not isinstance(argument, tirx.IntImm | tirx.FloatImm):
            return False
    if not isinstance(call.ty, relax.TensorType) or dtype_of(call) not in ("float32", "bool"):
        return False
    probe = [np.ones(1) for argument in call.args if isinstance(argument, relax.Var | ir.GenericConst)]
    return evaluate_elementwise(call, probe) is not None


@tvm.transform.module_pass(opt_level=0, name="nmc.RecogniseActivations")
def recognise_activations(module: ir.IRModule, context: tvm.transform.PassContext) -> ir.IRModule:
    """Replace each value that is a known function of an earlier one by a call of that function."""
    found: dict[relax.Var, tuple[Known, relax.Var]] = {}
    known: dict[tuple[object, ...], Known | None] = {}
    spellings = Spellings()
    for binding in bindings_of(module["main"]):
        for spelling in spellings.of(binding):
            structure = spelling.structure()
            if structure not in known:
                known[structure] = recognise(spelling, spelling.constants())
            function = known[structure]
            if function is not None:
                found[binding.var] = (function, spelling.root)
                break
    renewed: dict[relax.Var, relax.Expr] = {}

    def visit(emitter: Emitter, binding: relax.VarBinding, value: relax.Expr) -> relax.Expr:
        if isinstance(value, relax.Call):
            renewed.update(
                (old, new)
                for old, new in zip(binding.value.args, value.args, strict=True)
                if isinstance(old, relax.Var)
            )
        if binding.var not in found:
            return value
        function, root = found[binding.var]
        result = unary(emitter, renewed[root], function.function, **function.parameters)
        return result if function.gain == 1.0 else relax.op.multiply(result, emitter.constant(function.gain))

    return rebuild(module, visit)
