"""Random nodes of whole layers and of rarer operators."""

from collections.abc import Callable, Sequence

import numpy as np

from tests.random_growth import Growth, Proposal


def _gate(growth: Growth) -> Proposal:
    """A nonlinear function that came later, or with bounds or slopes of its own."""
    x = growth.value()
    if x is None:
        return None
    channels = growth.values[x].shape[-1:]
    slopes = growth.constant(np.abs(growth.generator.standard_normal(channels)).astype(np.float32))
    operator = str(growth.pick("Clip", "PRelu", "Mish", "Gelu", "Swish", "Exp", "Dropout"))
    if operator == "Clip" and growth.opset < 11:
        return operator, [x], {"min": -0.6, "max": 0.9}
    if operator == "Clip":
        return operator, [x, *(growth.constant(np.float32(bound)) for bound in (-0.6, 0.9))], {}
    if operator == "PRelu":
        return operator, [x, slopes], {}
    if operator == "Gelu":
        return operator, [x], {"approximate": str(growth.pick("none", "tanh"))}
    return operator, [x], {}


def _quotient(growth: Growth) -> Proposal:
    """A division by, or a power of, numbers that stay away from zero."""
    x = growth.value()
    if x is None:
        return None
    if growth.chance():
        return "Pow", [x, growth.constant(np.float32(growth.pick(1, 2, 3)))], {}
    divisor = 0.5 + np.abs(growth.generator.standard_normal(growth.values[x].shape[-1:]))
    return "Div", [x, growth.constant(divisor.astype(np.float32))], {}


def _choice(growth: Growth) -> Proposal:
    """One of two values by a constant mask."""
    x = growth.value(least_rank=1)
    if x is None or growth.opset < 9:
        return None
    shape = growth.values[x].shape
    mask = growth.constant(growth.generator.integers(2, size=shape).astype(bool))
    return "Where", [mask, x, growth.weights(shape[-1])], {}


def _statistics(growth: Growth) -> Proposal:
    """A normalisation by stored or computed statistics."""
    x = growth.value(least_rank=3)
    if x is None:
        return None
    shape = growth.values[x].shape
    channels, spatial = shape[1], int(np.prod(shape[2:]))
    scale, shift = growth.weights(channels), growth.weights(channels)
    operator = str(growth.pick("BatchNormalization", "InstanceNormalization", "LRN", "RMSNormalization"))
    if operator == "BatchNormalization":
        if growth.opset < 14:
            return None  # there the evaluator takes the statistics of the batch
        variance = growth.constant((0.5 + growth.generator.random(channels)).astype(np.float32))
        return operator, [x, scale, shift, growth.weights(channels), variance], {"epsilon": 1e-3}
    if operator == "LRN":  # the evaluator fills as many channels as the batch has images
        return (operator, [x], {"size": 3, "alpha": 0.1}) if shape[0] == channels else None
    if operator == "RMSNormalization":
        return (operator, [x, growth.weights(shape[-1])], {}) if shape[-1] > 2 else None
    return (operator, [x, scale, shift], {"epsilon": 1e-3}) if spatial > 2 else None


def _rearrangement(growth: Growth) -> Proposal:
    """A move between axes, a part of the whole, or a larger image."""
    x = growth.value(least_rank=2)
    if x is None:
        return None
    shape, operator = (
        growth.values[x].shape,
        str(growth.pick("DepthToSpace", "SpaceToDepth", "Trilu", "Resize")),
    )
    if operator == "Trilu":
        return (
            operator,
            [x, growth.constant(np.int64(growth.pick(-1, 0, 1)))],
            {"upper": int(growth.chance())},
        )
    if len(shape) != 4:
        return None
    if operator == "Resize":
        return _resized(growth, x)
    return operator, [x], {"blocksize": 2}


def _resized(growth: Growth, x: str) -> Proposal:
    """An image of another size by scales that are powers of two, where all know the size of the result."""
    growth.single_precision = True  # the factors are float32
    scales = growth.constant(np.array([1, 1, growth.pick(0.5, 1, 2), 2], np.float32))
    mode = str(growth.pick("nearest", "linear"))
    if growth.opset < 11:
        return ("Upsample", [x, scales], {"mode": mode}) if growth.opset == 9 else None
    transform = str(growth.pick("half_pixel", "asymmetric"))
    region = growth.constant(np.zeros(0, np.float32))
    return "Resize", [x, region, scales], {"mode": mode, "coordinate_transformation_mode": transform}


def _recurrence(growth: Growth) -> Proposal:
    """A recurrent layer over the first axis."""
    x = growth.value(least_rank=3, most_rank=3)
    if x is None:
        return None
    operator, gates = growth.pick(("RNN", 1), ("GRU", 3), ("LSTM", 4))
    size, hidden = growth.values[x].shape[2], 3
    # the evaluator knows one direction, from the first time step to the last
    weights = [growth.weights(1, gates * hidden, n) for n in (size, hidden)]
    return str(operator), [x, *weights, growth.weights(1, 2 * gates * hidden)], {"hidden_size": hidden}


def _contraction(growth: Growth) -> Proposal:
    """A product of a value with weights, or with itself, in Einstein's notation; or a determinant."""
    x = growth.value(least_rank=3, most_rank=3)
    if x is None:
        return None
    shape, operator = growth.values[x].shape, str(growth.pick("Einsum", "Einsum", "Det"))
    if operator == "Det":
        return (operator, [x], {}) if _is_well_conditioned(growth.values[x]) else None
    if growth.chance():
        return operator, [x, x], {"equation": str(growth.pick("bij,bkj->bik", "bij,bij->bj"))}
    return operator, [x, growth.weights(2, shape[2], shape[1])], {"equation": "bij,oji->bo"}


def _is_well_conditioned(matrices: np.ndarray) -> bool:
    """Whether determinants are within a factor of 20 of Hadamard's bound, whose rounding they share."""
    if matrices.shape[-1] != matrices.shape[-2]:
        return False
    bound = np.prod(np.linalg.norm(matrices, axis=-1), axis=-1)
    return bool((np.abs(np.linalg.det(matrices)) > bound / 20).all())


def _sampling(growth: Growth) -> Proposal:
    """Pooling of regions, or a pooling by powers."""
    x = growth.value(least_rank=4)
    if x is None:
        return None
    batch, _, *spatial = growth.values[x].shape
    # before operator set 16 regions were not moved by half an element, which the evaluator does not know
    if growth.opset < 16 or growth.chance():
        kernel = [min(2, extent) for extent in spatial]
        return "LpPool", [x], {"kernel_shape": kernel, "p": 2}
    corners = growth.generator.random((2, 2)) * 2
    regions = np.concatenate([corners, corners + 1 + growth.generator.random((2, 2)) * 2], axis=1)
    images = growth.integers(0, batch - 1)
    sizes = {"output_height": 2, "output_width": 2, "sampling_ratio": int(growth.pick(0, 2))}
    return "RoiAlign", [x, growth.constant(regions.astype(np.float32)), images], sizes


LAYERS: Sequence[Callable[[Growth], Proposal]] = (
    _gate,
    _gate,
    _quotient,
    _choice,
    _statistics,
    _statistics,
    _rearrangement,
    _recurrence,
    _contraction,
    _sampling,
)
"""Proposals of the operators that models have in some places only."""
