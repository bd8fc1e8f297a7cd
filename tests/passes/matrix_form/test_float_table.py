"""A table in floats picks the segment that its boundaries say, whatever the number of either."""

from types import SimpleNamespace

import numpy as np
import pytest

from passes.matrix_form.pwl import float_pwl
from targets.cpu import build
from tests.passes.support import build_module


@pytest.mark.parametrize("segments", [1, 2, 16, 17, 34, 300, 512])
def test_each_element_lies_on_the_line_of_its_segment(segments: int) -> None:
    generator = np.random.default_rng(segments)
    boundaries = np.sort(generator.standard_normal(segments - 1)).astype(np.float32)
    slopes, intercepts = generator.standard_normal((2, segments)).astype(np.float32)
    table = SimpleNamespace(
        # TensorIR has no buffers of no elements
        boundaries=boundaries if segments > 1 else np.array([0.0]),
        slopes=slopes,
        intercepts=intercepts,
    )
    # whole vectors, a part of one, each boundary itself and its neighbours
    ends = [np.nextafter(boundaries, -np.inf), boundaries, np.nextafter(boundaries, np.inf)]
    x = np.concatenate([generator.standard_normal(5003) * 2, *ends]).astype(np.float32)
    module = build_module(lambda emitter, x: float_pwl(emitter, x, table), x.shape)
    segment = np.searchsorted(boundaries, x, side="right")
    expected = slopes[segment].astype(np.float64) * x + intercepts[segment]
    bound = 2 * np.finfo(np.float32).eps * (np.abs(slopes[segment] * x) + np.abs(intercepts[segment]))
    assert (np.abs(build(module).run([x])[0] - expected) <= bound).all()
