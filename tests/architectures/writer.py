"""A few lines over onnx.helper that write small networks with seeded weights, and the data that goes with them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

OPSET = 20
IR_VERSION = 9
SAMPLES, TEST_SAMPLES = 20, 2
"""Of all inputs' data the last samples are for testing; the others calibrate, enough of them to be representative."""


@dataclass(frozen=True)
class Architecture:
    """A model with seeded data: [samples, *input shape] by input name, to calibrate on and to test with."""

    model: onnx.ModelProto
    calibration: Mapping[str, np.ndarray]
    test: Mapping[str, np.ndarray]


class Writer:
    """Collects the nodes, constants and inputs of one network; names are counted, values are seeded."""

    def __init__(self, name: str, opset: int = OPSET) -> None:
        """Start an empty network; its name seeds its weights."""
        self._name, self._opset = name, opset
        self._generator = np.random.default_rng(list(name.encode()))
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: dict[str, np.ndarray] = {}

    def input(self, name: str, samples: npt.ArrayLike) -> str:
        """Add an input with its data [SAMPLES, *shape]."""
        self._inputs[name] = np.asarray(samples)
        return name

    def image(self, name: str, *shape: int) -> str:
        """Add a float input with standard normal data."""
        return self.input(name, self._generator.standard_normal((SAMPLES, *shape)).astype(np.float32))

    def integers(self, name: str, low: int, high: int, *shape: int) -> str:
        """Add an int64 input with uniform data from low to high - 1."""
        return self.input(name, self._generator.integers(low, high, (SAMPLES, *shape)))

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Add a constant, float32 unless told otherwise."""
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def shape(self, *extents: int) -> str:
        """Add an int64 vector."""
        return self.constant(extents, np.int64)

    def weight(self, *shape: int, inputs: int | None = None) -> str:
        """Add normal weights of variance 1 / inputs, the product of all extents but the first unless given."""
        deviation = 1 / math.sqrt(inputs or math.prod(shape[1:]))
        return self.constant(self._generator.normal(0, deviation, shape))

    def vector(self, size: int, mean: float = 0.0) -> str:
        """Add a vector around `mean`: a bias with 0, a factor with 1."""
        return self.constant(self._generator.normal(mean, 0.1, size))

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return its name; an empty name is an input left out."""
        return self.nodes(operator, 1, *inputs, **attributes)[0]

    def nodes(self, operator: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with several outputs and return their names."""
        name = f"{operator}_{len(self._nodes)}"
        names = [name, *(f"{name}.{index}" for index in range(1, outputs))]
        self._nodes.append(helper.make_node(operator, list(inputs), names, name=name, **attributes))
        return names

    def finish(self, *outputs: str) -> Architecture:
        """The model with these float outputs, and its data."""
        values = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape[1:])
            for name, array in self._inputs.items()
        ]
        results = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self._nodes, self._name, values, results, self._constants)
        opset = helper.make_opsetid("", self._opset)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        return Architecture(
            model,
            calibration={name: array[:-TEST_SAMPLES] for name, array in self._inputs.items()},
            test={name: array[-TEST_SAMPLES:] for name, array in self._inputs.items()},
        )
