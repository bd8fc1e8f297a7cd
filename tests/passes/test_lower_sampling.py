"""Grid sampling as a product with weights, against onnxruntime."""

import numpy as np
import pytest
from tvm import ir, relax

from passes.lower_sampling import MOST_WEIGHTS, lower_sampling
from targets.cpu import interpret
from tests.passes.oracle import onnx_node
from tests.passes.support import build_module, listing, random_array

IMAGES, GRID = (2, 3, 4, 5), (2, 3, 6, 2)


def sampled(images: tuple[int, ...], grid: tuple[int, ...], **attributes: object) -> ir.IRModule:
    """A module that samples images at a grid whose last axis is the second, as Relax has it."""
    return build_module(lambda _, x, g: relax.op.image.grid_sample(x, g, **attributes), images, grid)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
def test_samples_inside_and_outside_an_image_are_onnxruntimes(
    method: str, padding: str, align_corners: bool
) -> None:
    images = random_array(*IMAGES, seed=1)
    grid = np.random.default_rng(2).uniform(-2.5, 2.5, GRID).astype(np.float32)
    expected = onnx_node(
        "GridSample", images, grid, mode=method, padding_mode=padding, align_corners=int(align_corners)
    )
    module = sampled(IMAGES, (2, 2, 3, 6), method=method, padding_mode=padding, align_corners=align_corners)
    lowered = lower_sampling(module)
    assert not any("grid_sample" in line for line in listing(lowered))
    # places are off by float32's rounding of a few numbers below 20, weights by twice as much, sums of 16 elements below 3
    result = interpret(lowered).run([images, np.ascontiguousarray(grid.transpose(0, 3, 1, 2))])
    np.testing.assert_allclose(result, expected, atol=16 * 3 * 2 * 20 * 2.0**-23)


def test_a_matrix_of_weights_that_is_too_large_is_left_to_the_host() -> None:
    side = int(MOST_WEIGHTS**0.25) + 1
    module = sampled((1, 1, side, side), (1, 2, side, side))
    assert any("grid_sample" in line for line in listing(lower_sampling(module)))
