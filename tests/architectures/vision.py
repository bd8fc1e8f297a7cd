"""Image models: U-Net, vision transformers, mobile networks, detectors."""

import numpy as np

from tests.architectures.layers import (
    attend,
    convolution,
    gelu_by_erf,
    join_heads,
    layer_norm,
    layer_norm_spelled_out,
    linear,
    split_heads,
)
from tests.architectures.writer import Architecture, Writer


def u_net(size: int = 16, width: int = 4) -> Architecture:
    """Two levels down and three ways up: transposed convolution, nearest and linear resizing, with skips."""
    writer = Writer("u_net")
    image = writer.image("image", 1, 3, size, size)
    first = writer.node("Relu", convolution(writer, image, 3, width, 3))
    second = writer.node("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2])
    second = writer.node("Relu", convolution(writer, second, width, 2 * width, 3))
    third = writer.node("MaxPool", second, kernel_shape=[2, 2], strides=[2, 2])
    third = writer.node("Relu", convolution(writer, third, 2 * width, 4 * width, 3))
    weight = writer.weight(4 * width, 2 * width, 2, 2, inputs=4 * width)
    up = writer.node("ConvTranspose", third, weight, writer.vector(2 * width), strides=[2, 2])
    joined = writer.node("Concat", up, second, axis=1)
    joined = writer.node("Relu", convolution(writer, joined, 4 * width, 2 * width, 3))
    scales = writer.constant([1, 1, 2, 2])
    nearest = writer.node(
        "Resize",
        joined,
        "",
        scales,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    smooth = writer.node(
        "Resize", joined, "", scales, mode="linear", coordinate_transformation_mode="half_pixel"
    )
    joined = writer.node("Concat", nearest, smooth, first, axis=1)
    return writer.finish(writer.node("Sigmoid", convolution(writer, joined, 5 * width, 2, 1)))


def vision_transformer(size: int = 16, patch: int = 4, width: int = 16, heads: int = 2) -> Architecture:
    """ViT: patches by a convolution, a class token, layer normalisation as the operator and spelled out."""
    writer = Writer("vision_transformer")
    patches, head = (size // patch) ** 2, width // heads
    tokens = patches + 1
    image = writer.image("image", 1, 3, size, size)
    kernel = writer.weight(width, 3, patch, patch)
    made = writer.node("Conv", image, kernel, writer.vector(width), strides=[patch, patch])
    flat = writer.node("Reshape", made, writer.shape(1, width, patches))
    token = writer.weight(1, 1, width)
    tensor = writer.node("Concat", token, writer.node("Transpose", flat, perm=[0, 2, 1]), axis=1)
    tensor = writer.node("Add", tensor, writer.weight(1, tokens, width, inputs=4))
    for norm in (layer_norm, layer_norm_spelled_out):
        normal = norm(writer, tensor, width)
        parts = [
            split_heads(writer, linear(writer, normal, width, width), tokens, heads, head) for _ in range(3)
        ]
        mixed = join_heads(writer, attend(writer, *parts, width=head), tokens)
        tensor = writer.node("Add", tensor, linear(writer, mixed, width, width))
        hidden = gelu_by_erf(writer, linear(writer, norm(writer, tensor, width), width, 2 * width))
        tensor = writer.node("Add", tensor, linear(writer, hidden, 2 * width, width))
    chosen = writer.node("Gather", layer_norm(writer, tensor, width), writer.constant(0, np.int64), axis=1)
    return writer.finish(linear(writer, chosen, width, 10))


def mobile_network(size: int = 16) -> Architecture:
    """MobileNetV3's block: expansion, depthwise convolution, squeeze and excite, hard swish."""
    writer = Writer("mobile_network")
    tensor = writer.image("image", 1, 3, size, size)
    tensor = writer.node("HardSwish", convolution(writer, tensor, 3, 8, 3, stride=2))
    for stride in (1, 2):
        wide = writer.node("HardSwish", convolution(writer, tensor, 8, 16, 1))
        deep = convolution(writer, wide, 16, 16, 5, stride, groups=16)
        statistics = [writer.vector(16, mean) for mean in (1.0, 0.0, 0.0)]
        spread = writer.constant(np.linspace(0.5, 1.5, 16))
        deep = writer.node("HardSwish", writer.node("BatchNormalization", deep, *statistics, spread))
        squeezed = writer.node("GlobalAveragePool", deep)
        squeezed = writer.node("Relu", convolution(writer, squeezed, 16, 4, 1))
        excited = writer.node("HardSigmoid", convolution(writer, squeezed, 4, 16, 1), alpha=1 / 6, beta=0.5)
        thin = convolution(writer, writer.node("Mul", deep, excited), 16, 8, 1)
        tensor = writer.node("Add", tensor, thin) if stride == 1 else thin
    flat = writer.node("Flatten", writer.node("ReduceMean", tensor, writer.shape(2, 3)))
    return writer.finish(writer.node("Gemm", flat, writer.weight(10, 8), writer.vector(10), transB=1))


def window_attention(size: int = 8, window: int = 4, width: int = 8, heads: int = 2) -> Architecture:
    """Swin's shifted windows: roll, partition, attention with a relative bias and a mask, and back."""
    writer = Writer("window_attention")
    count, area, head, shift = size // window, window * window, width // heads, window // 2
    image = writer.image("features", 1, size, size, width)
    normal = layer_norm(writer, image, width)
    rolled = _roll(writer, normal, shift, size)
    split = writer.node("Reshape", rolled, writer.shape(1, count, window, count, window, width))
    turned = writer.node("Transpose", split, perm=[0, 1, 3, 2, 4, 5])
    windows = writer.node("Reshape", turned, writer.shape(count * count, area, width))
    joined = writer.node(
        "Reshape", linear(writer, windows, width, 3 * width), writer.shape(-1, area, 3, heads, head)
    )
    parts = writer.nodes("Split", 3, writer.node("Transpose", joined, perm=[2, 0, 3, 1, 4]), num_outputs=3)
    query, key, value = (writer.node("Squeeze", part, writer.shape(0)) for part in parts)
    regions = np.arange(size) // window + (np.arange(size) >= size - shift)
    labels = regions[:, None] * 10 + regions
    labels = labels.reshape(count, window, count, window).transpose(0, 2, 1, 3).reshape(-1, area)
    mask = np.where(labels[:, None, :, None] == labels[:, None, None, :], 0.0, -100.0)
    bias = writer.node("Add", writer.constant(mask), writer.weight(1, heads, area, area, inputs=4))
    mixed = attend(writer, query, key, value, head, bias)
    mixed = writer.node("Transpose", mixed, perm=[0, 2, 1, 3])
    merged = linear(writer, writer.node("Reshape", mixed, writer.shape(-1, area, width)), width, width)
    split = writer.node("Reshape", merged, writer.shape(1, count, count, window, window, width))
    turned = writer.node("Transpose", split, perm=[0, 1, 3, 2, 4, 5])
    whole = writer.node("Reshape", turned, writer.shape(1, size, size, width))
    return writer.finish(writer.node("Add", image, _roll(writer, whole, size - shift, size)))


def _roll(writer: Writer, tensor: str, by: int, size: int) -> str:
    """Move the first `by` rows and columns of [1, size, size, width] to the end."""
    for axis in (1, 2):
        front = writer.node("Slice", tensor, writer.shape(by), writer.shape(size), writer.shape(axis))
        back = writer.node("Slice", tensor, writer.shape(0), writer.shape(by), writer.shape(axis))
        tensor = writer.node("Concat", front, back, axis=axis)
    return tensor


def detector(size: int = 16, classes: int = 3, boxes: int = 2) -> Architecture:
    """YOLO's and SSD's heads on two scales: sigmoid centres on a grid, exponential sizes, the best scores chosen."""
    writer = Writer("detector")
    image = writer.image("image", 1, 3, size, size)
    tensor = writer.node("LeakyRelu", convolution(writer, image, 3, 8, 3, stride=2), alpha=0.1)
    found = []
    for _ in range(2):
        tensor = writer.node("LeakyRelu", convolution(writer, tensor, 8, 8, 3, stride=2), alpha=0.1)
        size = size // 2
        found.append(_decoded(writer, tensor, size // 2, classes, boxes))
    everything = writer.node("Concat", *found, axis=1)
    corners, sure, named = writer.nodes("Split", 3, everything, writer.shape(4, 1, classes), axis=2)
    scores = writer.node("Mul", named, sure)
    best = writer.node("ReduceMax", scores, writer.shape(2), keepdims=0)
    top, order = writer.nodes("TopK", 2, best, writer.shape(5), axis=1)
    rows = writer.node("Unsqueeze", order, writer.shape(2))
    boxes_of = writer.node("Expand", rows, writer.shape(1, 5, 4))
    return writer.finish(scores, top, writer.node("GatherElements", corners, boxes_of, axis=1))


def _decoded(writer: Writer, tensor: str, side: int, classes: int, boxes: int) -> str:
    """Boxes in pixels with their confidences, [1, side · side · boxes, 5 + classes]."""
    raw = convolution(writer, tensor, 8, boxes * (5 + classes), 1)
    split = writer.node("Reshape", raw, writer.shape(1, boxes, 5 + classes, side, side))
    turned = writer.node("Transpose", split, perm=[0, 1, 3, 4, 2])
    centre, extent, rest = writer.nodes("Split", 3, turned, writer.shape(2, 2, 1 + classes), axis=4)
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1)[None, None]
    shifted = writer.node("Add", writer.node("Sigmoid", centre), writer.constant(grid))
    placed = writer.node("Mul", shifted, writer.constant(16 / side))
    anchors = writer.constant(np.linspace(2.0, 6.0, 2 * boxes).reshape(1, boxes, 1, 1, 2))
    scaled = writer.node("Mul", writer.node("Exp", extent), anchors)
    joined = writer.node("Concat", placed, scaled, writer.node("Sigmoid", rest), axis=4)
    return writer.node("Reshape", joined, writer.shape(1, -1, 5 + classes))
