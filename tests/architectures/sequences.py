"""Sequence models: recurrent taggers, dilated convolutions, text recognition from images."""

import numpy as np

from tests.architectures.layers import convolution, linear
from tests.architectures.writer import SAMPLES, Architecture, Writer


def bilstm_tagger(words: int = 12, tokens: int = 4, width: int = 8, tags: int = 5) -> Architecture:
    """Embedding, a bidirectional LSTM over sequences of several lengths, log-probabilities of the tags."""
    writer = Writer("bilstm_tagger")
    batch, hidden = 2, width
    ids = writer.integers("ids", 0, words, batch, tokens)
    several = [[4, 3], [2, 4], [3, 4], [4, 2], [1, 4]]
    lengths = writer.input("lengths", np.array(several * (SAMPLES // len(several)), np.int32))
    embedded = writer.node("Gather", writer.weight(words, width, inputs=1), ids)
    first = writer.node("Transpose", embedded, perm=[1, 0, 2])
    weights = [writer.weight(2, 4 * hidden, inner, inputs=inner) for inner in (width, hidden)]
    bias = writer.constant(np.zeros((2, 8 * hidden)))
    states, last, cell = writer.nodes(
        "LSTM", 3, first, *weights, bias, lengths, hidden_size=hidden, direction="bidirectional"
    )
    turned = writer.node("Transpose", states, perm=[2, 0, 1, 3])
    flat = writer.node("Reshape", turned, writer.shape(batch, tokens, 2 * hidden))
    scores = writer.node("LogSoftmax", linear(writer, flat, 2 * hidden, tags), axis=-1)
    return writer.finish(scores, last, cell)


def gru_classifier(steps: int = 4, width: int = 6, hidden: int = 8) -> Architecture:
    """Two GRU layers with both forms of the reset gate and an initial state; the last state is classified."""
    writer = Writer("gru_classifier")
    series = writer.image("series", steps, 1, width)
    state = writer.image("state", 1, 1, hidden)
    inner, tensor = width, series
    for reset in (0, 1):
        weights = [writer.weight(1, 3 * hidden, size, inputs=size) for size in (inner, hidden)]
        bias = writer.constant(np.full((1, 6 * hidden), 0.1))
        states, last = writer.nodes(
            "GRU",
            2,
            tensor,
            *weights,
            bias,
            "",
            state,
            hidden_size=hidden,
            linear_before_reset=reset,
        )
        inner, tensor = hidden, writer.node("Squeeze", states, writer.shape(1))
    flat = writer.node("Squeeze", last, writer.shape(0))
    return writer.finish(writer.node("Softmax", linear(writer, flat, hidden, 4), axis=-1), last)


def temporal_convolution(channels: int = 8, steps: int = 32) -> Architecture:
    """Residual blocks of causal dilated 1-D convolutions with gates, as in WaveNet and TCN."""
    writer = Writer("temporal_convolution")
    tensor = writer.image("signal", 1, channels, steps)
    skips = []
    for dilation in (1, 2, 4, 8):
        pads = writer.shape(0, 0, 2 * dilation, 0, 0, 0)
        padded = writer.node("Pad", tensor, pads)
        branches = []
        for gate in ("Tanh", "Sigmoid"):
            weight = writer.weight(channels, channels, 3)
            made = writer.node("Conv", padded, weight, writer.vector(channels), dilations=[dilation])
            branches.append(writer.node(gate, made))
        gated = writer.node("Mul", *branches)
        mixed = writer.node("Conv", gated, writer.weight(channels, channels, 1), writer.vector(channels))
        skips.append(mixed)
        tensor = writer.node("Add", tensor, mixed)
    total = writer.node("Relu", writer.node("Sum", *skips))
    pooled = writer.node("GlobalAveragePool", total)
    flat = writer.node("Flatten", pooled)
    return writer.finish(writer.node("Gemm", flat, writer.weight(channels, 3, inputs=channels)), tensor)


def text_recognition(height: int = 16, width: int = 32, classes: int = 7) -> Architecture:
    """CRNN: convolutions squeeze the height, a bidirectional LSTM reads the columns."""
    writer = Writer("text_recognition")
    tensor = writer.image("image", 1, 1, height, width)
    channels = 1
    for outputs, pool in ((4, [2, 2]), (8, [2, 2]), (8, [4, 1])):
        tensor = writer.node("Relu", convolution(writer, tensor, channels, outputs, 3))
        tensor = writer.node("MaxPool", tensor, kernel_shape=pool, strides=pool)
        channels = outputs
    columns = writer.node("Transpose", writer.node("Squeeze", tensor, writer.shape(2)), perm=[2, 0, 1])
    weights = [writer.weight(2, 4 * 6, inner, inputs=inner) for inner in (channels, 6)]
    states = writer.node("LSTM", columns, *weights, hidden_size=6, direction="bidirectional")
    turned = writer.node("Transpose", states, perm=[0, 2, 1, 3])
    flat = writer.node("Reshape", turned, writer.shape(0, 0, -1))
    return writer.finish(writer.node("Softmax", linear(writer, flat, 12, classes), axis=-1))
