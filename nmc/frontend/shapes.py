"""Pin every input of a model to a static shape, or say which `--shape` is missing."""

from collections.abc import Mapping, Sequence

import onnx

from nmc.errors import ModelError

ELEMENT_TYPES = (
    "FLOAT",
    "FLOAT16",
    "BFLOAT16",
    "DOUBLE",
    "BOOL",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "FLOAT8E4M3FN",
    "FLOAT8E4M3FNUZ",
    "FLOAT8E5M2",
    "FLOAT8E5M2FNUZ",
    "FLOAT8E8M0",
    "FLOAT4E2M1",
    "INT4",
    "UINT4",
    "INT2",
    "UINT2",
)
"""What the inputs of a model can hold."""


def real_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller must give: those without a default value among the initializers."""
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {tensor.values.name for tensor in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in constants]


def pin_shapes(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give every input the static shape that it or `shapes` says, in place.

    A named dimension that is pinned in one input is pinned in all. Raises one ModelError that lists every
    problem: unknown input names, wrong ranks, contradictions, and dimensions that stay dynamic.
    """
    inputs = [_copy(value) for value in real_inputs(model.graph)]
    names = {value.name for value in inputs}
    problems = [
        f"--shape names '{name}', but the model's inputs are: {', '.join(sorted(names)) or 'none'}"
        for name in shapes
        if name not in names
    ]
    symbols: dict[str, int] = {}
    for value in inputs:
        if value.name in shapes:
            problems += _pin(value, [int(size) for size in shapes[value.name]], symbols)
    for value in inputs:
        problems += _substitute(value, symbols) or _still_dynamic(value)
    if problems:
        raise ModelError("; ".join(problems))
    for value in model.graph.output:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in symbols:
                dimension.dim_value = symbols[dimension.dim_param]
    del model.graph.value_info[:]  # written for the symbols that no longer exist
    del model.graph.input[:]  # initializers listed as inputs would keep onnxruntime from folding them
    model.graph.input.extend(inputs)


def _copy(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    copied = onnx.ValueInfoProto()
    copied.CopyFrom(value)
    return copied


def _pin(value: onnx.ValueInfoProto, shape: list[int], symbols: dict[str, int]) -> list[str]:
    """Write `shape` into one input and record what it says of named dimensions; returns the problems."""
    if value.type.WhichOneof("value") != "tensor_type":
        return []  # refused by what it is, not by its shape
    given = f"--shape {value.name}={','.join(map(str, shape))}"
    if any(size < 1 for size in shape):
        return [f"{given}: every dimension must be at least 1"]
    tensor_type = value.type.tensor_type
    if not tensor_type.HasField("shape"):
        tensor_type.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in shape)
        tensor_type.shape.SetInParent()
    dimensions = tensor_type.shape.dim
    if len(dimensions) != len(shape):
        return [
            f"{given}: has {len(shape)} dimensions, but the input has {len(dimensions)} ({_describe(value)})"
        ]
    problems = []
    for axis, (dimension, size) in enumerate(zip(dimensions, shape, strict=True)):
        if dimension.dim_value not in (0, size):  # 0 is how some exporters write an unknown size
            problems.append(f"{given}: dimension {axis} is fixed to {dimension.dim_value} in the model")
        elif dimension.dim_param and symbols.setdefault(dimension.dim_param, size) != size:
            known = symbols[dimension.dim_param]
            problems.append(
                f"{given}: dimension {axis} is '{dimension.dim_param}', already pinned to {known}"
            )
        else:
            dimension.dim_value = size
    return problems


def _substitute(value: onnx.ValueInfoProto, symbols: Mapping[str, int]) -> list[str]:
    if value.type.WhichOneof("value") != "tensor_type":
        kind = (value.type.WhichOneof("value") or "untyped").removesuffix("_type")
        return [f"input '{value.name}' is a {kind} value; only tensors can be inputs of a compiled model"]
    element = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    if element not in ELEMENT_TYPES:
        return [
            f"input '{value.name}' holds {element} values; a compiled model takes real numbers and truth values"
        ]
    for dimension in value.type.tensor_type.shape.dim:
        if dimension.dim_param in symbols:
            dimension.dim_value = symbols[dimension.dim_param]
    return []


def _still_dynamic(value: onnx.ValueInfoProto) -> list[str]:
    tensor_type = value.type.tensor_type
    if not tensor_type.HasField("shape"):
        return [f"input '{value.name}' has no shape in the model: give --shape {value.name}=N,..."]
    dynamic = [
        f"{axis} ('{dimension.dim_param}')" if dimension.dim_param else str(axis)
        for axis, dimension in enumerate(tensor_type.shape.dim)
        if not dimension.HasField("dim_value") or dimension.dim_value < 1
    ]
    if not dynamic:
        return []
    return [
        f"input '{value.name}' has dynamic dimension{'s' if len(dynamic) > 1 else ''} {', '.join(dynamic)}: "
        f"give --shape {value.name}={_describe(value)}"
    ]


def _describe(value: onnx.ValueInfoProto) -> str:
    """A shape as `--shape` takes it, with the names of the open dimensions in capitals."""
    return ",".join(
        str(dimension.dim_value)
        if dimension.dim_value > 0
        else "".join(c if c.isalnum() else "_" for c in dimension.dim_param).upper() or "N"
        for dimension in value.type.tensor_type.shape.dim
    )
