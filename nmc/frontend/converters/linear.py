"""Matrix products."""

from collections.abc import Sequence

import numpy as np
from tvm import relax

from nmc.frontend.converters.elementwise import like
from nmc.frontend.converters.registry import converts
from nmc.frontend.emitter import Emitter, dtype_of, shape_of
from nmc.frontend.values import ConversionError, Node, Value


def matmul(emitter: Emitter, a: Value, b: Value) -> relax.Var:
    """numpy's matmul."""
    return emitter.call(relax.op.matmul, a, b)


@converts("MatMul")
def _matmul(emitter: Emitter, node: Node) -> Sequence[Value]:
    return [matmul(emitter, node.tensor(0), node.tensor(1))]


@converts("Gemm")
def _gemm(emitter: Emitter, node: Node) -> Sequence[Value]:
    """alpha·A·B + beta·C; a constant factor goes into a constant operand where there is one."""
    a, b, c = node.tensor(0), node.tensor(1), node.input(2)
    alpha, beta = float(node.attributes.get("alpha", 1.0)), float(node.attributes.get("beta", 1.0))
    a = emitter.transpose(a, [1, 0]) if node.attributes.get("transA", 0) else a
    b = emitter.transpose(b, [1, 0]) if node.attributes.get("transB", 0) else b
    if isinstance(a, np.ndarray) and not isinstance(b, np.ndarray):
        product = matmul(emitter, scaled(emitter, a, alpha), b)
    elif isinstance(b, np.ndarray):
        product = matmul(emitter, a, scaled(emitter, b, alpha))
    else:
        product = matmul(emitter, a, b)
        product = product if alpha == 1.0 else emitter.call(relax.op.multiply, product, like(product, alpha))
    if c is None or beta == 0.0:
        return [product]
    return [emitter.call(relax.op.add, product, scaled(emitter, c, beta))]


def scaled(emitter: Emitter, value: Value, factor: float) -> Value:
    """`value` times a number; constants are multiplied here."""
    if factor == 1.0:
        return value
    if isinstance(value, np.ndarray):
        return (value * like(value, factor)).astype(value.dtype)
    return emitter.call(relax.op.multiply, value, like(value, factor))


@converts("FusedMatMul", "TransposeMatMul", domain="com.microsoft")
def _fused_matmul(emitter: Emitter, node: Node) -> Sequence[Value]:
    a, b = node.tensor(0), node.tensor(1)
    if node.attributes.get("transBatchA", 0) or node.attributes.get("transBatchB", 0):
        raise ConversionError("transBatchA and transBatchB are not supported")
    a = _swap_last(emitter, a) if node.attributes.get("transA", 0) else a
    b = _swap_last(emitter, b) if node.attributes.get("transB", 0) else b
    product = matmul(emitter, a, b)
    return [scaled(emitter, product, float(node.attributes.get("alpha", 1.0)))]


def _swap_last(emitter: Emitter, value: Value) -> Value:
    rank = len(shape_of(value))
    return emitter.transpose(value, [*range(rank - 2), rank - 1, rank - 2])


@converts("MatMulInteger")
def _matmul_integer(emitter: Emitter, node: Node) -> Sequence[Value]:
    a = without_zero_point(emitter, node.tensor(0), node.input(2), last=False)
    b = without_zero_point(emitter, node.tensor(1), node.input(3), last=True)
    return [matmul(emitter, a, b)]


def without_zero_point(emitter: Emitter, value: Value, zero: Value | None, last: bool) -> Value:
    """value - zero point as int32; a zero point of rank 1 is one a row, or one a column if `last`."""
    wide = emitter.cast(value, "int32")
    if zero is None:
        return wide
    zero = emitter.cast(zero, "int32")
    if len(shape_of(zero)) == 1 and not last and shape_of(zero)[0] > 1:
        zero = emitter.reshape(zero, (*shape_of(zero), 1))
    if isinstance(wide, np.ndarray) and isinstance(zero, np.ndarray):
        return wide - zero
    if isinstance(zero, np.ndarray) and not zero.any():
        return wide
    return emitter.call(relax.op.subtract, wide, zero)


MOST_DETERMINANT_ROWS = 12
"""Larger determinants would lose most of float32's bits: the terms grow faster than their sum."""


@converts("Det")
def _det(emitter: Emitter, node: Node) -> Sequence[Value]:
    """n - 1 matrix products without a division or a pivot.

    R. S. Bird, "A simple division-free algorithm for computing determinants", Information Processing Letters 111
    (2011): with F(X) = mu(X)·A, where mu keeps what is above the diagonal and puts -sum(X_jj, j > i) on it,
    det(A) is the first element of F^(n-1)(A), negated for even n. The error is a few float32 roundings of Hadamard's
    bound (the product of the rows' lengths), so that of nearly singular matrices little more than zero is known.
    """
    a = node.tensor(0)
    *batch, size, _ = shape_of(a)
    if size > MOST_DETERMINANT_ROWS:
        raise ConversionError(f"has {size} rows; up to {MOST_DETERMINANT_ROWS} keep enough accuracy")
    above, identity = np.triu(np.ones((size, size), np.float32), 1), np.eye(size, dtype=np.float32)
    x: Value = a
    for _ in range(size - 1):
        diagonal = emitter.call(relax.op.sum, emitter.call(relax.op.multiply, x, identity), axis=[-1])
        below = matmul(emitter, emitter.reshape(diagonal, (*batch, 1, size)), -above.T.copy())
        turned = emitter.call(relax.op.multiply, emitter.reshape(below, (*batch, size, 1)), identity)
        kept = emitter.call(relax.op.multiply, x, above)
        x = matmul(emitter, emitter.call(relax.op.add, kept, turned), a)
    corner = emitter.slice(emitter.slice(x, len(batch), 0, 1), len(batch) + 1, 0, 1)
    return [scaled(emitter, emitter.reshape(corner, batch), 1.0 if size % 2 else -1.0)]


@converts("CumProd")
def _cumprod(emitter: Emitter, node: Node) -> Sequence[Value]:
    x, axis_value = node.tensor(0), node.constant(1)
    size, axis = (
        shape_of(x),
        int(axis_value.reshape(-1)[0] if axis_value is not None else 0) % len(shape_of(x)),
    )
    flipped = np.arange(size[axis] - 1, -1, -1)
    x = emitter.take(x, flipped, axis) if node.attributes.get("reverse", 0) else x
    exclusive = bool(node.attributes.get("exclusive", 0))
    product: Value = emitter.call(relax.op.cumprod, x, axis=axis, exclusive=exclusive)
    return [emitter.take(product, flipped, axis) if node.attributes.get("reverse", 0) else product]


@converts("CumSum")
def _cumsum(emitter: Emitter, node: Node) -> Sequence[Value]:
    """Floats: a product with a triangular matrix of ones. Integers: Relax's own operation, exact at any
    length.
    """
    x, axis_value = node.tensor(0), node.constant(1)
    shape = shape_of(x)
    axis = int(axis_value.reshape(-1)[0] if axis_value is not None else 0) % len(shape)
    exclusive, backwards = bool(node.attributes.get("exclusive", 0)), bool(node.attributes.get("reverse", 0))
    if dtype_of(x) == "float32":
        size = shape[axis]
        ones = np.tril(np.ones((size, size), np.float32), -1 if exclusive else 0)
        return [matrix_along(emitter, x, ones.T.copy() if backwards else ones, axis)]
    flipped = np.arange(shape[axis] - 1, -1, -1)
    x = emitter.take(x, flipped, axis) if backwards else x
    total: Value = emitter.call(relax.op.cumsum, x, axis=axis, exclusive=exclusive)
    return [emitter.take(total, flipped, axis) if backwards else total]


def matrix_along(emitter: Emitter, x: Value, matrix: np.ndarray, axis: int) -> Value:
    """Multiply one axis of `x` by `matrix` (shape [new, old]): sum_j matrix[i, j]·x[..., j, ...]."""
    rank = len(shape_of(x))
    if rank == 1:
        return matmul(emitter, x, np.ascontiguousarray(matrix.T))
    if axis == rank - 1:
        return matmul(emitter, x, np.ascontiguousarray(matrix.T))
    if axis == rank - 2:
        return matmul(emitter, np.ascontiguousarray(matrix), x)
    shape = shape_of(x)
    rest = int(np.prod(shape[axis + 1 :]))
    flat = emitter.reshape(x, (*shape[: axis + 1], rest))
    product = matmul(emitter, np.ascontiguousarray(matrix), flat)
    return emitter.reshape(product, (*shape[:axis], matrix.shape[0], *shape[axis + 1 :]))
