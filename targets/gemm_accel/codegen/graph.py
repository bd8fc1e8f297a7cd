"""A region's function as a list of nodes on views: moves are resolved here and leave no trace.

Where a move is no view, its source is copied to a dense buffer first; a copy whose source has no other
reader is later avoided by letting the producer write to the copy's place (`forwarding`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tvm import ir, relax

from nmc.errors import UnsupportedOperatorError
from nmc.pwl.quantised_table import QuantisedTable
from passes.matrix_form.elementwise import ADD, HADAMARD
from passes.matrix_form.gemm import GEMM
from passes.matrix_form.im2col import IM2COL, window_of
from passes.matrix_form.pwl import PWL, table_of
from passes.rewrite import bindings_of, constant_value, dtype_of, layer_of, shape_of
from targets.gemm_accel.codegen import moves
from targets.gemm_accel.codegen.buffers import BYTES, Buffer, Place
from targets.gemm_accel.codegen.elementwise_order import in_common_order
from targets.gemm_accel.codegen.nodes import (
    ColumnScale,
    Copy,
    Elementwise,
    Gather,
    Gemm,
    Node,
    Operation,
)
from targets.gemm_accel.codegen.products import Windowed, depthwise_of, reads_columns, rows_in_memory_order
from targets.gemm_accel.codegen.views import (
    Factor,
    View,
    axis_extent,
    constant_view,
    dense_view,
    merged,
    numpy_value,
    permuted,
    reshaped,
    sliced,
)
from targets.gemm_accel.codegen.windows import windowed

Value = View | tuple[View, ...]


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can run; `inputs` and `outputs` are dense, in C order of their
    shapes."""

    nodes: tuple[Node, ...]
    inputs: tuple[View, ...]
    outputs: tuple[View, ...]


def graph_of(function: relax.Function, module: ir.IRModule | None, patch_bytes: int) -> Graph:
    """The nodes of a region; `module` holds the composites that the function calls by global name, if any. A
    window that is larger than `patch_bytes` is summed by gemms, though it be depthwise.

    Raises UnsupportedOperatorError, naming the layer, for an operator that is none of matrix form.
    """
    builder = _Builder(module, patch_bytes)
    inputs = tuple(builder.add_input(parameter) for parameter in function.params)
    for binding in bindings_of(function):
        builder.add_binding(binding)
    result = builder.value(function.body.body)
    results = result if isinstance(result, tuple) else (result,)
    outputs = tuple(builder.add_output(index, view) for index, view in enumerate(results))
    return Graph(tuple(builder.nodes), inputs, outputs)


@dataclass
class _Builder:
    """Collects nodes while the bindings of a function are visited; `layer` is that of the current binding."""

    module: ir.IRModule | None
    patch_bytes: int
    nodes: list[Node] = field(default_factory=list)
    layer: str = ""
    _values: dict[relax.Var, Value] = field(default_factory=dict)
    _composites: dict[relax.Var, relax.Function] = field(default_factory=dict)
    _windowed: dict[relax.Var, Windowed] = field(default_factory=dict)

    def add_input(self, parameter: relax.Var) -> View:
        """A buffer for a parameter."""
        self.layer = layer_of(parameter)
        shape, dtype = shape_of(parameter), dtype_of(parameter)
        if dtype not in BYTES:
            raise self._unsupported(f"input '{parameter.name}' has element type {dtype}")
        view = dense_view(Buffer(str(parameter.name), int(np.prod(shape)), dtype, Place.INPUT), shape)
        self._values[parameter] = view
        return view

    def add_output(self, index: int, view: View) -> View:
        """The view copied to an output buffer in C order."""
        buffer = Buffer(f"output{index}", view.size, view.buffer.dtype, Place.OUTPUT)
        self._copy(view, dense_view(buffer, (view.size,)))
        return dense_view(buffer, view.shape)

    def add_binding(self, binding: relax.VarBinding) -> None:
        """Adds the nodes of a binding; a bound function becomes known by its variable."""
        if isinstance(binding.value, relax.Function):
            self._composites[binding.var] = binding.value
            return
        self.layer = layer_of(binding.var)
        if isinstance(binding.value, relax.Call):
            self._values[binding.var] = self._call(binding.var, binding.value)
        else:
            self._values[binding.var] = self.value(binding.value)

    def value(self, expr: relax.Expr) -> Value:
        """The view, or the tuple of views, that an argument stands for."""
        if isinstance(expr, relax.Var):
            return self._values[expr]
        if isinstance(expr, relax.Tuple):
            return tuple(self._view(item) for item in expr.fields)
        if isinstance(expr, relax.TupleGetItem):
            views = self.value(expr.tuple_value)
            assert isinstance(views, tuple)
            return views[expr.index]
        constant = constant_value(expr)
        if constant is None:
            raise self._unsupported(f"an argument is {type(expr).__name__}, neither a tensor nor a constant")
        return constant_view(constant, self.layer)

    def _view(self, expr: relax.Expr) -> View:
        view = self.value(expr)
        assert isinstance(view, View), "a tuple where a tensor is expected"
        return view

    def _unsupported(self, what: str) -> UnsupportedOperatorError:
        return UnsupportedOperatorError(f"layer '{self.layer}': {what}; the accelerator cannot run it")

    def _call(self, variable: relax.Var, call: relax.Call) -> Value:
        function = self._callee(call)
        if function is not None:
            return self._composite(variable, call, function)
        name = str(call.op.name) if isinstance(call.op, ir.Op) else str(call.op)
        if name == "relax.concat":
            return self._concatenate(call)
        if name == "relax.split":
            return self._split(call)
        if name == "relax.take":
            return self._take(call)
        if name not in moves.RULES:
            raise self._unsupported(f"operator {name} is not part of matrix form")
        return self._move(call, moves.RULES[name])

    def _callee(self, call: relax.Call) -> relax.Function | None:
        if isinstance(call.op, relax.Function):
            return call.op
        if isinstance(call.op, ir.GlobalVar):
            if self.module is None:
                raise self._unsupported(f"function '{call.op.name_hint}' is in no module that was given")
            return self.module[call.op]
        return self._composites[call.op] if isinstance(call.op, relax.Var) else None

    def _composite(self, variable: relax.Var, call: relax.Call, function: relax.Function) -> View:
        attributes = dict(function.attrs.items())
        name = str(attributes.get("Composite", ""))
        if name == GEMM:
            return self._gemm(call)
        if name in (HADAMARD, ADD):
            scale = [int(v) for v in self._numbers(call.args[2])]
            operands = [self._view(argument) for argument in call.args[:2]]
            return self._elementwise(call, name.rpartition(".")[2], operands, scale[:-1], scale[-1])
        if name == PWL:
            table = table_of(call, str(attributes["addressing"]), dtype_of(call))
            return self._elementwise(call, "pwl", [self._view(call.args[0])], [], 0, table)
        if name == IM2COL:
            return self._im2col(variable, call, attributes)
        raise self._unsupported(f"composite function '{name}' is not known")

    def _numbers(self, expr: relax.Expr) -> np.ndarray:
        """The value of an argument that must be constant, though moves may lie between."""
        view = self._view(expr)
        if view.buffer.value is None:
            raise self._unsupported("a bias, multiplier or shift is computed at run time")
        return numpy_value(view)

    def _add(self, operation: Operation, size: int, dtype: str) -> Buffer:
        """Adds a node with a dense buffer of its own."""
        buffer = Buffer(self.layer, size, dtype, Place.INTERMEDIATE)
        self.nodes.append(Node(self.layer, operation, dense_view(buffer, (size,)), dtype))
        return buffer

    def _copy(self, source: View, destination: View) -> None:
        """Adds a copy to a flat destination; both walk the C order of the source's shape."""
        flat = reshaped(source, (source.size,))
        assert flat is not None, "an axis always holds all factors of a view"
        if source.size:
            self.nodes.append(Node(self.layer, Copy(flat), destination, source.buffer.dtype))

    def _dense(self, view: View) -> View:
        """The view's elements in a buffer of their own, in C order; constants are laid out at once."""
        if view.buffer.value is not None:
            return constant_view(numpy_value(view), view.buffer.name)
        buffer = Buffer(self.layer, view.size, view.buffer.dtype, Place.INTERMEDIATE)
        self._copy(view, dense_view(buffer, (view.size,)))
        return dense_view(buffer, view.shape)

    def _move(self, call: relax.Call, rule: moves.MoveRule) -> View:
        view = self._view(call.args[0])
        result = rule(call, view)
        if result is None:
            result = rule(call, self._dense(view))
        if result is None:
            raise self._unsupported(f"{call.op.name} with attributes {call.attrs}")
        return result

    def _concatenate(self, call: relax.Call) -> View:
        parts = self.value(call.args[0])
        assert isinstance(parts, tuple)
        shape = shape_of(call)
        axis = int(call.attrs.axis or 0) % len(shape)
        if len(parts) == 1:
            return parts[0]
        if all(part.buffer.value is not None for part in parts):
            return constant_view(np.concatenate([numpy_value(part) for part in parts], axis), self.layer)
        result = self._result_like(parts, shape, axis)
        begin = 0
        for part in parts:
            extent = part.shape[axis]
            piece = sliced(result, axis, begin, extent) if extent else None
            if piece is not None:
                flat = reshaped(piece, (piece.size,))
                assert flat is not None
                self._copy(part, flat)
            begin += extent
        return result

    def _result_like(self, parts: Sequence[View], shape: Sequence[int], axis: int) -> View:
        """A buffer for a concatenation: its axes lie in memory in the order of the largest part's."""
        model = max(parts, key=lambda part: part.size)
        nearest = [min((abs(f.strides[0]) for f in part_axis), default=0) for part_axis in model.axes]
        order = sorted(range(len(shape)), key=lambda index: nearest[index], reverse=True)
        if not model.is_plain or any(f.repeats for f in model.factors):
            order = list(range(len(shape)))
        buffer = Buffer(self.layer, int(np.prod(shape)), model.buffer.dtype, Place.INTERMEDIATE)
        dense = dense_view(buffer, [shape[index] for index in order])
        return permuted(dense, [order.index(index) for index in range(len(shape))])

    def _split(self, call: relax.Call) -> tuple[View, ...]:
        view = self._view(call.args[0])
        parts = moves.split_parts(call, view)
        if any(part is None for part in parts):
            parts = moves.split_parts(call, self._dense(view))
        return tuple(part for part in parts if part is not None)

    def _take(self, call: relax.Call) -> View:
        view, index = self._view(call.args[0]), self._view(call.args[1])
        if call.attrs.axis is None:
            flat = reshaped(view, (view.size,))
            assert flat is not None
            view, axis = flat, 0
        else:
            axis = int(call.attrs.axis) % len(view.axes)
        index_shape = index.shape
        if index.buffer.value is not None:
            numbers = numpy_value(index).astype(np.int64)
            numbers = np.where(numbers < 0, numbers + view.shape[axis], numbers)
            if view.buffer.value is not None:
                return constant_view(np.take(numpy_value(view), numbers, axis), self.layer)
            progression = _as_slice(view, axis, numbers.ravel())
            if progression is not None:
                shape = (*view.shape[:axis], *index_shape, *view.shape[axis + 1 :])
                result = reshaped(progression, shape)
                if result is not None:
                    return result
            index = constant_view(numbers.astype(np.int32), self.layer)
        elif index.buffer.dtype != "int32":
            raise self._unsupported(f"take by an index of type {index.buffer.dtype}, not int32")
        return self._gather(view, axis, index, index_shape)

    def _gather(self, view: View, axis: int, index: View, index_shape: tuple[int, ...]) -> View:
        rank = len(view.axes)
        rest = [other for other in range(rank) if other != axis]
        table = permuted(view, [axis, *rest])
        if not table.is_plain or len(merged(table.axes[0])) > 1:
            table = self._dense(table)
        flat_index = reshaped(index, (index.size,))
        assert flat_index is not None
        if not _is_dense(flat_index):
            flat_index = self._dense(flat_index)
        buffer = self._add(
            Gather(table, flat_index), index.size * axis_extent(_flat_rest(table)), view.buffer.dtype
        )
        result = dense_view(buffer, (*index_shape, *table.shape[1:]))
        order = [len(index_shape) + rest.index(a) for a in range(axis)]
        order += [
            *range(len(index_shape)),
            *(len(index_shape) + rest.index(a) for a in range(axis + 1, rank)),
        ]
        return permuted(result, order)

    def _im2col(self, variable: relax.Var, call: relax.Call, attributes: Mapping[str, object]) -> View:
        window, fill = window_of(dict(attributes))
        view = self._view(call.args[0])
        result = windowed(view, window, int(fill))
        if result is None:
            view = self._dense(view)
            result = windowed(view, window, int(fill))
        assert result is not None, "a dense source has windows"
        self._windowed[variable] = Windowed(view, window, int(fill))
        return result

    def _gemm(self, call: relax.Call) -> View:
        a, b = self._view(call.args[0]), self._view(call.args[1])
        scale = ColumnScale(*(self._numbers(argument) for argument in call.args[2:5]))
        (groups, rows, _), columns = a.shape, b.shape[-1]
        dtype = dtype_of(call)
        windows = self._windowed.get(call.args[0])
        depthwise = None if windows is None else depthwise_of(windows, b, scale, self.patch_bytes)
        if depthwise is not None:
            buffer = self._add(depthwise, groups * rows, dtype)
        elif scale.is_uniform and a.buffer.dtype in ("int8", "int16") and reads_columns(a, b):
            # rows of A are scattered in memory, those of its transpose are not; (Bᵀ·Aᵀ)ᵀ is the product too
            turned = Gemm(permuted(b, (0, 2, 1)), permuted(a, (0, 2, 1)), scale.spread(1, rows))
            buffer = self._add(turned, groups * rows * columns, dtype)
            return permuted(dense_view(buffer, (columns, groups, rows)), (1, 2, 0))
        else:
            a, row_axis = rows_in_memory_order(a, groups * columns)
            buffer = self._add(Gemm(a, b, scale), groups * rows * columns, dtype)
            _, *others = dense_view(buffer, (rows, groups, columns)).axes
            return View(buffer, (0,), (others[0], row_axis, others[1]))
        return permuted(dense_view(buffer, (rows, groups, columns)), (1, 0, 2))

    def _elementwise(
        self,
        call: relax.Call,
        kind: str,
        operands: Sequence[View],
        multipliers: Sequence[int],
        shift: int,
        table: QuantisedTable | None = None,
    ) -> View:
        shape = shape_of(call)
        ordered = in_common_order(operands, shape)
        if ordered is None:
            ordered = in_common_order([self._dense(operand) for operand in operands], shape)
        assert ordered is not None, "dense operands always have a common order"
        flat, axes = ordered
        operation = Elementwise(kind, tuple(flat), tuple(multipliers), shift, table)
        buffer = self._add(operation, int(np.prod(shape)), dtype_of(call))
        return View(buffer, (0,), axes)


def _is_dense(view: View) -> bool:
    factors = merged(view.factors)
    return view.is_plain and (not factors or (len(factors) == 1 and factors[0].strides == (1,)))


def _flat_rest(table: View) -> tuple[Factor, ...]:
    return tuple(factor for axis in table.axes[1:] for factor in axis)


def _as_slice(view: View, axis: int, numbers: np.ndarray) -> View | None:
    """The rows as a slice, when they are evenly spaced."""
    if numbers.size == 0:
        return None
    steps = np.diff(numbers)
    if steps.size and (steps != steps[0]).any():
        return None
    step = int(steps[0]) if steps.size else 1
    return sliced(view, axis, int(numbers[0]), numbers.size, step) if step else None
