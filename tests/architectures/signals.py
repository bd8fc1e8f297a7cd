"""Audio and diffusion: spectrograms, and the residual and attention blocks of a denoiser."""

import numpy as np

from tests.architectures.layers import attend, convolution, join_heads, linear, silu, split_heads
from tests.architectures.writer import SAMPLES, Architecture, Writer


def audio_classifier(
    samples: int = 160, frame: int = 32, step: int = 16, mels: int = 8, floor: float = 0.1
) -> Architecture:
    """STFT, power, mel filters and the logarithm above a floor, then convolutions.

    The filters' product reads the power in 16 bits, whose step the floor must exceed.
    """
    writer = Writer("audio_classifier")
    signal = writer.image("signal", 1, samples)
    window = writer.constant(np.hanning(frame))
    spectrum = writer.node(
        "STFT",
        writer.node("Unsqueeze", signal, writer.shape(2)),
        writer.constant(step, np.int64),
        window,
        onesided=1,
    )
    power = writer.node("ReduceSumSquare", spectrum, writer.shape(3), keepdims=0)
    filters = writer.node(
        "MelWeightMatrix",
        writer.constant(mels, np.int64),
        writer.constant(frame, np.int64),
        writer.constant(8000, np.int64),
        writer.constant(0.0),
        writer.constant(4000.0),
    )
    mel = writer.node("MatMul", power, filters)
    loud = writer.node("Log", writer.node("Add", mel, writer.constant(floor)))
    image = writer.node("Unsqueeze", loud, writer.shape(1))
    tensor = writer.node("Relu", convolution(writer, image, 1, 4, 3, stride=2))
    tensor = writer.node("Relu", convolution(writer, tensor, 4, 8, 3, stride=2))
    flat = writer.node("Flatten", writer.node("GlobalMaxPool", tensor))
    return writer.finish(writer.node("Gemm", flat, writer.weight(8, 5, inputs=8), writer.vector(5)), loud)


def denoiser(size: int = 8, width: int = 8, context: int = 5) -> Architecture:
    """A diffusion U-Net's block: group normalisation, SiLU, a time embedding, cross-attention to a text."""
    writer = Writer("denoiser", opset=21)
    latent = writer.image("latent", 1, width, size, size)
    text = writer.image("text", 1, context, 12)
    time = writer.input("time", np.linspace(3, 40, SAMPLES, dtype=np.float32)[:, None])
    angles = writer.node("Mul", time, writer.constant(np.exp(-np.arange(4) * 1.5)))
    embedded = writer.node("Concat", writer.node("Sin", angles), writer.node("Cos", angles), axis=0)
    shift = linear(writer, silu(writer, linear(writer, embedded, 8, 16)), 16, width)
    tensor = silu(writer, _group_norm(writer, latent, width))
    tensor = convolution(writer, tensor, width, width, 3)
    tensor = writer.node("Add", tensor, writer.node("Reshape", shift, writer.shape(1, width, 1, 1)))
    tensor = convolution(writer, silu(writer, _group_norm(writer, tensor, width)), width, width, 3)
    latent = writer.node("Add", latent, tensor)
    flat = writer.node("Reshape", _group_norm(writer, latent, width), writer.shape(1, width, size * size))
    tokens = writer.node("Transpose", flat, perm=[0, 2, 1])
    query = split_heads(writer, linear(writer, tokens, width, width), size * size, 2, width // 2)
    key, value = (
        split_heads(writer, linear(writer, text, 12, width), context, 2, width // 2) for _ in range(2)
    )
    mixed = linear(
        writer, join_heads(writer, attend(writer, query, key, value, width // 2), size * size), width, width
    )
    turned = writer.node("Transpose", mixed, perm=[0, 2, 1])
    return writer.finish(
        writer.node("Add", latent, writer.node("Reshape", turned, writer.shape(1, width, size, size)))
    )


def _group_norm(writer: Writer, tensor: str, width: int) -> str:
    factors = [writer.vector(width, mean) for mean in (1.0, 0.0)]
    return writer.node("GroupNormalization", tensor, *factors, num_groups=2, epsilon=1e-5)
