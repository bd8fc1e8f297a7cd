"""Random functions with a domain, of rarer names, and statistics over several axes."""

from collections.abc import Callable, Sequence

import numpy as np

from tests.random_growth import Growth, Proposal, UnfitError


def _positive(growth: Growth, least: float) -> str:
    """|x| + least."""
    return growth.nest("Add", [growth.nest("Abs", [growth.some()]), growth.number(least)])


def _of_positive(growth: Growth) -> Proposal:
    operator = str(growth.pick("Sqrt", "Log", "Reciprocal", "Acosh", "Pow"))
    x = _positive(growth, 1.5 if operator == "Acosh" else 0.5)
    return operator, [x, growth.number(growth.pick(-1, -0.5, 0.5, 1.5))] if operator == "Pow" else [x], {}


def _of_bounded(growth: Growth) -> Proposal:
    x = growth.nest("Mul", [growth.nest("Tanh", [growth.some()]), growth.number(0.8)])
    return str(growth.pick("Asin", "Acos", "Atanh", "Tan")), [x], {}


def _of_any(growth: Growth) -> Proposal:
    x = growth.some()
    operator = str(
        growth.pick("Sinh", "Cosh", "Asinh", "Atan", "Shrink", "SwiGLU", "HardSigmoid", "CastLike")
    )
    if operator == "CastLike":
        return operator, [x, growth.some()], {}
    return operator, [x], {"lambd": 0.5, "bias": 0.5} if operator == "Shrink" else {}


def _quotient_of_values(growth: Growth) -> Proposal:
    divisor = _positive(growth, 0.5)
    shape = growth.of(divisor).shape
    same = [name for name, value in growth.values.items() if value.shape == shape]
    return "Div", [str(growth.pick(*same)), divisor], {}


def _wide_reduction(growth: Growth) -> Proposal:
    """A reduction over several axes, or all, of which some have a domain."""
    operator = str(
        growth.pick("ReduceL2", "ReduceProd", "ReduceLogSum", "ReduceMax", "ReduceMean", "ReduceSum")
    )
    x = _positive(growth, 0.5) if operator == "ReduceLogSum" else growth.some()
    rank = growth.of(x).ndim
    axes = [axis for axis in range(rank) if growth.chance()]
    keep = {"keepdims": int(growth.chance())}
    if not axes:
        return operator, [x], keep
    if growth.opset >= 18 or (operator == "ReduceSum" and growth.opset >= 13):
        return operator, [x, growth.integers(*axes)], keep
    return operator, [x], {"axes": axes, **keep}


def _rare_normalisation(growth: Growth) -> Proposal:
    x = growth.some(least_rank=2)
    shape = growth.of(x).shape
    operator = str(
        growth.pick(
            "GroupNormalization", "LpNormalization", "MeanVarianceNormalization", "LayerNormalization"
        )
    )
    if operator == "LpNormalization":
        # for p = 1 the evaluator sums the elements, not their sizes
        return operator, [x], {"axis": growth.axis(x), "p": 2}
    if operator == "MeanVarianceNormalization":
        return operator, [x], {"axes": [0, *range(2, len(shape))]}
    if operator == "LayerNormalization":
        scales = [growth.weights(*shape[-2:]), growth.weights(*shape[-2:])]
        return (operator, [x, *scales], {"axis": -2}) if np.prod(shape[-2:]) > 2 else None
    if growth.opset < 21 or np.prod(shape[2:]) <= 2:
        return None
    scales = [growth.weights(shape[1]), growth.weights(shape[1])]
    return operator, [x, *scales], {"num_groups": int(growth.pick(1, shape[1]))}


def _rotation(growth: Growth) -> Proposal:
    """Rotary embedding of [batch, heads, length, size]."""
    x = growth.some(least_rank=4)
    batch, _, length, size = growth.of(x).shape
    angles = growth.generator.standard_normal((batch, length, size // 2))
    tables = [growth.constant(f(angles).astype(np.float32)) for f in (np.cos, np.sin)]
    return "RotaryEmbedding", [x, *tables], {"interleaved": int(growth.chance())}


def _attention(growth: Growth) -> Proposal:
    """Attention of [batch, length, size] with itself, or with other keys."""
    x = growth.some(least_rank=3, most_rank=4)
    if growth.of(x).ndim == 4:
        return "Attention", [x, x, x], {"is_causal": int(growth.chance())}
    heads = int(growth.pick(1, 2))
    if growth.of(x).shape[2] % heads:
        raise UnfitError
    keys = growth.nest("MatMul", [x, growth.weights(growth.of(x).shape[2], growth.of(x).shape[2])])
    counts = {"q_num_heads": heads, "kv_num_heads": heads}
    return "Attention", [x, keys, x], {**counts, "is_causal": int(growth.chance())}


def _transform(growth: Growth) -> Proposal:
    """A discrete Fourier transform, or what windows leave of a signal."""
    if growth.chance():
        x = growth.some(least_rank=1)
        length = growth.integers(growth.of(x).shape[-1])
        size = growth.nest("Squeeze", [length])
        window = growth.nest(str(growth.pick("HannWindow", "HammingWindow", "BlackmanWindow")), [size])
        growth.single_precision = True
        return "Mul", [x, window], {}
    x = growth.some(least_rank=2, most_rank=3)
    signal = growth.nest("Unsqueeze", [x, growth.integers(-1)])
    growth.single_precision = True
    if growth.opset >= 20:
        length = growth.constant(np.array(growth.of(x).shape[-1]))
        return "DFT", [signal, length, growth.integers(-2)], {"onesided": int(growth.chance())}
    return "DFT", [signal], {"axis": growth.of(x).ndim - 1, "onesided": int(growth.chance())}


FUNCTIONS: Sequence[Callable[[Growth], Proposal]] = (
    _of_positive,
    _of_bounded,
    _of_any,
    _quotient_of_values,
    _wide_reduction,
    _rare_normalisation,
    _rotation,
    _attention,
    _transform,
)
"""Proposals of functions and statistics beyond the common ones."""
