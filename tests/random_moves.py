"""Random moves of rarer kinds: splits, scatters, gathers by index, pads, computed shapes, and images."""

from collections.abc import Callable, Sequence

import numpy as np

from tests.random_growth import Growth, Proposal, UnfitError


def _split(growth: Growth) -> Proposal:
    """The two parts of a value in the other order."""
    x = growth.some(least_rank=1)
    axis = growth.axis(x)
    extent = growth.of(x).shape[axis]
    if extent < 2:
        raise UnfitError
    first = 1 + int(growth.generator.integers(extent - 1))
    if growth.opset >= 13:
        parts = growth.nest_all("Split", [x, growth.integers(first, extent - first)], 2, axis=axis)
    else:
        parts = growth.nest_all("Split", [x], 2, axis=axis, split=[first, extent - first])
    return "Concat", parts[::-1], {"axis": axis}


def _gather_elements(growth: Growth) -> Proposal:
    x = growth.some(least_rank=1)
    axis, shape = growth.axis(x), list(growth.of(x).shape)
    extent = shape[axis]
    shape[axis] = int(growth.pick(1, extent, extent + 1))
    places = growth.generator.integers(-extent, extent, shape)
    return "GatherElements", [x, growth.constant(places)], {"axis": axis}


def _gather_nd(growth: Growth) -> Proposal:
    x = growth.some(least_rank=2)
    shape = growth.of(x).shape
    places = np.stack([growth.generator.integers(extent, size=3) for extent in shape[:2]], axis=-1)
    return "GatherND", [x, growth.constant(places)], {}


def _gather_by_input(growth: Growth) -> Proposal:
    """Rows of a value by numbers that are an input of the model, as an embedding takes them."""
    x = growth.some(least_rank=1)
    axis = growth.axis(x)
    extent = growth.of(x).shape[axis]
    return "Gather", [x, growth.given(growth.generator.integers(extent, size=3))], {"axis": axis}


def _scatter(growth: Growth) -> Proposal:
    x = growth.some(least_rank=1)
    axis, shape = growth.axis(x), growth.of(x).shape
    order = np.argsort(growth.generator.random(shape), axis)
    places = np.take(order, range(max(1, shape[axis] // 2)), axis)
    updates = growth.weights(*places.shape)
    if growth.opset < 16 or growth.chance():
        return "ScatterElements", [x, growth.constant(places), updates], {"axis": axis}
    reductions = ("none", "add", "mul", "max", "min") if growth.opset >= 18 else ("none", "add", "mul")
    reduction = {"reduction": str(growth.pick(*reductions))}
    if growth.chance():
        return "ScatterElements", [x, growth.constant(places), updates], {"axis": axis, **reduction}
    rows = growth.generator.permutation(shape[0])[: max(1, shape[0] // 2), np.newaxis]
    return "ScatterND", [x, growth.constant(rows), growth.weights(len(rows), *shape[1:])], reduction


def _padding(growth: Growth) -> Proposal:
    x = growth.some(least_rank=1)
    shape = growth.of(x).shape
    modes = ("constant", "reflect", "edge", "wrap") if growth.opset >= 19 else ("constant", "reflect", "edge")
    mode = str(growth.pick(*modes))
    widths = [int(growth.generator.integers(min(3, extent))) for extent in (*shape, *shape)]
    if growth.opset < 11:
        return "Pad", [x], {"pads": widths, "mode": mode}
    return "Pad", [x, growth.integers(*widths), growth.number(0.5)], {"mode": mode}


def _slice(growth: Growth) -> Proposal:
    """Every second element, or all from last to first."""
    x = growth.some(least_rank=1)
    axis = growth.axis(x)
    if growth.chance():
        bounds = (growth.integers(0), growth.integers(2**31 - 1), growth.integers(axis), growth.integers(2))
    else:
        bounds = (growth.integers(-1), growth.integers(-(2**31)), growth.integers(axis), growth.integers(-1))
    return "Slice", [x, *bounds], {}


def _selection(growth: Growth) -> Proposal:
    x = growth.some(least_rank=2)
    shape = growth.of(x).shape
    operator = str(growth.pick("Compress", "ReverseSequence", "CenterCropPad", "Squeeze"))
    if operator == "Compress":
        axis = growth.axis(x)
        wanted = growth.generator.integers(2, size=shape[axis]).astype(bool)
        return operator, [x, growth.constant(wanted)], {"axis": axis}
    if operator == "ReverseSequence":
        lengths = growth.constant(growth.generator.integers(1, shape[0] + 1, size=shape[1]))
        return operator, [x, lengths], {"batch_axis": 1, "time_axis": 0}
    if operator == "CenterCropPad":
        return operator, [x, growth.integers(*growth.generator.integers(1, 7, len(shape)))], {}
    wide = growth.nest("Reshape", [x, growth.integers(*shape[:1], 1, *shape[1:])])
    return (
        ("Squeeze", [wide, growth.integers(1)], {})
        if growth.opset >= 13
        else ("Squeeze", [wide], {"axes": [1]})
    )


def _one_hot(growth: Growth) -> Proposal:
    """Rows of a value by a product with one-hot vectors."""
    x = growth.some(least_rank=2, most_rank=2)
    extent = growth.of(x).shape[0]
    rows = growth.generator.integers(extent, size=4)
    names = growth.given(rows) if growth.chance() else growth.constant(rows)
    values = growth.constant(np.array([0, 1], np.float32))
    return "MatMul", [growth.nest("OneHot", [names, growth.constant(np.array(extent)), values]), x], {}


def _computed_shape(growth: Growth) -> Proposal:
    """A shape that is computed from that of another value."""
    x = growth.some(least_rank=2)
    shape = growth.nest("Shape", [x])
    kind = growth.pick("flat", "filled", "expanded", "size", "range", "identity")
    if kind == "flat":
        rows = growth.nest("Gather", [shape, growth.integers(0)])
        return "Reshape", [x, growth.nest("Concat", [rows, growth.integers(-1)], axis=0)], {}
    if kind == "filled":
        return "Add", [x, growth.nest("ConstantOfShape", [shape])], {}
    if kind == "expanded":
        return "Expand", [growth.weights(1), shape], {}
    if kind == "size":
        flat = growth.nest("Reshape", [x, growth.integers(-1)])
        ends = growth.nest("Reshape", [growth.nest("Size", [x]), growth.integers(1)])
        return "Slice", [flat, growth.integers(1), ends], {}
    growth.single_precision = True
    if kind == "identity":
        return "Add", [x, growth.nest("EyeLike", [x], dtype=1)], {}
    steps = growth.nest("Range", [growth.number(value) for value in (0, growth.of(x).shape[-1], 1)])
    return "Add", [x, steps], {}


def _image(growth: Growth) -> Proposal:
    """Convolutions and pooling with what few models use: dilation, a bias, uneven padding, rounding up, indices."""
    x = growth.some(least_rank=4)
    channels, *extents = growth.of(x).shape[1:]
    kernel = [min(2, extent) for extent in extents]
    kind = growth.pick("conv", "same", "transposed", "average", "max", "unpool", "lp", "columns")
    if kind in ("conv", "same"):
        operands = [x, growth.weights(3, channels, *kernel), growth.weights(3)]
        if kind == "same":
            return (
                "Conv",
                operands,
                {"auto_pad": str(growth.pick("SAME_UPPER", "SAME_LOWER")), "strides": [2, 1]},
            )
        return "Conv", operands, {"dilations": [1, 2], "pads": [1, 2, 0, 1], "strides": [1, 2]}
    if kind == "transposed":
        operands = [x, growth.weights(channels, 2, *kernel), growth.weights(2)]
        return "ConvTranspose", operands, {"output_padding": [1, 0], "strides": [2, 2], "dilations": [1, 2]}
    if kind == "average":
        return (
            "AveragePool",
            [x],
            {"kernel_shape": kernel, "pads": [0, 1, 0, 1], "count_include_pad": growth.pick(0, 1)},
        )
    if kind == "max":
        return "MaxPool", [x], {"kernel_shape": kernel, "strides": [2, 2], "ceil_mode": 1}
    if kind == "lp":
        return "GlobalLpPool", [x], {"p": int(growth.pick(1, 2))}
    if kind == "columns":
        columns = growth.nest("Reshape", [x, growth.integers(1, 4, -1)])
        size = growth.of(columns).shape[2]
        return "Col2Im", [columns, growth.integers(size + 1, 2), growth.integers(2, 2)], {}
    if extents[0] % 2 or extents[1] % 2:
        raise UnfitError
    halves = {"kernel_shape": [2, 2], "strides": [2, 2]}
    return "MaxUnpool", growth.nest_all("MaxPool", [x], 2, **halves), halves


MOVES: Sequence[Callable[[Growth], Proposal]] = (
    _split,
    _gather_elements,
    _gather_nd,
    _gather_by_input,
    _scatter,
    _padding,
    _slice,
    _selection,
    _selection,
    _one_hot,
    _computed_shape,
    _computed_shape,
    _image,
    _image,
)
"""Proposals of moves and of images."""
