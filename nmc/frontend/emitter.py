"""Writes the straight-line Relax function: each operation bound to a variable with its layer's name."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx

from nmc.frontend.low_precision import carried
from nmc.frontend.values import ConversionError, Value


class Emitter:
    """The bindings written so far; mutable, one for each import. Whatever floats converters write have `float_type`."""

    def __init__(self, float_type: str) -> None:
        self.float_type = float_type
        self.layer = ""
        self.bindings: list[relax.VarBinding] = []
        self.functions: dict[str, tuple[relax.GlobalVar, tvm.ir.BaseFunc]] = {}
        self._normaliser = relax.BlockBuilder()
        self._constants: dict[int, tuple[np.ndarray, relax.Expr]] = {}
        self._slices: dict[tuple[int, int, int, int], tuple[np.ndarray, np.ndarray]] = {}
        self._infinite: set[relax.Expr] = set()
        self._definitions: dict[relax.Var, relax.Call] = {}
        self.low_precision: dict[relax.Var, str] = {}
        """The low-precision type that the model means where a variable only carries its values."""

    def emit(self, expression: relax.Expr) -> np.ndarray | relax.Var:
        """Bind a call whose arguments are variables and constants; refuses results without a static shape.

        A result without elements is a constant: nothing needs to be computed for it.
        """
        normalised = self._normaliser.normalize(expression)
        _check_static(normalised.ty)
        if isinstance(normalised.ty, relax.TensorType) and any(
            int(size) == 0 for size in normalised.ty.shape.values
        ):
            return np.zeros([int(size) for size in normalised.ty.shape.values], str(normalised.ty.dtype))
        variable = relax.DataflowVar(self.layer, normalised.ty)
        self.bindings.append(relax.VarBinding(variable, normalised))
        if isinstance(normalised, relax.Call):
            self._definitions[variable] = normalised
        if self._infinite and any(operand in self._infinite for operand in _operands(normalised)):
            self._infinite.add(variable)
        return variable

    def element_type(self, value: Value) -> str:
        """The element type that the model means: a low-precision type where another carries its values."""
        known = self.low_precision.get(value) if isinstance(value, relax.Var) else None
        return known or dtype_of(value)

    def may_be_infinite(self, value: Value) -> bool:
        """Whether a constant -inf, such as a mask's, went into a value."""
        return isinstance(value, relax.Var) and value in self._infinite

    def call(
        self, operator: Callable[..., relax.Expr], *operands: Any, **options: Any
    ) -> np.ndarray | relax.Var:
        """Emit `operator(*operands, **options)`, numpy arrays among the operands become constants."""
        return self.emit(operator(*(self.expression(operand) for operand in operands), **options))

    def parameters_of(self, value: Value) -> list[str]:
        """The names of the model's inputs that a value is computed from, in alphabetical order."""
        seen: set[relax.Var] = set()
        waiting = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, relax.Var)]
        while waiting:
            variable = waiting.pop()
            if variable in seen:
                continue
            seen.add(variable)
            if variable in self._definitions:
                waiting.extend(relax.analysis.free_vars(self._definitions[variable]))
        return sorted(v.name for v in seen if not isinstance(v, relax.DataflowVar))

    def expression(self, operand: Any) -> Any:
        """The Relax expression of a numpy array; anything else unchanged."""
        if isinstance(operand, np.generic):
            operand = np.asarray(operand)
        if not isinstance(operand, np.ndarray):
            return operand
        operand = carried(operand)
        known = self._constants.get(id(operand))
        if known is None:
            if operand.dtype.kind in "OUS":
                raise ConversionError("works on strings, which no compiled model can hold")
            dtype = self._float_type_for(str(operand.dtype))
            values = np.ascontiguousarray(operand, dtype).reshape(operand.shape)
            known = operand, relax.const(values, dtype)
            self._constants[id(operand)] = known
            if operand.dtype.kind == "f" and operand.size and np.isneginf(operand.min()):
                self._infinite.add(known[1])
        return known[1]

    def _float_type_for(self, dtype: str) -> str:
        return self.float_type if dtype == "float32" else dtype

    def reshape(self, value: Value, shape: Sequence[int]) -> np.ndarray | relax.Var:
        """`value` in another shape (at most one -1); nothing is emitted where the shape stays the same."""
        target = resolve_shape(shape_of(value), shape)
        if isinstance(value, np.ndarray):
            return value.reshape(target)
        value = self._moved_from(value, "relax.reshape")
        if shape_of(value) == target:
            return value
        return self.call(relax.op.reshape, value, target)

    def transpose(self, value: Value, axes: Sequence[int]) -> np.ndarray | relax.Var:
        """`value` with its axes permuted; nothing is emitted for the identity."""
        if isinstance(value, np.ndarray):
            return value.transpose(axes)
        source = self._moved_from(value, "relax.permute_dims")
        if source is not value:  # two transposes are one
            first = [int(axis) for axis in self._definitions[value].attrs.axes]
            value, axes = source, [first[axis] for axis in axes]
        if list(axes) == list(range(len(axes))):
            return value
        return self.call(relax.op.permute_dims, value, list(axes))

    def _moved_from(self, value: Value, operation: str) -> Any:
        """What `value` was before the named move, or `value` itself where it is no such move."""
        definition = self._definitions.get(value) if isinstance(value, relax.Var) else None
        if definition is not None and getattr(definition.op, "name", None) == operation:
            return definition.args[0]
        return value

    def broadcast(self, value: Value, shape: Sequence[int]) -> np.ndarray | relax.Var:
        """`value` repeated to `shape`, which it must be broadcastable to."""
        if isinstance(value, np.ndarray):
            return np.broadcast_to(value, shape)
        if shape_of(value) == tuple(shape):
            return value
        return self.call(relax.op.broadcast_to, value, tuple(shape))

    def cast(self, value: Value, dtype: str) -> np.ndarray | relax.Var:
        """`value` with another element type, converted as numpy converts."""
        dtype = self._float_type_for(dtype)
        if isinstance(value, np.ndarray):
            return value.astype(dtype)
        if dtype_of(value) == dtype:
            return value
        return self.call(relax.op.astype, value, dtype)

    def slice(self, value: Value, axis: int, begin: int, end: int) -> np.ndarray | relax.Var:
        """Elements begin to end - 1 of one axis."""
        if isinstance(value, np.ndarray):
            key = (id(value), axis, begin, end)
            if key not in self._slices:  # one constant for all time steps of a recurrent layer
                self._slices[key] = (value, np.take(value, range(begin, end), axis=axis))
            return self._slices[key][1]
        if (begin, end) == (0, shape_of(value)[axis]):
            return value
        if begin == end:
            return np.zeros([0 if i == axis else n for i, n in enumerate(shape_of(value))], dtype_of(value))
        return self.call(relax.op.strided_slice, value, [axis], [begin], [end], [1])

    def concat(self, values: Sequence[Value], axis: int) -> np.ndarray | relax.Var:
        """The values joined along `axis`; empty ones are left out."""
        filled = [value for value in values if 0 not in shape_of(value)] or list(values)[:1]
        if len(filled) == 1 and not isinstance(filled[0], list):
            return filled[0]
        if all(isinstance(value, np.ndarray) for value in filled):
            return np.concatenate(filled, axis=axis)
        return self.emit(relax.op.concat([self.expression(value) for value in filled], axis=axis))

    def take(self, value: Value, indices: Value, axis: int) -> np.ndarray | relax.Var:
        """Slices of `axis` chosen by `indices`, where negative indices count from the end."""
        if isinstance(indices, np.ndarray):
            if isinstance(value, np.ndarray):
                return np.take(value, indices, axis=axis)
            indices = np.where(indices < 0, indices + shape_of(value)[axis], indices)
        return self.call(relax.op.take, value, indices, axis, mode="wrap")


def _operands(expression: relax.Expr) -> list[relax.Expr]:
    if not isinstance(expression, relax.Call):
        return []
    tuples = [operand.fields for operand in expression.args if isinstance(operand, relax.Tuple)]
    return [*expression.args, *(field for fields in tuples for field in fields)]


def shape_of(value: Value) -> tuple[int, ...]:
    """The static shape of a tensor."""
    if isinstance(value, list):
        raise ConversionError("a sequence stands where a tensor must be")
    if isinstance(value, np.ndarray):
        return value.shape
    return tuple(int(size) for size in value.ty.shape)


def dtype_of(value: Value) -> str:
    """The element type of a tensor, such as "float32"."""
    if isinstance(value, list):
        raise ConversionError("a sequence stands where a tensor must be")
    return str(value.dtype) if isinstance(value, np.ndarray) else str(value.ty.dtype)


def is_float(value: Value) -> bool:
    """Whether a tensor holds floating point numbers."""
    return dtype_of(value).startswith("float")


def resolve_shape(old: Sequence[int], new: Sequence[int]) -> tuple[int, ...]:
    """`new` with its -1, if any, replaced by what keeps the number of elements of `old`."""
    target = [int(size) for size in new]
    if -1 in target:
        known = int(np.prod([size for size in target if size != -1]))
        target[target.index(-1)] = int(np.prod(old)) // known if known else 0
    if int(np.prod(target)) != int(np.prod(old)) or -1 in target:
        raise ConversionError(f"cannot reshape {tuple(old)} to {tuple(new)}")
    return tuple(target)


def _check_static(type_: Any) -> None:
    if isinstance(type_, relax.TupleType):
        for field in type_.fields:
            _check_static(field)
    elif not (
        isinstance(type_, relax.TensorType)
        and isinstance(type_.shape, relax.ShapeExpr)
        and all(isinstance(size, tirx.IntImm) for size in type_.shape.values)
    ):
        raise ConversionError(
            "the shape of its result depends on the data, which a static compiler cannot run"
        )
