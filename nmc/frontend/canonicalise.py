"""Simplify a shape-pinned model with onnxruntime's basic graph optimisations; its nodes keep their names."""

import tempfile
from pathlib import Path

import onnx
import onnxruntime

from nmc.frontend.load import PROTOBUF_LIMIT_BYTES
from nmc.frontend.precision import unify_floats
from nmc.frontend.weights import graph_with_outside_weights, weight_bytes

LARGE_BYTES = 1024
"""Weights of so many bytes are handed over outside the graph."""
SILENT = 4
"""onnxruntime's log level above every message; its errors reach us as exceptions."""


def name_nodes(model: onnx.ModelProto) -> None:
    """Give each nameless node of the graph the name OpType_<index>, in place, so that reports can point at
    it.
    """
    taken = {node.name for node in model.graph.node}
    for index, node in enumerate(model.graph.node):
        if not node.name:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            taken.add(name)
            node.name = name


def canonicalise(model: onnx.ModelProto, float_type: str) -> onnx.ModelProto:
    """Return an equivalent model with constants folded and normalisations merged into convolutions.

    onnxruntime refuses models with operators it has no kernel for, and those beyond protobuf's size limit;
    they come back as they are, since the importer folds constants itself and needs none of these rewrites for
    correctness.
    """
    name_nodes(model)
    if weight_bytes(model) > PROTOBUF_LIMIT_BYTES:
        return model
    with tempfile.TemporaryDirectory(prefix="nmc-") as directory:
        optimised = Path(directory) / "optimised.onnx"
        try:
            _write_optimised(model, optimised)
            result = onnx.load(optimised)
        except Exception:  # a different class for every cause, and any cause means: not simplified
            return model
    if not result.graph.node:  # all was folded into constants: the importer does that as well, with names
        return model
    _restore_names(result, {node.name for node in model.graph.node})
    unify_floats(result, float_type)  # function bodies that onnxruntime inlined may compute in double
    return result


def _write_optimised(model: onnx.ModelProto, path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = SILENT
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.disable_prepacking", "1")  # the session never runs
    # weights beside the graph are copied once, those within it whenever protobuf packs it
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", str(LARGE_BYTES)
    )
    graph, weights = graph_with_outside_weights(model)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
    onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _restore_names(model: onnx.ModelProto, known: set[str]) -> None:
    """Give each node that onnxruntime made the name of the node it stands for, in place.

    A fused node is called NODE/FUSION; helpers such as reshapes around a product get their user's or maker's
    name.
    """
    nodes = model.graph.node
    for node in nodes:
        if node.name not in known and node.name.rpartition("/")[0] in known:
            node.name = node.name.rpartition("/")[0]
    users = {name: node for node in reversed(nodes) for name in node.input}
    makers = {name: node for node in nodes for name in node.output}
    for neighbours, along in ((users, "output"), (makers, "input")):
        for node in reversed(nodes) if neighbours is users else nodes:
            if node.name not in known:
                near = [neighbours[name].name for name in getattr(node, along) if name in neighbours]
                node.name = next((name for name in near if name in known), node.name)
    name_nodes(model)
