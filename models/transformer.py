"""A small transformer encoder that reads handwritten digits row by row: 70 thousand parameters.

Each of the 28 rows of an image is a token. Two layers in the order of Vaswani et al. (arXiv 1706.03762)
with the normalisation before each part (Xiong et al., arXiv 2002.04745); GELU spelled out with erf, as
frameworks export it. Trained by train_transformer.py.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from models import mnist
from models.graph import GraphBuilder
from models.model import Array, Model, read_only, top1_accuracy

TRAINED = Path(__file__).with_name("trained") / "transformer.onnx"
LAYERS = 2
HEADS = 4
WIDTH = 64
HIDDEN_WIDTH = 128
LAYER_NORM_EPSILON = 1e-5
_TOKENS = mnist.IMAGE_PIXELS
_SHAPES = {"rows": (1, _TOKENS, mnist.IMAGE_PIXELS)}


def build(weights: Mapping[str, Array]) -> onnx.ModelProto:
    """Return the encoder with weights named as in train_transformer.Network: "layer0.query.weight" …"""
    return _Encoder(weights).build()


class _Encoder:
    """Writes the parts of the encoder; every tensor between them is [1, tokens, width]."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self._graph = GraphBuilder("transformer")

    def build(self) -> onnx.ModelProto:
        graph = self._graph
        positions = graph.constant("positions", self._weights["positions"])
        tensor = graph.node("Add", "embedding.positioned", self._linear("embedding", "rows"), positions)
        for index in range(LAYERS):
            name = f"layer{index}"
            attended = self._attention(name, self._layer_norm(f"{name}.norm1", tensor))
            tensor = graph.node("Add", f"{name}.residual1", tensor, attended)
            hidden = self._gelu(
                f"{name}.gelu", self._linear(f"{name}.up", self._layer_norm(f"{name}.norm2", tensor))
            )
            tensor = graph.node("Add", f"{name}.residual2", tensor, self._linear(f"{name}.down", hidden))
        tensor = self._layer_norm("norm", tensor)
        mean = graph.node("ReduceMean", "pooled", tensor, axes=[1], keepdims=0)
        classes = self._linear("classifier", mean, name="logits")
        return graph.finish(_SHAPES, {classes: (1, len(self._weights["classifier.bias"]))})

    def _attention(self, layer: str, tensor: str) -> str:
        graph = self._graph
        query = self._heads(f"{layer}.query", tensor, order=[0, 2, 1, 3])
        key = self._heads(f"{layer}.key", tensor, order=[0, 2, 3, 1])
        value = self._heads(f"{layer}.value", tensor, order=[0, 2, 1, 3])
        scores = graph.node("MatMul", f"{layer}.scores", query, key)
        scale = graph.constant(f"{layer}.scale", math.sqrt(WIDTH // HEADS))
        scores = graph.node("Div", f"{layer}.scaled", scores, scale)
        attention = graph.node("Softmax", f"{layer}.softmax", scores, axis=-1)
        mixed = graph.node("MatMul", f"{layer}.mixed", attention, value)
        mixed = graph.node("Transpose", f"{layer}.mixed.transposed", mixed, perm=[0, 2, 1, 3])
        shape = graph.constant(f"{layer}.mixed.shape", [1, _TOKENS, WIDTH], np.int64)
        joined = graph.node("Reshape", f"{layer}.mixed.joined", mixed, shape)
        return self._linear(f"{layer}.output", joined)

    def _heads(self, name: str, tensor: str, order: list[int]) -> str:
        shape = self._graph.constant(f"{name}.shape", [1, _TOKENS, HEADS, WIDTH // HEADS], np.int64)
        split = self._graph.node("Reshape", f"{name}.split", self._linear(name, tensor), shape)
        return self._graph.node("Transpose", f"{name}.heads", split, perm=order)

    def _linear(self, source: str, tensor: str, name: str = "") -> str:
        weight, bias = self._weights[f"{source}.weight"], self._weights[f"{source}.bias"]
        return self._graph.linear(name or source, tensor, weight.T, bias)

    def _layer_norm(self, name: str, tensor: str) -> str:
        scale = self._graph.constant(f"{name}.weight", self._weights[f"{name}.weight"])
        bias = self._graph.constant(f"{name}.bias", self._weights[f"{name}.bias"])
        return self._graph.node(
            "LayerNormalization", name, tensor, scale, bias, axis=-1, epsilon=LAYER_NORM_EPSILON
        )

    def _gelu(self, name: str, tensor: str) -> str:
        """Write x/2 · (1 + erf(x/√2)); Hendrycks and Gimpel, arXiv 1606.08415."""
        graph = self._graph
        scaled = graph.node("Div", f"{name}.scaled", tensor, graph.constant(f"{name}.root2", math.sqrt(2)))
        erf = graph.node("Erf", f"{name}.erf", scaled)
        plus = graph.node("Add", f"{name}.plus1", erf, graph.constant(f"{name}.one", 1.0))
        product = graph.node("Mul", f"{name}.product", tensor, plus)
        return graph.node("Mul", name, product, graph.constant(f"{name}.half", 0.5))


@read_only
def calibration() -> dict[str, Array]:
    """Return 100 training digits: {"rows": float32 [100, 1, 28, 28]}."""
    return {"rows": mnist.calibration().images[:, None]}


@read_only
def test() -> dict[str, Array]:
    """Return 1000 digits that training never saw: {"rows": float32 [1000, 1, 28, 28]}."""
    return {"rows": mnist.test().images[:, None]}


MODEL = Model(
    name="transformer",
    description="small transformer encoder on MNIST, a row a token: attention, layer norm, softmax, GELU",
    shapes=_SHAPES,
    onnx_path=lambda: TRAINED,
    calibration=calibration,
    test=test,
    labels=lambda: mnist.test().labels,
    metric_name="top-1 accuracy",
    metric=top1_accuracy,
)
