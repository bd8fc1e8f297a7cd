"""Read an ONNX file and refuse, in one line, what is not a model nmc can look at."""

import hashlib
import re
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, version_converter

from nmc.errors import ModelError, UnsupportedOperatorError
from nmc.frontend.weights import graph_alone, large_tensors, weight_bytes

OLDEST_OPSET = 6
"""Older operator sets define shapes by attributes that no tool still writes: their models are converted to this one."""

PROTOBUF_LIMIT_BYTES = 2**31 - 1
"""A protobuf message cannot be serialised beyond this size; larger models keep their weights in separate
files.
"""


def load_model(source: str | Path | onnx.ModelProto) -> tuple[onnx.ModelProto, str, str]:
    """Return the checked model with its external data loaded, its name, and the SHA-256 of its bytes.

    Raises ModelError for anything that is not a valid model, UnsupportedOperatorError for operators that the
    declared operator set does not define.
    """
    if isinstance(source, onnx.ModelProto):
        model = onnx.ModelProto()
        model.CopyFrom(source)
        digest = hashlib.sha256(_large_message_bytes(model)).hexdigest()
        name = model.graph.name or "model"
    else:
        path = Path(source)
        model, digest = _read(path)
        name = path.parent.name if path.stem == "model" and path.parent.name else path.stem
    _check_graph(model, name)
    _check_opsets(model, name)
    _check_operators_exist(model)
    _check_standard(model, name)
    version = _opset_version(model)
    if version is not None and version < OLDEST_OPSET:
        model = _converted(model, name, version)
        _check_standard(model, name)
    return model, name, digest


TVM_NOTATION = (
    (re.compile(r'metadata\["[\w.]+"\]\[\d+\]( # Metadata omitted\.[^.]*show it\.)?'), "(a constant)"),
    (re.compile(r"R\.shape\((\[[^\]]*\])\)"), r"\1"),
    (re.compile(r"T\.\w+\((-?\d+)\)"), r"\1"),
)
"""How TVM prints values in its messages, and how they read without knowing TVM."""


def one_line(error: BaseException, limit: int = 300) -> str:
    """The text of an error of another library on one line, cut to `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    for pattern, plain in TVM_NOTATION:
        text = pattern.sub(plain, text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _read(path: Path) -> tuple[onnx.ModelProto, str]:
    if not path.exists():
        raise ModelError(f"{path}: no such file")
    if path.is_dir():
        raise ModelError(f"{path}: is a directory; give the .onnx file inside it")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX file (it is not a protobuf message)") from error
    if not model.HasField("graph") or not model.ir_version:
        raise ModelError(f"{path}: not an ONNX file (no graph or no IR version in it)")
    digest = hashlib.sha256(data)
    del data  # as large as the model
    for file in _load_external_data(model, path):
        digest.update(file.read_bytes())
    return model, digest.hexdigest()


def _load_external_data(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Load every tensor that lives in a separate file; returns those files, sorted."""
    external = [
        tensor
        for tensor in external_data_helper._get_all_tensors(model)
        if external_data_helper.uses_external_data(tensor)
    ]
    locations = {external_data_helper.ExternalDataInfo(tensor).location for tensor in external}
    missing = sorted(location for location in locations if not (path.parent / location).is_file())
    if missing:
        raise ModelError(
            f"{path}: external data file missing: {', '.join(missing)}; put it into {path.parent}"
        )
    for tensor in external:
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        except (ValueError, OSError, onnx.checker.ValidationError) as error:
            raise ModelError(f"{path}: external data of tensor '{tensor.name}': {one_line(error)}") from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    return sorted(path.parent / location for location in locations)


def _large_message_bytes(model: onnx.ModelProto) -> bytes:
    """Bytes that identify a model; beyond protobuf's limit, its weights' bytes in order."""
    if model.ByteSize() <= PROTOBUF_LIMIT_BYTES:
        return model.SerializeToString(deterministic=True)
    return b"".join(tensor.SerializeToString(deterministic=True) for tensor in model.graph.initializer)


def _check_graph(model: onnx.ModelProto, name: str) -> None:
    if not model.graph.node:
        raise ModelError(f"{name}: the graph is empty (no nodes); there is nothing to compile")
    if not model.graph.output:
        raise ModelError(f"{name}: the graph has no outputs; there is nothing to compute")


def _opset_version(model: onnx.ModelProto) -> int | None:
    versions = {entry.domain: entry.version for entry in model.opset_import}
    return versions.get("", versions.get("ai.onnx"))


def _check_opsets(model: onnx.ModelProto, name: str) -> None:
    newest, version = onnx.defs.onnx_opset_version(), _opset_version(model)
    if version is None:
        if any(node.domain in ("", "ai.onnx") for node in model.graph.node):
            raise ModelError(f"{name}: declares no operator set version (opset_import is empty)")
    elif version > newest:
        raise ModelError(
            f"{name}: uses operator set {version}; the installed onnx package knows up to {newest}: "
            "upgrade onnx or export the model with an older operator set"
        )


def _converted(model: onnx.ModelProto, name: str, version: int) -> onnx.ModelProto:
    """The same model in operator set OLDEST_OPSET."""
    try:
        return version_converter.convert_version(model, OLDEST_OPSET)
    except Exception as error:  # RuntimeError, or one of the checker's or shape inference's own
        raise ModelError(
            f"{name}: uses operator set {version}, which onnx.version_converter cannot convert to {OLDEST_OPSET} "
            f"({one_line(error).rpartition('failed: ')[2]}); export the model with a newer operator set"
        ) from error


def _check_operators_exist(model: onnx.ModelProto) -> None:
    """Every operator of the standard's own domain must be defined at the declared version."""
    version = _opset_version(model) or 0
    local = {(function.domain, function.name) for function in model.functions}
    unknown = []
    for index, node in enumerate(model.graph.node):
        if node.domain not in ("", "ai.onnx") or (node.domain, node.op_type) in local:
            continue
        try:
            onnx.defs.get_schema(node.op_type, version, "")
        except onnx.defs.SchemaError:
            unknown.append(f"{node.op_type} '{node.name or f'{node.op_type}_{index}'}'")
    if unknown:
        raise UnsupportedOperatorError(
            f"operator set {version} of ONNX does not define: {', '.join(unknown)}; "
            "rewrite these nodes with standard operators"
        )


def _check_standard(model: onnx.ModelProto, name: str) -> None:
    if weight_bytes(model) > PROTOBUF_LIMIT_BYTES:
        return  # the checker serialises the message, which protobuf cannot do at this size
    # The checker wants a shape on every input and output, onnxruntime and exporters do not: lend it one.
    tensors = [value.type.tensor_type for value in (*model.graph.input, *model.graph.output)]
    shapeless = [tensor for tensor in tensors if tensor.elem_type and not tensor.HasField("shape")]
    for tensor in shapeless:
        tensor.shape.SetInParent()
    try:
        for tensor in large_tensors(model):
            onnx.checker.check_tensor(tensor)
        onnx.checker.check_model(graph_alone(model))
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelError(f"{name}: not a valid ONNX model: {one_line(error)}") from error
    finally:
        for tensor in shapeless:
            tensor.ClearField("shape")
