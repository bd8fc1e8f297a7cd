"""Decoders: GPT-2's shape with a cache of keys and values, and a mixture of experts."""

import numpy as np

from tests.architectures.layers import (
    attend,
    causal_mask,
    gelu_by_tanh,
    join_heads,
    layer_norm,
    linear,
    silu,
    split_heads,
)
from tests.architectures.writer import Architecture, Writer


def gpt2(
    layers: int = 2, width: int = 16, heads: int = 2, cached: int = 6, new: int = 2, words: int = 12
) -> Architecture:
    """Token and position embeddings, attention over cached and new tokens, logits from the tied embeddings."""
    writer = Writer("gpt2")
    head, total = width // heads, cached + new
    ids = writer.integers("ids", 0, words, 1, new)
    table = writer.weight(words, width, inputs=1)
    positions = writer.weight(total, width, inputs=10)
    place = writer.constant(np.arange(cached, total)[None], np.int64)
    tensor = writer.node("Add", writer.node("Gather", table, ids), writer.node("Gather", positions, place))
    mask, presents = causal_mask(writer, new, total), []
    for layer in range(layers):
        joined = linear(writer, layer_norm(writer, tensor, width), width, 3 * width)
        parts = writer.nodes("Split", 3, joined, writer.shape(width, width, width), axis=2)
        query, key, value = (split_heads(writer, part, new, heads, head) for part in parts)
        key = writer.node("Concat", writer.image(f"past_key{layer}", 1, heads, cached, head), key, axis=2)
        value = writer.node(
            "Concat", writer.image(f"past_value{layer}", 1, heads, cached, head), value, axis=2
        )
        presents += [key, value]
        mixed = join_heads(writer, attend(writer, query, key, value, head, mask), new)
        tensor = writer.node("Add", tensor, linear(writer, mixed, width, width))
        hidden = linear(writer, layer_norm(writer, tensor, width), width, 4 * width)
        tensor = writer.node("Add", tensor, linear(writer, gelu_by_tanh(writer, hidden), 4 * width, width))
    tied = writer.node("Transpose", table, perm=[1, 0])
    logits = writer.node("MatMul", layer_norm(writer, tensor, width), tied)
    return writer.finish(logits, *presents)


def mixture_of_experts(tokens: int = 6, width: int = 8, experts: int = 4, chosen: int = 2) -> Architecture:
    """A router's best experts for each token, weighted by their softmax; every expert runs on every token."""
    writer = Writer("mixture_of_experts")
    tensor = writer.image("tokens", tokens, width)
    routed = linear(writer, tensor, width, experts)
    best, order = writer.nodes("TopK", 2, routed, writer.shape(chosen), axis=-1)
    shares = writer.node("Softmax", best, axis=-1)
    nothing = writer.constant(np.zeros((tokens, experts)))
    gates = writer.node("ScatterElements", nothing, order, shares, axis=1)
    gates = writer.node("Unsqueeze", writer.node("Transpose", gates, perm=[1, 0]), writer.shape(2))
    up, gate, down = (
        writer.weight(experts, *extents, inputs=extents[0])
        for extents in ((width, 2 * width), (width, 2 * width), (2 * width, width))
    )
    hidden = writer.node(
        "Mul", silu(writer, writer.node("MatMul", tensor, gate)), writer.node("MatMul", tensor, up)
    )
    weighted = writer.node("Mul", writer.node("MatMul", hidden, down), gates)
    mixed = writer.node("ReduceSum", weighted, writer.shape(0), keepdims=0)
    return writer.finish(writer.node("Add", tensor, mixed))
