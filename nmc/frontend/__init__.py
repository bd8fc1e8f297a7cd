"""The ONNX frontend: bytes on disk to a static-shaped float Relax module whose values equal onnxruntime's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import tvm
from onnx import helper
from tvm import relax

from nmc.errors import ModelError
from nmc.frontend.binds import bind_constants
from nmc.frontend.canonicalise import canonicalise, name_nodes
from nmc.frontend.gradient import expand_gradients
from nmc.frontend.graph_importer import GraphImporter
from nmc.frontend.load import load_model
from nmc.frontend.low_precision import CARRIERS, carried, carrier_of
from nmc.frontend.precision import float_type_for, unify_floats
from nmc.frontend.relax_module import build_module
from nmc.frontend.sequences import element_name
from nmc.frontend.shapes import pin_shapes, real_inputs
from nmc.frontend.values import Value

__all__ = ["ImportedModel", "SourceNode", "TensorSpec", "import_model"]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: its name in the ONNX model, its static shape, its element type in the module."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    index_limit: int | None = None
    """Of an input whose values are indices: the rows of the smallest table, -rows to rows - 1 being valid. The compiler
    finds it out (`nmc.index_limits`)."""
    is_mask: bool = False
    """Whether its values may be minus infinity, which integers stand for. The compiler finds it out (`nmc.masks`)."""


@dataclass(frozen=True)
class SourceNode:
    """One node of the imported graph, without its weights."""

    name: str
    domain: str
    operator: str


@dataclass(frozen=True)
class ImportedModel:
    """A model at level 1. The parameters of `module`'s function `main` are `inputs` in order; it returns
    `outputs`.
    """

    module: tvm.IRModule
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    nodes: tuple[SourceNode, ...]
    """What was imported, after shape pinning and simplification, in order."""
    source_hash: str
    """SHA-256 of the model file and its external data, in hexadecimal."""
    name: str

    @property
    def in_doubles(self) -> bool:
        """Whether the floats of the model are doubles, as numbers beyond float32 ask for."""
        return any(spec.dtype == "float64" for spec in (*self.inputs, *self.outputs))

    @property
    def operators(self) -> dict[str, str]:
        """The operator of each layer: of nodes that share a name the last, for reshapes go before what they are for."""
        return {node.name: node.operator for node in self.nodes}


def import_model(
    source: str | Path | onnx.ModelProto,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    binds: Mapping[str, np.ndarray] | None = None,
    data: Mapping[str, np.ndarray] | None = None,
) -> ImportedModel:
    """Read an ONNX model and import it into Relax.

    `shapes` pins the dynamic shapes of inputs, `binds` turns inputs into constants. float16, bfloat16 and
    double become float32; where `data` or `binds` give a double input a number beyond float32, all become
    double. Raises ModelError for a model that cannot be read or stays dynamic,
    UnsupportedOperatorError that names every node without a translation.
    """
    model, name, digest = load_model(source)
    name_nodes(model)
    float_type = float_type_for(model, {**(data or {}), **(binds or {})})
    bind_constants(model, binds or {})
    pin_shapes(model, shapes or {})
    unify_floats(model, float_type)
    expand_gradients(model)
    canonical = canonicalise(model, float_type)
    del model  # its weights would be in memory once more during the import
    inputs = tuple(_spec(value) for value in real_inputs(canonical.graph))
    parameters = {
        spec.name: relax.Var(spec.name, relax.TensorType(spec.shape, spec.dtype)) for spec in inputs
    }
    importer = GraphImporter(canonical, float_type)
    importer.emitter.low_precision.update(_low_precision(canonical.graph, parameters))
    names, results = _flat_outputs(canonical.graph, importer.run(parameters))
    module, returned = build_module(importer.emitter, list(parameters.values()), results)
    outputs = tuple(
        TensorSpec(output, shape, dtype) for output, (shape, dtype) in zip(names, returned, strict=True)
    )
    nodes = tuple(SourceNode(node.name, node.domain, node.op_type) for node in canonical.graph.node)
    return ImportedModel(module, inputs, outputs, nodes, digest, name)


def _flat_outputs(graph: onnx.GraphProto, results: Sequence[Value]) -> tuple[list[str], list[Value]]:
    """Names and values of the outputs, with each element of a sequence an output of its own."""
    flat: list[tuple[str, Value]] = []
    for output, value in zip(graph.output, results, strict=True):
        if isinstance(value, list):
            flat += [(element_name(output.name, index), item) for index, item in enumerate(value)]
        else:
            flat.append((output.name, value))
    if not flat:
        raise ModelError("every output is an empty sequence; there is nothing to compute")
    return [name for name, _ in flat], [
        carried(value) if isinstance(value, np.ndarray) else value for _, value in flat
    ]


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor_type = value.type.tensor_type
    shape = tuple(dimension.dim_value for dimension in tensor_type.shape.dim)
    return TensorSpec(value.name, shape, carrier_of(_element_type(value)))


def _element_type(value: onnx.ValueInfoProto) -> str:
    return str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _low_precision(graph: onnx.GraphProto, parameters: Mapping[str, relax.Var]) -> dict[relax.Var, str]:
    """The low-precision types of the inputs that have one."""
    kinds = {value.name: _element_type(value) for value in real_inputs(graph)}
    return {variable: kinds[name] for name, variable in parameters.items() if kinds[name] in CARRIERS}
