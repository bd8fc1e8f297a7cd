"""A constant matrix applied along one axis of a tensor."""

import numpy as np
from tvm import relax

from passes.rewrite import Emitter, shape_of
from passes.views import permute, reshape


def matrix_along(emitter: Emitter, x: relax.Expr, matrix: np.ndarray, axis: int) -> relax.Expr:
    """x with the elements along `axis`, as a vector v, replaced by matrix·v; matrix [new extent, extent].

    The matrix stands on the right of the product, as weights do, so each new element has a scale of its own.
    """
    shape = shape_of(x)
    last = [*(other for other in range(len(shape)) if other != axis), axis]
    rows = int(np.prod([shape[other] for other in last[:-1]]))
    vectors = reshape(emitter, permute(emitter, x, last), (1, rows, shape[axis]))
    product = emitter.emit(relax.op.matmul(vectors, emitter.constant(matrix.T[None])))
    result = reshape(emitter, product, (*(shape[other] for other in last[:-1]), matrix.shape[0]))
    return permute(emitter, result, [last.index(other) for other in range(len(shape))])
