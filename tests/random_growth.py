"""A random model while it is built: what its values are, and what is drawn for its next node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx


@dataclass
class Growth:
    """A model that is being built: the nodes so far, and the value of every name."""

    generator: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)

    def pick(self, *choices: Any) -> Any:
        """One of the choices."""
        return choices[self.generator.integers(len(choices))]

    def chance(self) -> bool:
        """True or false, equally often."""
        return bool(self.generator.integers(2))

    def value(self, least_rank: int = 0, most_rank: int = 4) -> str | None:
        """The name of a value of such a rank, or None where there is none."""
        names = [n for n, v in self.values.items() if least_rank <= v.ndim <= most_rank]
        return str(self.pick(*names)) if names else None

    def constant(self, array: np.ndarray) -> str:
        """The name of a new constant."""
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def weights(self, *shape: int) -> str:
        """The name of new random weights, of a size that keeps products ordinary."""
        deep = float(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        return self.constant((self.generator.standard_normal(shape) / np.sqrt(deep)).astype(np.float32))

    def integers(self, *numbers: int) -> str:
        """The name of a constant of int64."""
        return self.constant(np.array(numbers, np.int64))

    def axis(self, name: str) -> int:
        """An axis of a value, perhaps counted from the end, which the standard allows since operator set 11."""
        rank = self.values[name].ndim
        return int(self.generator.integers(-rank if self.opset >= 11 else 0, rank))

    def add(self, node: onnx.NodeProto, value: np.ndarray) -> None:
        """Adds a node with the value of its first output."""
        self.nodes.append(node)
        self.values[node.output[0]] = value


Proposal = tuple[str, Sequence[str], Mapping[str, object]] | None
"""Operator, inputs and attributes of a node; None where no value fits."""
