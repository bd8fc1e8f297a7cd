"""gemm: the products, summed exactly, plus a bias, requantised by column."""

from collections.abc import Sequence
from functools import cache

from tvm import relax, tirx
from tvm.script import tirx as T

from passes.matrix_form.composite import call_composite, call_kernel
from passes.matrix_form.fixed_point import int64, requantise, saturate
from passes.rewrite import Emitter, dtype_of, shape_of

GEMM = "gemm_accel.gemm"
BLOCK_COLUMNS = 16


def gemm(
    emitter: Emitter,
    a: relax.Expr,
    b: relax.Expr,
    bias: relax.Expr,
    multiplier: relax.Expr,
    shift: relax.Expr,
    dtype: str,
) -> relax.Call:
    """saturate(requantise(a·b + bias, multiplier, shift)) in `dtype`.

    a: int8/int16/int32 [groups, M, K]; b: int8/int16 [groups, K, N]; bias int64, multiplier int32 and shift int32:
    [P, N] with P = 1 (shared by the groups) or P = groups.
    """
    groups, rows, _ = shape_of(a)
    columns = shape_of(b)[-1]

    def body(inner: Emitter, parameters: Sequence[relax.Var]) -> relax.Expr:
        kernel = inner.builder.add_func(gemm_kernel(dtype_of(a), dtype_of(b), dtype), "gemm_kernel")
        return call_kernel(inner, kernel, parameters, [groups, rows, columns], dtype)

    return call_composite(emitter, GEMM, [a, b, bias, multiplier, shift], body)


@cache
def gemm_kernel(a_type: str, b_type: str, out_type: str) -> tirx.PrimFunc:
    """The kernel for one combination of element types and any extents: columns in blocks, sums in 64 bits."""

    @T.prim_func(private=True, s_tir=True)
    def kernel(
        a_handle: T.handle,
        b_handle: T.handle,
        bias_handle: T.handle,
        multiplier_handle: T.handle,
        shift_handle: T.handle,
        out_handle: T.handle,
    ) -> None:
        T.func_attr({"tirx.noalias": True})
        groups, rows, depth, columns, sets = T.int64(), T.int64(), T.int64(), T.int64(), T.int64()
        a = T.match_buffer(a_handle, (groups, rows, depth), a_type)
        b = T.match_buffer(b_handle, (groups, depth, columns), b_type)
        bias = T.match_buffer(bias_handle, (sets, columns), "int64")
        multiplier = T.match_buffer(multiplier_handle, (sets, columns), "int32")
        shift = T.match_buffer(shift_handle, (sets, columns), "int32")
        out = T.match_buffer(out_handle, (groups, rows, columns), out_type)
        for row in T.parallel(groups * rows):
            for block in range(T.ceildiv(columns, T.int64(BLOCK_COLUMNS))):
                with T.sblock("gemm"):
                    v_row = T.axis.spatial(groups * rows, row)
                    v_block = T.axis.spatial(T.ceildiv(columns, T.int64(BLOCK_COLUMNS)), block)
                    total = T.sblock_alloc_buffer((BLOCK_COLUMNS,), "int64", scope="local")
                    g: T.let[T.int64] = v_row // rows
                    i: T.let[T.int64] = v_row % rows
                    first: T.let[T.int64] = v_block * T.int64(BLOCK_COLUMNS)
                    p: T.let[T.int64] = T.if_then_else(sets == T.int64(1), T.int64(0), g)
                    for j in T.vectorized(BLOCK_COLUMNS):
                        total[j] = T.int64(0)
                    if first + T.int64(BLOCK_COLUMNS) <= columns:
                        for k in range(depth):
                            for j in T.vectorized(BLOCK_COLUMNS):
                                total[j] += int64(a[g, i, k]) * int64(b[g, k, first + j])
                    else:
                        for k in range(depth):
                            for j in range(BLOCK_COLUMNS):
                                if first + j < columns:
                                    total[j] += int64(a[g, i, k]) * int64(b[g, k, first + j])
                    for j in range(BLOCK_COLUMNS):
                        if first + j < columns:
                            out[g, i, first + j] = saturate(
                                requantise(
                                    total[j] + bias[p, first + j],
                                    int64(multiplier[p, first + j]),
                                    int64(shift[p, first + j]),
                                ),
                                out_type,
                            )

    return kernel
