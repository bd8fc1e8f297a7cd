"""Sampling between the elements of an image: deformable convolution and the pooling of regions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tvm import relax

from nmc.frontend import tvm_converters
from nmc.frontend.converters.convolution import add_channel_bias
from nmc.frontend.converters.linear import matmul
from nmc.frontend.converters.registry import converts
from nmc.frontend.converters.windows import Window, window_of
from nmc.frontend.emitter import Emitter, shape_of
from nmc.frontend.values import ConversionError, Node, Value

MOST_WEIGHTS = 1 << 22
"""Elements of a constant sampling matrix (16 MiB); beyond, regions are sampled element by element."""


@converts("DeformConv")
def _deform_conv(emitter: Emitter, node: Node) -> Sequence[Value]:
    """Every tap of the kernel is sampled at its place plus an offset, then one product with the weights."""
    x, weight, offset = node.tensor(0), node.tensor(1), node.tensor(2)
    if len(shape_of(x)) != 4:
        raise ConversionError(f"has {len(shape_of(x)) - 2} spatial dimensions; 2 are supported")
    window = window_of(node, shape_of(weight)[2:], shape_of(x)[2:])
    groups, offset_groups = (int(node.attributes.get(name, 1)) for name in ("group", "offset_group"))
    batch, channels = shape_of(x)[:2]
    taps, places = int(np.prod(window.kernel)), shape_of(offset)[2:]
    flat = int(np.prod(places))
    split = emitter.reshape(offset, (batch, offset_groups, taps, 2, flat))
    rows, columns = (
        emitter.call(
            relax.op.add,
            emitter.reshape(emitter.slice(split, 3, axis, axis + 1), (batch, offset_groups, taps, flat)),
            first_places(window, places)[axis],
        )
        for axis in (0, 1)
    )
    samples = sample_bilinear(emitter, x, rows, columns)
    if node.input(4) is not None:
        mask = emitter.reshape(node.tensor(4), (batch, offset_groups, 1, taps, flat))
        samples = emitter.call(relax.op.multiply, samples, mask)
    terms = channels // groups * taps
    matrix = emitter.reshape(samples, (batch, groups, terms, flat))
    outputs = shape_of(weight)[0]
    product = matmul(emitter, emitter.reshape(weight, (groups, outputs // groups, terms)), matrix)
    result: Value = emitter.reshape(product, (batch, outputs, *places))
    return [result if node.input(3) is None else add_channel_bias(emitter, result, node.tensor(3))]


def first_places(window: Window, places: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Row and column that each tap reads where its offset is zero, shape [taps, outputs] each, float32."""
    steps = [
        np.arange(kernel)[:, None] * dilation + np.arange(count)[None, :] * stride - pad
        for kernel, dilation, stride, pad, count in zip(
            window.kernel, window.dilations, window.strides, window.pads, places, strict=False
        )
    ]
    rows = np.broadcast_to(steps[0][:, None, :, None], (*window.kernel, *places))
    columns = np.broadcast_to(steps[1][None, :, None, :], (*window.kernel, *places))
    taps = int(np.prod(window.kernel))
    return rows.reshape(taps, -1).astype(np.float32), columns.reshape(taps, -1).astype(np.float32)


def sample_bilinear(emitter: Emitter, x: Value, rows: Value, columns: Value) -> Value:
    """Interpolate `x` [batch, channels, height, width] at places computed at run time; zero outside.

    `rows` and `columns` have shape [batch, groups, taps, outputs], a group for each equal share of the
    channels; the result is [batch, groups, channels a group, taps, outputs].
    """
    batch, channels, height, width = shape_of(x)
    groups, taps, outputs = shape_of(rows)[1:]
    images = emitter.reshape(x, (batch * groups, channels // groups, height, width))
    grid = emitter.concat(
        [
            emitter.reshape(_on_grid(emitter, places, size), (batch * groups, 1, taps, outputs))
            for places, size in ((columns, width), (rows, height))
        ],
        axis=1,
    )
    sampled = emitter.call(relax.op.image.grid_sample, images, grid, align_corners=False)
    return emitter.reshape(sampled, (batch, groups, channels // groups, taps, outputs))


def _on_grid(emitter: Emitter, places: Value, size: int) -> Value:
    """Places in elements as -1 at the first element's outer edge to 1 at the last one's."""
    scaled = emitter.call(relax.op.multiply, places, np.float32(2 / size))
    return emitter.call(relax.op.add, scaled, np.float32(1 / size - 1))


@dataclass(frozen=True)
class Corners:
    """The elements that a region's samples read: shape [outputs, samples, 4] each."""

    places: np.ndarray
    """Into the image flattened to batch·height·width."""
    weights: np.ndarray
    """How much of each element a sample takes."""
    used: np.ndarray
    """[outputs, samples]: samples that fill up outputs with fewer than others are not used."""


@converts("RoiAlign")
def _roi_align(emitter: Emitter, node: Node) -> Sequence[Value]:
    """Constant regions: a product with a constant matrix, or the maximum of the weighted elements."""
    x, mode = node.tensor(0), node.attributes.get("mode", "avg")
    batch, channels, height, width = shape_of(x)
    height_out, width_out = (int(node.attributes.get(f"output_{name}", 1)) for name in ("height", "width"))
    outputs = shape_of(node.tensor(1))[0] * height_out * width_out
    known = all(isinstance(node.input(index), np.ndarray) for index in (1, 2))
    if mode == "avg" and (not known or batch * height * width * outputs > MOST_WEIGHTS):
        return tvm_converters.convert(emitter, node)
    corners = _corners_of(node, height, width, height_out, width_out)
    flat = emitter.reshape(emitter.transpose(x, [1, 0, 2, 3]), (channels, batch * height * width))
    if mode == "avg":
        matrix = np.zeros((batch * height * width, outputs))
        counts = np.maximum(corners.used.sum(1), 1)[:, None, None]
        columns = np.broadcast_to(np.arange(outputs)[:, None, None], corners.places.shape)
        np.add.at(matrix, (corners.places, columns), corners.weights * corners.used[..., None] / counts)
        found: Value = matmul(emitter, flat, matrix.astype(np.float32))
    else:
        read = emitter.take(flat, corners.places.reshape(-1), 1)
        weighted = emitter.call(relax.op.multiply, read, corners.weights.reshape(-1).astype(np.float32))
        terms = emitter.reshape(weighted, (channels, outputs, -1))
        found = emitter.call(relax.op.max, terms, axis=2)
    rows = emitter.reshape(found, (channels, -1, height_out, width_out))
    return [emitter.transpose(rows, [1, 0, 2, 3])]


def _corners_of(node: Node, height: int, width: int, height_out: int, width_out: int) -> Corners:
    """What every output reads (ONNX RoiAlign; He et al. 2017, "Mask R-CNN", section 3)."""
    regions, images = node.constant(1), node.constant(2)
    if regions is None or images is None:
        raise ConversionError("has no regions or batch indices")
    centred = node.attributes.get("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    half = centred and node.opset >= 16
    ratio = int(node.attributes.get("sampling_ratio", 0))
    scaled = regions.astype(np.float64) * float(node.attributes.get("spatial_scale", 1.0)) - 0.5 * half
    lists: list[tuple[np.ndarray, np.ndarray]] = []
    for (left, top, right, bottom), image in zip(scaled, images, strict=True):
        extents = [bottom - top, right - left]
        sizes = [
            (e if half else max(e, 1.0)) / n for e, n in zip(extents, (height_out, width_out), strict=True)
        ]
        grid = [ratio if ratio > 0 else int(np.ceil(size)) for size in sizes]
        rows = _axis_corners(top, sizes[0], height_out, grid[0], height)
        columns = _axis_corners(left, sizes[1], width_out, grid[1], width)
        lists += _crossed(rows, columns, width, int(image) * height * width)
    return _filled_up(lists)


def _axis_corners(start: float, size: float, count: int, samples: int, extent: int) -> np.ndarray:
    """[count, samples, 2 elements, (place, weight)] along one axis; weights are zero outside the image."""
    offsets = (np.arange(samples) + 0.5) * size / max(samples, 1)
    places = start + np.arange(count)[:, None] * size + offsets[None, :]
    inside = (places >= -1.0) & (places <= extent)
    places = np.clip(places, 0, extent - 1)
    low = np.minimum(places.astype(np.int64), extent - 1)
    part = places - low
    pairs = [(low, 1 - part), (np.minimum(low + 1, extent - 1), part)]
    return np.stack([np.stack([place, weight * inside], -1) for place, weight in pairs], -2)


def _crossed(
    rows: np.ndarray, columns: np.ndarray, width: int, first: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places and weights [samples, 4] of each output of one region, rows times columns."""
    found = []
    for row in rows:
        for column in columns:
            place = first + row[:, None, :, None, 0] * width + column[None, :, None, :, 0]
            weight = row[:, None, :, None, 1] * column[None, :, None, :, 1]
            outside = (row[..., 1].sum(-1)[:, None] * column[..., 1].sum(-1)[None, :]) == 0
            place = np.where(outside[:, :, None, None], 0, place)
            found.append((place.reshape(-1, 4).astype(np.int64), weight.reshape(-1, 4)))
    return found


def _filled_up(lists: Sequence[tuple[np.ndarray, np.ndarray]]) -> Corners:
    """Equal numbers of samples for all outputs: the first is repeated, which no maximum notices."""
    most = max((len(places) for places, _ in lists), default=0)
    places, weights = np.zeros((len(lists), most, 4), np.int64), np.zeros((len(lists), most, 4))
    used = np.zeros((len(lists), most), bool)
    for index, (place, weight) in enumerate(lists):
        count = len(place)
        used[index, :count] = True
        if count:
            places[index], weights[index] = place[0], weight[0]
            places[index, :count], weights[index, :count] = place, weight
    return Corners(places, weights, used)
