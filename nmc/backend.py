"""nmc as a backend of the ONNX project's own interface, so that the standard's test-suite runs on it unmodified.

from onnx.backend.test import BackendTest
from nmc.backend import AcceleratorBackend

suite = BackendTest(AcceleratorBackend, __name__)
"""

import warnings
from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep

from nmc.compiler import Compilation, compile_model
from nmc.errors import ModelError, UnsupportedOperatorError
from nmc.executable import Executable
from nmc.frontend.low_precision import carried
from nmc.frontend.precision import FLOATS, beyond_float32
from nmc.frontend.sequences import element_name, elements, flatten_inputs
from nmc.frontend.shapes import real_inputs
from nmc.options import Options
from nmc.packaging import package_of


class Prepared(BackendRep):
    """A model that is compiled when it is first run: only then are the values known that a static compiler needs."""

    def __init__(self, model: onnx.ModelProto, options: Mapping[str, Any]) -> None:
        """`options` are those of `nmc.options.Options` without shapes, constants and calibration data."""
        self._model = model
        self._options = options
        self.names = tuple(value.name for value in real_inputs(model.graph))
        """The names of the inputs in the order in which `run` takes them."""
        self._flat = model
        self._bound: dict[str, np.ndarray] = {}
        self._executable: Executable | None = None
        self.compilation: Compilation | None = None
        """What the first run compiled."""

    @property
    def bound(self) -> tuple[str, ...]:
        """The inputs that became constants of the compiled model, in alphabetical order."""
        return tuple(sorted(self._bound))

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Runs on one array an input, in the order of the graph's inputs; returns the outputs in order.

        Raises NmcError for what cannot be compiled, and ModelError when an input that had to become a constant changes
        from one run to the next.
        """
        values = dict(zip(self.names, inputs, strict=False))
        given = {
            name: _held(array)
            for declared in real_inputs(self._model.graph)
            for name, array in elements(declared, values.get(declared.name)).items()
        }
        if self._executable is None:
            self._flat = flatten_inputs(self._model, values)
            self._executable = self._compile(given)
        for name, value in self._bound.items():
            if name not in given or not np.array_equal(value, given[name]):
                raise ModelError(f"input '{name}' is a constant of the compiled model and cannot change")
        free = {name: value for name, value in given.items() if name not in self._bound}
        for tensor in self._executable.inputs:
            if tensor.dtype == "float32" and beyond_float32(free[tensor.name]):
                raise ModelError(
                    f"input '{tensor.name}' holds numbers beyond float32, for which it was compiled"
                )
        results = self._executable.run(free)
        return tuple(_declared(results, output) for output in self._model.graph.output)

    def _compile(self, given: Mapping[str, np.ndarray]) -> Executable:
        """Compiles for these inputs' shapes and ranges; only what a compile asks for becomes a constant."""
        self._bound = {name: value for name, value in given.items() if value.size == 0}
        while True:
            try:
                self.compilation = compile_model(self._flat, self._options_for(given))
            except UnsupportedOperatorError as error:
                wanted = [name for name in error.inputs_to_bind if name not in self._bound]
                if not wanted:
                    raise
                self._bound |= {name: given[name] for name in wanted}
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return Executable(package_of(self.compilation))

    def _options_for(self, given: Mapping[str, np.ndarray]) -> Options:
        free = {name: value for name, value in given.items() if name not in self._bound}
        return Options(
            **self._options,
            shapes={name: value.shape for name, value in free.items()},
            binds=self._bound,
            calibration={name: value[np.newaxis] for name, value in free.items()},
        )


class CpuBackend(Backend):
    """The float model (level 1) on the CPU."""

    options: Mapping[str, Any] = {"target": "cpu", "level": 1}

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        """A model ready to run; keyword arguments are compile options, such as `bits`."""
        chosen = {name: value for name, value in kwargs.items() if name in Options.__dataclass_fields__}
        return Prepared(model, {**cls.options, **chosen})

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Runs one node on arrays, one for each input that the node names."""
        arrays = [np.asarray(value) for value in inputs]
        named = [name for name in node.input if name]
        kinds = outputs_info or [(arrays[0].dtype, ())] * len(node.output)
        graph = helper.make_graph(
            [node],
            node.op_type,
            [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
                for name, array in zip(named, arrays, strict=True)
            ],
            [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)
                for name, (kind, shape) in zip(node.output, kinds, strict=True)
            ],
        )
        version = kwargs.pop("opset_version", onnx.defs.onnx_opset_version())
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
        return cls.prepare(model, device, **kwargs).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Only the CPU: the accelerator is simulated on it."""
        return device.split(":")[0] == "CPU"


class AcceleratorBackend(CpuBackend):
    """The command stream (level 4) on the accelerator's simulator; an operator left to the CPU is an error."""

    options: Mapping[str, Any] = {"target": "gemm-accel", "require_full_offload": True}


def _held(value: np.ndarray) -> np.ndarray:
    """Any type of float as float32, or as double where it holds numbers beyond that, and integers of few bits as bytes."""
    if helper.np_dtype_to_tensor_dtype(value.dtype) not in FLOATS or beyond_float32(value):
        return carried(value)
    return value.astype(np.float32)


def _declared(results: Mapping[str, np.ndarray], output: onnx.ValueInfoProto) -> Any:
    """An output in the element type that the model declares, which is float32 wherever it is any float to nmc.

    A sequence is the list of its elements.
    """
    kind = output.type
    if kind.HasField("optional_type"):
        kind = kind.optional_type.elem_type
    if kind.HasField("sequence_type"):
        element = kind.sequence_type.elem_type.tensor_type.elem_type
        names = takewhile(results.__contains__, (element_name(output.name, index) for index in count()))
        return [_of_type(results[name], element) for name in names]
    return _of_type(results[output.name], kind.tensor_type.elem_type)


def _of_type(value: np.ndarray, element: int) -> np.ndarray:
    return value.astype(helper.tensor_dtype_to_np_dtype(element)) if element else value
