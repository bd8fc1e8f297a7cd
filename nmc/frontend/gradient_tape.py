"""What a Gradient node's expansion writes: nodes, constants, and the gradient of each tensor so far."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from nmc.errors import ModelError

AXES_AS_INPUT = 13
"""Since this operator set ReduceSum takes its axes as an input."""


class Tape:
    """Mutable, one for each Gradient node, whose name begins the names of all that is written."""

    def __init__(
        self,
        name: str,
        values: Mapping[str, onnx.TypeProto.Tensor],
        known: Mapping[str, onnx.TensorProto],
        opset: int,
    ) -> None:
        """`values` are the types of the graph's tensors, `known` those that are constant, `opset` its operator set."""
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.values = dict(values)
        self.active: set[str] = set()
        """The tensors that what is differentiated by has a part in."""
        self.opset = opset
        self._name, self._known, self._numbers = name, known, count()
        self._gradients: dict[str, str] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        """The static shape of a tensor of the graph."""
        return tuple(dimension.dim_value for dimension in self.values[name].shape.dim)

    def known(self, name: str) -> np.ndarray:
        """The value of a constant tensor; raises ModelError where a tensor is none."""
        if name not in self._known:
            raise ModelError(
                f"Gradient '{self._name}': '{name}' has to be a constant; give it as one with --bind"
            )
        return numpy_helper.to_array(self._known[name])

    def gradient(self, name: str) -> str | None:
        """The gradient of a tensor of the graph, as far as it is summed; None where there is none."""
        return self._gradients.get(name)

    def add(self, name: str, passed: str) -> None:
        """Adds what one of its readers passes back to a tensor's gradient."""
        known = self._gradients.get(name)
        self._gradients[name] = passed if known is None else self.emit("Add", known, passed)

    def emit(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Writes a node; returns the name of its result."""
        result = self._fresh()
        self.nodes.append(helper.make_node(operator, list(inputs), [result], self._name, **attributes))
        return result

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """The name of a constant."""
        name = self._fresh()
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def reshape(self, name: str, shape: Sequence[int]) -> str:
        """A written tensor in another shape."""
        return self.emit("Reshape", name, self.constant(shape, np.int64))

    def sum(self, name: str, axes: Sequence[int], keepdims: bool = True) -> str:
        """The sum of a written tensor along axes."""
        if self.opset >= AXES_AS_INPUT:
            return self.emit("ReduceSum", name, self.constant(axes, np.int64), keepdims=int(keepdims))
        return self.emit("ReduceSum", name, axes=list(axes), keepdims=int(keepdims))

    def summed_to(self, name: str, shape: Sequence[int], target: Sequence[int]) -> str:
        """A written tensor of a shape, summed along the axes along which `target` was repeated to that shape."""
        if tuple(shape) == tuple(target):
            return name
        padded = (1,) * (len(shape) - len(target)) + tuple(target)
        axes = [axis for axis, (now, then) in enumerate(zip(shape, padded, strict=True)) if now != then]
        return self.reshape(self.sum(name, axes) if axes else name, target)

    def evaluated_again(
        self, nodes: Sequence[onnx.NodeProto], y: str, named: Mapping[str, str]
    ) -> tuple[list[onnx.NodeProto], str]:
        """Writes nodes once more with other tensors in place of some; returns the new nodes and what became of y."""
        names = dict(named)
        for node in nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            renamed = [names.get(name, name) for name in node.input]
            del copy.input[:], copy.output[:]
            copy.input.extend(renamed)
            for name in node.output:
                names[name] = self._fresh() if name else ""
                copy.output.append(names[name])
                if name in self.values:
                    self.values[names[name]] = self.values[name]
            self.nodes.append(copy)
        return self.nodes[-len(nodes) :] if nodes else [], names.get(y, y)

    def _fresh(self) -> str:
        return f"{self._name}/{next(self._numbers)}"
