"""The layers that several architectures share, each spelled out as exporters write it."""

import math

import numpy as np

from tests.architectures.writer import Writer


def linear(writer: Writer, tensor: str, inputs: int, outputs: int) -> str:
    """tensor @ weight + bias over the last axis."""
    weight = writer.weight(inputs, outputs, inputs=inputs)
    return writer.node("Add", writer.node("MatMul", tensor, weight), writer.vector(outputs))


def convolution(
    writer: Writer,
    tensor: str,
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
) -> str:
    """A 2-D convolution that keeps the extents but for its stride."""
    weight = writer.weight(outputs, inputs // groups, kernel, kernel)
    sides = {"strides": [stride] * 2, "pads": [kernel // 2] * 4, "group": groups}
    return writer.node("Conv", tensor, weight, writer.vector(outputs), **sides)


def layer_norm(writer: Writer, tensor: str, width: int) -> str:
    """Layer normalisation as the operator, over the last axis."""
    return writer.node(
        "LayerNormalization", tensor, writer.vector(width, 1.0), writer.vector(width), axis=-1, epsilon=1e-5
    )


def layer_norm_spelled_out(writer: Writer, tensor: str, width: int) -> str:
    """Layer normalisation in primitives, over the last axis."""
    axes = writer.shape(-1)
    centred = writer.node("Sub", tensor, writer.node("ReduceMean", tensor, axes))
    square = writer.node("Pow", centred, writer.constant(2.0))
    variance = writer.node("Add", writer.node("ReduceMean", square, axes), writer.constant(1e-5))
    unit = writer.node("Div", centred, writer.node("Sqrt", variance))
    scaled = writer.node("Mul", unit, writer.vector(width, 1.0))
    return writer.node("Add", scaled, writer.vector(width))


def gelu_by_tanh(writer: Writer, tensor: str) -> str:
    """x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³))), as GPT-2 spells it."""
    cube = writer.node("Pow", tensor, writer.constant(3.0))
    bent = writer.node("Add", tensor, writer.node("Mul", cube, writer.constant(0.044715)))
    tanh = writer.node("Tanh", writer.node("Mul", bent, writer.constant(math.sqrt(2 / math.pi))))
    half = writer.node("Mul", tensor, writer.constant(0.5))
    return writer.node("Mul", half, writer.node("Add", tanh, writer.constant(1.0)))


def gelu_by_erf(writer: Writer, tensor: str) -> str:
    """x/2 · (1 + erf(x / √2))."""
    erf = writer.node("Erf", writer.node("Div", tensor, writer.constant(math.sqrt(2))))
    product = writer.node("Mul", tensor, writer.node("Add", erf, writer.constant(1.0)))
    return writer.node("Mul", product, writer.constant(0.5))


def silu(writer: Writer, tensor: str) -> str:
    """x · sigmoid(x)."""
    return writer.node("Mul", tensor, writer.node("Sigmoid", tensor))


def split_heads(writer: Writer, tensor: str, tokens: int, heads: int, width: int) -> str:
    """[1, tokens, heads · width] as [1, heads, tokens, width]."""
    split = writer.node("Reshape", tensor, writer.shape(1, tokens, heads, width))
    return writer.node("Transpose", split, perm=[0, 2, 1, 3])


def join_heads(writer: Writer, tensor: str, tokens: int) -> str:
    """[1, heads, tokens, width] as [1, tokens, heads · width]."""
    turned = writer.node("Transpose", tensor, perm=[0, 2, 1, 3])
    return writer.node("Reshape", turned, writer.shape(1, tokens, -1))


def attend(writer: Writer, query: str, key: str, value: str, width: int, mask: str = "") -> str:
    """softmax(query · keyᵀ / √width + mask) · value, each [..., heads, tokens, width]."""
    rank4 = [0, 1, 3, 2]
    scores = writer.node("MatMul", query, writer.node("Transpose", key, perm=rank4))
    scores = writer.node("Div", scores, writer.constant(math.sqrt(width)))
    if mask:
        scores = writer.node("Add", scores, mask)
    return writer.node("MatMul", writer.node("Softmax", scores, axis=-1), value)


def causal_mask(writer: Writer, new: int, total: int) -> str:
    """0 where a new token may look and -10000 where it may not, [new, total]."""
    later = np.arange(total)[None, :] > np.arange(total - new, total)[:, None]
    return writer.constant(np.where(later, -10000.0, 0.0))
