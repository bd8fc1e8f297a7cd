"""Constant factors and offsets move up to their matrix product, and nothing else does."""

import numpy as np
import pytest
from tvm import ir, relax

from passes.fold_affine import fold_affine
from passes.lower_convolution import lower_convolution
from passes.lower_transposed_convolution import lower_transposed_convolution
from passes.normalise_matmul import normalise_matmul
from passes.rewrite import Emitter
from tests.passes.support import build_module, constant, listing, random_array, run

op = relax.op


def lowered(module: ir.IRModule) -> ir.IRModule:
    return normalise_matmul(lower_transposed_convolution(lower_convolution(module)))


def operators(module: ir.IRModule) -> list[str]:
    return [line.split(" = ")[1].split("(")[0] for line in listing(module)]


def check_same(before: ir.IRModule, after: ir.IRModule, *shapes: tuple[int, ...]) -> None:
    """The same values but for rounding, in sums of some dozen: a factor rounds each weight once more."""
    arrays = [random_array(*shape, seed=index) for index, shape in enumerate(shapes)]
    for a, b in zip(run(before, *arrays), run(after, *arrays), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=64 * 2.0**-24 * max(1.0, float(np.abs(a).max())))


def test_a_batch_normalisation_after_a_convolution_disappears() -> None:
    scale, shift, bias = (random_array(1, 6, 1, 1, seed=seed) for seed in (1, 2, 3))

    def body(emitter: Emitter, x: relax.Expr) -> relax.Expr:
        convolved = op.nn.conv2d(
            x, constant(random_array(6, 2, 3, 3, seed=4)), groups=2, padding=[1, 1, 1, 1]
        )
        return op.subtract(op.multiply(op.add(convolved, constant(bias)), constant(scale)), constant(shift))

    before = lowered(build_module(body, (2, 4, 5, 5)))
    after = fold_affine(before)
    assert operators(after) == ["gemm_accel.im2col", "matmul", "add", "reshape", "permute_dims", "reshape"]
    assert "const[2, 1, 3]" in "\n".join(listing(after))
    check_same(before, after, (2, 4, 5, 5))


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_bias_moves_through_the_slices_and_concatenations_of_a_transposed_convolution(kernel: int) -> None:
    def body(emitter: Emitter, x: relax.Expr) -> relax.Expr:
        weight = constant(random_array(3, 4, kernel, kernel, seed=5))
        convolved = op.nn.conv2d_transpose(x, weight, strides=[2, 2], padding=[1, 0, 0, 0])
        scaled = op.multiply(convolved, constant(random_array(4, 1, 1, seed=6)))
        return op.add(scaled, constant(random_array(1, 4, 1, 1, seed=7)))

    before = lowered(build_module(body, (1, 3, 4, 4)))
    after = fold_affine(before)
    assert "multiply" not in operators(after)
    assert operators(after).count("add") == operators(after).count("matmul")
    check_same(before, after, (1, 3, 4, 4))


def test_a_linear_layers_bias_moves_before_the_reshape() -> None:
    def body(emitter: Emitter, x: relax.Expr) -> relax.Expr:
        product = op.matmul(x, constant(random_array(8, 6, seed=1)))
        return op.add(
            op.permute_dims(op.reshape(product, [2, 4, 3, 2]), [0, 2, 1, 3]), constant(np.ones((3, 1, 2)))
        )

    before = lowered(build_module(body, (2, 4, 8)))
    after = fold_affine(before)
    assert operators(after) == ["reshape", "matmul", "add", "reshape", "reshape", "permute_dims"]
    check_same(before, after, (2, 4, 8))


def test_an_offset_moves_to_a_product_of_two_activations_but_a_factor_does_not() -> None:
    def body(emitter: Emitter, a: relax.Expr, b: relax.Expr) -> relax.Expr:
        return op.multiply(op.add(op.reshape(op.matmul(a, b), [2, 12]), constant(1.0)), constant(0.5))

    before = build_module(body, (2, 3, 5), (2, 5, 4))
    after = fold_affine(before)
    assert operators(after) == ["matmul", "add", "reshape", "multiply"]
    check_same(before, after, (2, 3, 5), (2, 5, 4))


STAYING = {
    "rows": lambda p: op.add(p, constant(random_array(4, 1))),
    "every element": lambda p: op.multiply(p, constant(random_array(1, 4, 3))),
    "a larger result": lambda p: op.add(p, constant(random_array(2, 4, 3))),
    "infinities": lambda p: op.add(p, constant(-np.inf)),
}


@pytest.mark.parametrize("what", STAYING)
def test_an_offset_or_factor_stays_that_varies_by(what: str) -> None:
    module = build_module(
        lambda emitter, x: STAYING[what](op.matmul(x, constant(random_array(1, 5, 3)))), (1, 4, 5)
    )
    assert listing(fold_affine(module)) == listing(module)


def test_a_product_that_something_else_reads_stays() -> None:
    def body(emitter: Emitter, x: relax.Expr) -> tuple[relax.Expr, ...]:
        product = emitter.bind("product", op.matmul(x, constant(random_array(1, 5, 3))))
        return op.multiply(product, constant(2.0)), op.nn.relu(product)

    module = build_module(body, (1, 4, 5))
    assert listing(fold_affine(module)) == listing(module)


def test_a_reshape_that_something_else_reads_stays() -> None:
    def body(emitter: Emitter, x: relax.Expr) -> tuple[relax.Expr, ...]:
        rows = emitter.bind("rows", op.reshape(op.matmul(x, constant(random_array(1, 5, 3))), [4, 3]))
        return op.add(rows, constant(1.0)), rows

    module = build_module(body, (1, 4, 5))
    assert listing(fold_affine(module)) == listing(module)


def test_the_parts_of_a_concatenation_get_their_shares() -> None:
    def body(emitter: Emitter, x: relax.Expr) -> relax.Expr:
        parts = [op.matmul(x, constant(random_array(1, 5, width, seed=width))) for width in (3, 2)]
        joined = op.concat([*parts, constant(np.ones((1, 4, 1)))], axis=2)
        return op.add(
            op.multiply(joined, constant(random_array(6, seed=1))), constant(random_array(6, seed=2))
        )

    before = build_module(body, (1, 4, 5))
    after = fold_affine(before)
    assert sorted(operators(after)) == ["add", "add", "concat", "matmul", "matmul"]
    check_same(before, after, (1, 4, 5))


def test_rows_of_a_constant_table_are_mapped_in_the_table() -> None:
    table, factor, offset = random_array(7, 3, seed=1), random_array(3, seed=2), random_array(1, 1, 3, seed=3)
    before = build_module(
        lambda emitter, ids: op.add(
            op.multiply(op.take(constant(table), ids, axis=0), constant(factor)), constant(offset)
        ),
        ((2, 4), "int32"),
    )
    after = fold_affine(before)
    ids = np.arange(8, dtype=np.int32).reshape(2, 4) % 7
    assert operators(after) == ["take"]
    # the mapped table is rounded once, the mapped rows twice
    np.testing.assert_allclose(
        run(after, ids)[0], run(before, ids)[0], rtol=0, atol=2.0**-22 * np.abs(table).max() * 4
    )


def test_a_folded_offset_belongs_to_the_layer_of_the_product() -> None:
    def body(emitter: Emitter, x: relax.Expr) -> relax.Expr:
        product = emitter.bind("conv", op.matmul(x, constant(random_array(1, 5, 3))))
        rows = emitter.bind("rows", op.reshape(product, [4, 3]))
        return emitter.bind("norm", op.multiply(op.add(rows, constant(np.arange(3.0))), constant(2.0)))

    assert listing(fold_affine(build_module(body, (1, 4, 5)))) == [
        "conv#3 = matmul(x0, const[1, 5, 3])",
        "conv#4 = add(conv#3, const[1, 1, 3])",
        "norm = reshape(conv#4, [4, 3])",
    ]
