"""A small convolutional network for handwritten digits: 29 thousand parameters, trained by train_cnn.py.

It has one of each thing that a convolutional network brings: ordinary, depthwise and pointwise
convolutions, strides, batch normalisation in nodes of its own, ReLU and SiLU, a residual addition, maximum,
average and global pooling.
"""

from collections.abc import Mapping
from pathlib import Path

import onnx

from models import mnist
from models.graph import GraphBuilder
from models.model import Array, Model, read_only, top1_accuracy

TRAINED = Path(__file__).with_name("trained") / "cnn.onnx"
_SHAPES = {"image": (1, 1, mnist.IMAGE_PIXELS, mnist.IMAGE_PIXELS)}
BATCH_NORM_EPSILON = 1e-5


def build(weights: Mapping[str, Array]) -> onnx.ModelProto:
    """Return the network; weights have the names of train_cnn.Network: "stem.conv.weight" and so on."""
    layers = _Layers(weights)
    graph = layers.graph
    tensor = layers.convolution("stem", "image", padding=1, activation="Relu")
    tensor = graph.node("MaxPool", "stem.pool", tensor, kernel_shape=[2, 2], strides=[2, 2])
    tensor = layers.convolution("depthwise", tensor, padding=1, activation="SiLU", groups=16)
    tensor = before = layers.convolution("pointwise", tensor, padding=0, activation="Relu")
    tensor = layers.convolution("middle", tensor, padding=1, activation="SiLU")
    tensor = graph.node("Add", "middle.residual", tensor, before)
    tensor = graph.node("AveragePool", "middle.pool", tensor, kernel_shape=[2, 2], strides=[2, 2])
    tensor = layers.convolution("last", tensor, padding=1, stride=2, activation="SiLU")
    tensor = graph.node("GlobalAveragePool", "last.pool", tensor)
    tensor = graph.node("Flatten", "last.flatten", tensor, axis=1)
    weight = graph.constant("classifier.weight", weights["classifier.weight"])
    bias = graph.constant("classifier.bias", weights["classifier.bias"])
    graph.node("Gemm", "logits", tensor, weight, bias, transB=1)
    return graph.finish(_SHAPES, {"logits": (1, len(weights["classifier.bias"]))})


class _Layers:
    """Writes a convolution with what belongs to it."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self.graph = GraphBuilder("cnn")

    def convolution(
        self, name: str, tensor: str, padding: int, activation: str, stride: int = 1, groups: int = 1
    ) -> str:
        weight = self._weights[f"{name}.conv.weight"]
        tensor = self.graph.node(
            "Conv",
            f"{name}.conv",
            tensor,
            self.graph.constant(f"{name}.weight", weight),
            kernel_shape=list(weight.shape[2:]),
            pads=[padding] * 4,
            strides=[stride, stride],
            group=groups,
        )
        statistics = [
            self.graph.constant(f"{name}.bn.{part}", self._weights[f"{name}.bn.{part}"])
            for part in ("weight", "bias", "running_mean", "running_var")
        ]
        tensor = self.graph.node(
            "BatchNormalization", f"{name}.bn", tensor, *statistics, epsilon=BATCH_NORM_EPSILON
        )
        if activation == "SiLU":
            gate = self.graph.node("Sigmoid", f"{name}.sigmoid", tensor)
            return self.graph.node("Mul", f"{name}.silu", tensor, gate)
        return self.graph.node(activation, f"{name}.{activation.lower()}", tensor)


@read_only
def calibration() -> dict[str, Array]:
    """Return 100 training digits: {"image": float32 [100, 1, 1, 28, 28]}."""
    return {"image": mnist.calibration().images[:, None, None]}


@read_only
def test() -> dict[str, Array]:
    """Return 1000 digits that training never saw: {"image": float32 [1000, 1, 1, 28, 28]}."""
    return {"image": mnist.test().images[:, None, None]}


MODEL = Model(
    name="cnn",
    description="small CNN on MNIST: depthwise convolution, batch norm, SiLU, residual, three poolings",
    shapes=_SHAPES,
    onnx_path=lambda: TRAINED,
    calibration=calibration,
    test=test,
    labels=lambda: mnist.test().labels,
    metric_name="top-1 accuracy",
    metric=top1_accuracy,
)
