"""The networks whose cycles are measured: small ONNX builders with seeded weights, and the real models."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx

import models
from models.graph import GraphBuilder
from tests.architectures.light import light

SEED = 0
Samples = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Network:
    """A model to compile, with its calibration data ([samples, *shape] by input) where it has any."""

    model: onnx.ModelProto
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    calibration: Samples | None = None


def resnet50() -> Network:
    """ResNet-50 (He et al., arXiv 1512.03385) of the ONNX project's `light` models, for one image of 224 × 224."""
    architecture = light("resnet50")
    return Network(architecture.model, calibration=architecture.calibration)


def bert_base(layers: int = 12) -> Network:
    """BERT-base's encoder (Devlin et al., arXiv 1810.04805): width 768, 12 heads, 128 embedded tokens."""
    return Network(_Transformer("bert_base", tokens=128).encoder(layers))


def gpt2_small(layers: int = 12) -> Network:
    """One step of a decoder of GPT-2 small's shape: one token, 512 cached ones, the logits of all 50257 tokens."""
    return Network(_Transformer("gpt2_small", tokens=1, cached=512).decoder(layers, vocabulary=50257))


def efficientnet_lite0() -> Network:
    """EfficientNet-Lite0 with its own weights."""
    return _real("efficientnet_lite0")


def narrow_transformer(layers: int) -> Network:
    """An encoder of BERT's layers, 64 wide with 4 heads on 16 tokens: little to compute, all of it to compile."""
    return Network(_NarrowTransformer(f"narrow{layers}", tokens=16).encoder(layers))


def magika() -> Network:
    """Magika, which tells the type of a file from its bytes, with its own weights."""
    return _real("magika")


def minilm() -> Network:
    """MiniLM-L6 on 64 tokens with its own weights."""
    return _real("minilm")


NETWORKS: Mapping[str, Callable[[], Network]] = {
    "resnet50": resnet50,
    "bert_base": bert_base,
    "minilm": minilm,
    "efficientnet_lite0": efficientnet_lite0,
    "gpt2_small": gpt2_small,
}


def _real(name: str) -> Network:
    model = models.get(name)
    return Network(onnx.load(model.onnx_path()), model.shapes, model.calibration())


class _Transformer:
    """Writes encoders and decoders, of width 768 with 12 heads unless a subclass says otherwise; tensors
    between the parts are [1, tokens, 768]."""

    WIDTH, HEADS, HIDDEN = 768, 12, 3072

    def __init__(self, name: str, tokens: int, cached: int = 0) -> None:
        self._graph = GraphBuilder(name)
        self._generator = np.random.default_rng(SEED)
        self._tokens, self._cached = tokens, cached
        self._inputs: dict[str, tuple[int, ...]] = {"embedded": (1, tokens, self.WIDTH)}
        self._outputs: dict[str, tuple[int, ...]] = {}

    def encoder(self, layers: int) -> onnx.ModelProto:
        """Normalisation after each part, as in BERT."""
        graph, tensor = self._graph, "embedded"
        for index in range(layers):
            name = f"layer{index}"
            attended = graph.node("Add", f"{name}.residual1", tensor, self._attention(name, tensor))
            tensor = self._normalised(f"{name}.norm1", attended)
            tensor = graph.node("Add", f"{name}.residual2", tensor, self._feed_forward(name, tensor))
            tensor = self._normalised(f"{name}.norm2", tensor)
        return graph.finish(self._inputs, {tensor: self._inputs["embedded"]})

    def decoder(self, layers: int, vocabulary: int) -> onnx.ModelProto:
        """Normalisation before each part, as in GPT-2, and the product with the transposed embeddings."""
        graph, tensor = self._graph, "embedded"
        for index in range(layers):
            name = f"layer{index}"
            attended = self._attention(name, self._normalised(f"{name}.norm1", tensor))
            tensor = graph.node("Add", f"{name}.residual1", tensor, attended)
            passed = self._feed_forward(name, self._normalised(f"{name}.norm2", tensor))
            tensor = graph.node("Add", f"{name}.residual2", tensor, passed)
        tensor = self._normalised("norm", tensor)
        weight = graph.constant("logits.weight", self._weights(self.WIDTH, vocabulary))
        logits = graph.node("MatMul", "logits", tensor, weight)
        self._outputs[logits] = (1, self._tokens, vocabulary)
        return graph.finish(self._inputs, self._outputs)

    def _attention(self, layer: str, tensor: str) -> str:
        graph, width = self._graph, self.WIDTH // self.HEADS
        query = self._heads(f"{layer}.query", tensor)
        key = self._with_cache(f"{layer}.key", self._heads(f"{layer}.key", tensor))
        value = self._with_cache(f"{layer}.value", self._heads(f"{layer}.value", tensor))
        turned = graph.node("Transpose", f"{layer}.key.turned", key, perm=[0, 1, 3, 2])
        scores = graph.node("MatMul", f"{layer}.scores", query, turned)
        scale = graph.constant(f"{layer}.scale", math.sqrt(width))
        weights = graph.node(
            "Softmax", f"{layer}.softmax", graph.node("Div", f"{layer}.scaled", scores, scale), axis=-1
        )
        mixed = graph.node("MatMul", f"{layer}.mixed", weights, value)
        mixed = graph.node("Transpose", f"{layer}.mixed.turned", mixed, perm=[0, 2, 1, 3])
        shape = graph.constant(f"{layer}.mixed.shape", [1, self._tokens, self.WIDTH], np.int64)
        joined = graph.node("Reshape", f"{layer}.mixed.joined", mixed, shape)
        return self._linear(f"{layer}.output", joined, self.WIDTH, self.WIDTH)

    def _heads(self, name: str, tensor: str) -> str:
        """The projection as [1, heads, tokens, width of a head]."""
        linear = self._linear(name, tensor, self.WIDTH, self.WIDTH)
        split = [1, self._tokens, self.HEADS, self.WIDTH // self.HEADS]
        shape = self._graph.constant(f"{name}.shape", split, np.int64)
        heads = self._graph.node("Reshape", f"{name}.split", linear, shape)
        return self._graph.node("Transpose", f"{name}.heads", heads, perm=[0, 2, 1, 3])

    def _with_cache(self, name: str, tensor: str) -> str:
        """Appends the new keys or values to the cached ones; the result is an output too."""
        if not self._cached:
            return tensor
        width = self.WIDTH // self.HEADS
        past = f"{name}.past"
        self._inputs[past] = (1, self.HEADS, self._cached, width)
        present = self._graph.node("Concat", f"{name}.present", past, tensor, axis=2)
        self._outputs[present] = (1, self.HEADS, self._cached + self._tokens, width)
        return present

    def _feed_forward(self, layer: str, tensor: str) -> str:
        up = self._linear(f"{layer}.up", tensor, self.WIDTH, self.HIDDEN)
        return self._linear(f"{layer}.down", self._gelu(f"{layer}.gelu", up), self.HIDDEN, self.WIDTH)

    def _gelu(self, name: str, tensor: str) -> str:
        graph = self._graph
        error = graph.node(
            "Erf",
            f"{name}.erf",
            graph.node("Div", f"{name}.div", tensor, graph.constant(f"{name}.root", math.sqrt(2))),
        )
        shifted = graph.node("Add", f"{name}.shifted", error, graph.constant(f"{name}.one", 1.0))
        product = graph.node("Mul", f"{name}.product", tensor, shifted)
        return graph.node("Mul", name, product, graph.constant(f"{name}.half", 0.5))

    def _normalised(self, name: str, tensor: str) -> str:
        gamma = self._graph.constant(f"{name}.gamma", self._generator.normal(1, 0.1, self.WIDTH))
        beta = self._graph.constant(f"{name}.beta", self._generator.normal(0, 0.1, self.WIDTH))
        return self._graph.node("LayerNormalization", name, tensor, gamma, beta, axis=-1)

    def _linear(self, name: str, tensor: str, inputs: int, outputs: int) -> str:
        bias = self._generator.normal(0, 0.02, outputs)
        return self._graph.linear(name, tensor, self._weights(inputs, outputs), bias)

    def _weights(self, inputs: int, outputs: int) -> np.ndarray:
        return (self._generator.standard_normal((inputs, outputs), np.float32) / math.sqrt(inputs)).astype(
            np.float32
        )


class _NarrowTransformer(_Transformer):
    WIDTH, HEADS, HIDDEN = 64, 4, 256
