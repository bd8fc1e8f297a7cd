"""What a name of the ONNX graph stands for during import, and the node that a converter receives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper
from tvm import relax

Value: TypeAlias = np.ndarray | relax.Var | list[Any]
"""A constant, a tensor computed at run time, or a sequence of such (ONNX sequences exist during import only).
"""


class ConversionError(Exception):
    """A converter cannot express a node; the message says why, without the node's name."""


class ConstantNeededError(ConversionError):
    """A converter needs a value while compiling that is only computed at run time."""

    def __init__(self, message: str, value: Value) -> None:
        super().__init__(message)
        self.value = value


@dataclass(frozen=True)
class Node:
    """One ONNX node with its inputs resolved."""

    proto: onnx.NodeProto
    """The node as it stands in the model, for function bodies and for TVM's converters."""
    layer: str
    """Name of the model's own node that this one belongs to (nodes of a function's body belong to the
    caller).
    """
    opset: int
    """Version of the operator set that defines the operator."""
    inputs: tuple[Value | None, ...]
    attributes: Mapping[str, Any]
    """Attribute values; text is decoded and tensors are numpy arrays."""

    @property
    def operator(self) -> str:
        """The operator's name, without its domain."""
        return self.proto.op_type

    @property
    def domain(self) -> str:
        """The operator's domain; empty for the standard's own."""
        return "" if self.proto.domain == "ai.onnx" else self.proto.domain

    @property
    def outputs(self) -> int:
        """How many outputs the node writes, trailing unnamed ones not counted."""
        return max((i + 1 for i, name in enumerate(self.proto.output) if name), default=0)

    def wants(self, index: int) -> bool:
        """Whether output `index` has a name."""
        return index < len(self.proto.output) and bool(self.proto.output[index])

    def input(self, index: int) -> Value | None:
        """Input `index`, or None where the node leaves it out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def tensor(self, index: int) -> np.ndarray | relax.Var:
        """Input `index`, which must be a tensor."""
        value = self.input(index)
        if value is None or isinstance(value, list):
            raise ConversionError(f"input {index} must be a tensor")
        return value

    def constant(self, index: int) -> np.ndarray | None:
        """Input `index` as a constant, None where left out; refuses what is only known at run time."""
        value = self.input(index)
        if value is not None and not isinstance(value, np.ndarray):
            raise ConstantNeededError(
                f"input {index} ('{self.proto.input[index]}') must be known at compile time", value
            )
        return value

    def integers(self, index: int, attribute: str) -> list[int] | None:
        """A list that newer operator sets give as input `index` and older ones as an attribute."""
        constant = self.constant(index)
        if constant is not None:
            return [int(i) for i in constant.reshape(-1)]
        given = self.attributes.get(attribute)
        return None if given is None else [int(i) for i in given]


def attributes_of(proto: onnx.NodeProto) -> dict[str, Any]:
    """The node's attributes as Python values."""
    return {attribute.name: _attribute_value(attribute) for attribute in proto.attribute}


def _attribute_value(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if attribute.type == onnx.AttributeProto.STRING:
        return value.decode("utf-8", errors="replace")
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [text.decode("utf-8", errors="replace") for text in value]
    if attribute.type == onnx.AttributeProto.TENSOR:
        return onnx.numpy_helper.to_array(value)
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return list(value)
    return value
