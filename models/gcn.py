"""A graph network of two layers that tells how well a molecule dissolves in water; trained by train_gcn.py.

Layer: relu(A·X·W + b) with the normalised adjacency A as an input (Kipf and Welling, arXiv 1609.02907).
Molecules are padded to 48 atoms; a mask keeps the padding out of the mean and the sum over atoms from which
the class is told.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from models import solubility
from models.graph import GraphBuilder
from models.model import Array, Model, read_only, top1_accuracy

TRAINED = Path(__file__).with_name("trained") / "gcn.onnx"
SUM_SCALE = 1 / 16
"""Brings the sum over the atoms of a molecule of common size to the range of their mean."""

_CALIBRATION_MOLECULES = 256
_SHAPES = {
    "features": (1, solubility.NODES, solubility.FEATURES),
    "adjacency": (1, solubility.NODES, solubility.NODES),
    "mask": (1, solubility.NODES),
}


def build(weights: Mapping[str, Array]) -> onnx.ModelProto:
    """Return the network with weights named as in train_gcn.Network: "layer0.weight", "layer0.bias" …"""
    graph = GraphBuilder("gcn")
    tensor = "features"
    for layer in ("layer0", "layer1"):
        weight = graph.constant(f"{layer}.weight", weights[f"{layer}.weight"].T)
        projected = graph.node("MatMul", f"{layer}.project", tensor, weight)
        gathered = graph.node("MatMul", f"{layer}.gather", "adjacency", projected)
        biased = graph.node(
            "Add", f"{layer}.bias_add", gathered, graph.constant(f"{layer}.bias", weights[f"{layer}.bias"])
        )
        tensor = graph.node("Relu", f"{layer}.relu", biased)
    axis = graph.constant("atom_axis", [1], np.int64)
    row = graph.node("Unsqueeze", "mask.row", "mask", axis)
    total = graph.node("Squeeze", "sum", graph.node("MatMul", "sum.masked", row, tensor), axis)
    atoms = graph.node("ReduceSum", "atoms", "mask", axis, keepdims=1)
    mean = graph.node("Div", "mean", total, atoms)
    size = graph.node("Mul", "sum.scaled", total, graph.constant("sum.scale", SUM_SCALE))
    pooled = graph.node("Concat", "pooled", mean, size, axis=1)
    hidden = graph.node("Gemm", "hidden", pooled, *_constants(graph, weights, "hidden"), transB=1)
    hidden = graph.node("Relu", "hidden.relu", hidden)
    graph.node("Gemm", "logits", hidden, *_constants(graph, weights, "classifier"), transB=1)
    return graph.finish(_SHAPES, {"logits": (1, len(solubility.CLASSES))})


def _constants(graph: GraphBuilder, weights: Mapping[str, Array], layer: str) -> list[str]:
    return [graph.constant(f"{layer}.{part}", weights[f"{layer}.{part}"]) for part in ("weight", "bias")]


@read_only
def calibration() -> dict[str, Array]:
    """Return 256 training molecules as features, adjacency and mask: float32 [256, 1, …]."""
    graphs = solubility.training()
    return _inputs(graphs, np.linspace(0, len(graphs.labels) - 1, _CALIBRATION_MOLECULES).astype(int))


@read_only
def test() -> dict[str, Array]:
    """Return the 257 test molecules as features, adjacency and mask: float32 [257, 1, …]."""
    graphs = solubility.test()
    return _inputs(graphs, np.arange(len(graphs.labels)))


def _inputs(graphs: solubility.Graphs, chosen: Array) -> dict[str, Array]:
    return {
        "features": graphs.features[chosen, None],
        "adjacency": graphs.adjacency[chosen, None],
        "mask": graphs.mask[chosen, None],
    }


MODEL = Model(
    name="gcn",
    description="two-layer graph network on molecules: products of activations, masked mean, three classes",
    shapes=_SHAPES,
    onnx_path=lambda: TRAINED,
    calibration=calibration,
    test=test,
    labels=lambda: solubility.test().labels,
    metric_name="top-1 accuracy",
    metric=top1_accuracy,
)
