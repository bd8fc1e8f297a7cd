"""Turn inputs that the user gives as constants into initializers."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from nmc.errors import ModelError
from nmc.frontend.shapes import real_inputs


def bind_constants(model: onnx.ModelProto, binds: Mapping[str, np.ndarray]) -> None:
    """Make each input named in `binds` the given constant, no longer an input, in place.

    Raises one ModelError that lists every unknown name, wrong type and wrong shape.
    """
    graph = model.graph
    inputs = {value.name: value for value in real_inputs(graph)}
    problems = []
    for name, given in binds.items():
        if name not in inputs:
            problems.append(
                f"--bind names '{name}', but the model's inputs are: {', '.join(inputs) or 'none'}"
            )
            continue
        array = np.asarray(given)
        problem = _mismatch(inputs[name], array)
        if problem:
            problems.append(f"--bind {name}: {problem}")
            continue
        wanted = helper.tensor_dtype_to_np_dtype(inputs[name].type.tensor_type.elem_type)
        graph.initializer.append(numpy_helper.from_array(array.astype(wanted), name))
    if problems:
        raise ModelError("; ".join(problems))
    kept = [value for value in graph.input if value.name not in binds]
    del graph.input[:]
    graph.input.extend(kept)


def _mismatch(value: onnx.ValueInfoProto, array: np.ndarray) -> str | None:
    if value.type.WhichOneof("value") != "tensor_type":
        return "is not a tensor; only tensors can be bound"
    tensor_type = value.type.tensor_type
    wanted = helper.tensor_dtype_to_np_dtype(tensor_type.elem_type)
    if not np.can_cast(array.dtype, wanted, casting="same_kind"):
        return f"holds {array.dtype} values, but the input takes {wanted}"
    if not tensor_type.HasField("shape"):
        return None
    dimensions = tensor_type.shape.dim
    fits = len(dimensions) == array.ndim and all(
        not dimension.HasField("dim_value") or dimension.dim_value == size
        for dimension, size in zip(dimensions, array.shape, strict=True)
    )
    if fits:
        return None
    shape = ", ".join(str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in dimensions)
    return f"has shape {array.shape}, but the input takes ({shape})"
