"""Reductions as products with ones and trees, against numpy in float64."""

from collections.abc import Callable

import numpy as np
import pytest
from tvm import ir, relax

from passes.lower_reductions import lower_reductions
from passes.rewrite import Emitter
from tests.passes.support import build_module, listing, random_array, run

SHAPE = (2, 5, 3, 7)

AXES: list[list[int] | None] = [None, [0], [2], [-1], [0, 3], [1, 2], [2, 0, 1]]
"""Outer, inner, leading and separated axes of a tensor of rank four, and all of them."""

FLUSHED_TO_ZERO = float(np.finfo(np.float32).tiny)
"""Products below this may be zero."""

NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "prod": np.prod,
    "variance": np.var,
    "std": np.std,
}


def lowered(
    name: str, shape: tuple[int, ...], *axes: list[int] | None, keepdims: bool = False
) -> ir.IRModule:
    """One result for each choice of axes."""

    def body(emitter: Emitter, x: relax.Expr) -> relax.Expr | tuple[relax.Expr, ...]:
        results = [getattr(relax.op, name)(x, axis=over, keepdims=keepdims) for over in axes]
        return results[0] if len(results) == 1 else tuple(results)

    return lower_reductions(build_module(body, shape))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", NUMPY)
def test_a_reduction_over_any_axes_computes_what_numpy_does(name: str, keepdims: bool) -> None:
    data = random_array(*SHAPE, seed=1)
    module = lowered(name, SHAPE, *AXES, keepdims=keepdims)
    for axes, result in zip(AXES, run(module, data), strict=True):
        over = None if axes is None else tuple(axes)
        expected = NUMPY[name](data.astype(np.float64), axis=over, keepdims=keepdims)
        assert result.shape == expected.shape
        # as many float32 operations as elements, each with a relative error below 2^-24 of what it adds up
        relative = 2.0 * data.size * 2.0**-24
        scale = np.abs(data).sum() if name == "sum" else max(float(np.abs(data).max()), 1.0) ** 2
        bounds = {"max": 0.0, "min": 0.0, "prod": relative * np.abs(expected).max() + FLUSHED_TO_ZERO}
        np.testing.assert_allclose(result, expected, rtol=0, atol=bounds.get(name, relative * scale))
    assert not any(f" {name}(" in line for line in listing(module))


@pytest.mark.parametrize("extent", range(1, 18))
def test_a_tree_reduces_any_number_of_elements(extent: int) -> None:
    data = random_array(3, extent, seed=extent)
    for name in ("max", "prod"):
        expected = NUMPY[name](data.astype(np.float64), axis=1)
        result = run(lowered(name, data.shape, [1]), data)[0]
        np.testing.assert_allclose(result, expected, rtol=extent * 2.0**-24)


def test_the_halves_of_an_odd_number_overlap_in_a_maximum() -> None:
    assert listing(lowered("max", (4, 3), [1])) == [
        "y#1 = strided_slice(x0, (T.int64(1)), (T.int64(0)), (T.int64(2)), (T.int64(1)))",
        "y#2 = strided_slice(x0, (T.int64(1)), (T.int64(1)), (T.int64(3)), (T.int64(1)))",
        "y#3 = maximum(y#1, y#2)",
        "y#4 = strided_slice(y#3, (T.int64(1)), (T.int64(0)), (T.int64(1)), (T.int64(1)))",
        "y#5 = strided_slice(y#3, (T.int64(1)), (T.int64(1)), (T.int64(2)), (T.int64(1)))",
        "y#6 = maximum(y#4, y#5)",
        "y = reshape(y#6, [4])",
    ]


def test_a_mean_is_a_product_with_one_constant_column() -> None:
    assert listing(lowered("mean", (2, 4, 8), [2], keepdims=True)) == [
        "y#1 = reshape(x0, [1, 8, 8])",
        "y#2 = matmul(y#1, const[1, 8, 1])",
        "y = reshape(y#2, [2, 4, 1])",
    ]


def test_a_reduction_of_integers_stays_on_the_host() -> None:
    module = lower_reductions(build_module(lambda emitter, x: relax.op.sum(x, axis=1), ((2, 3), "int64")))
    assert listing(module) == ["y = sum(x0)"]


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("extent", [1, 2, 5, 8])
def test_a_cumulative_product_is_doubled(extent: int, exclusive: bool) -> None:
    data = random_array(3, extent, seed=2)
    module = lower_reductions(
        build_module(lambda emitter, x: relax.op.cumprod(x, axis=1, exclusive=exclusive), data.shape)
    )
    factors = np.concatenate([np.ones((3, 1)), data[:, :-1]], axis=1) if exclusive else data
    np.testing.assert_allclose(run(module, data)[0], np.cumprod(factors, axis=1), rtol=1e-6)
    assert sum("multiply" in line for line in listing(module)) == int(np.ceil(np.log2(extent)))


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_cumulative_sum_is_a_product_with_a_triangle(axis: int, exclusive: bool) -> None:
    data = random_array(3, 6, 4, seed=2)
    module = lower_reductions(
        build_module(lambda emitter, x: relax.op.cumsum(x, axis=axis, exclusive=exclusive), data.shape)
    )
    expected = np.cumsum(data.astype(np.float64), axis)
    expected = expected - data if exclusive else expected
    np.testing.assert_allclose(
        run(module, data)[0], expected, rtol=0, atol=6 * 2.0**-23 * np.abs(data).max() * 6
    )
    assert sum("matmul" in line for line in listing(module)) == 1


@pytest.mark.parametrize("name", ["sum", "mean"])
def test_a_single_element_is_its_own_sum_and_mean(name: str) -> None:
    """In integers as well, so that its distance from its mean is zero and not what a product's rounding leaves."""
    assert listing(lowered(name, (2, 1, 3), [1])) == ["y = reshape(x0, [2, 3])"]
