"""Transpositions of matrices through one kernel whose blocks stay in the cache, in place of a strided loop nest each."""

from functools import cache

import tvm
from tvm import ir, relax, tirx
from tvm.script import tirx as T

from passes.matrix_form.composite import call_kernel
from passes.rewrite import Emitter, dtype_of, rewrite_calls, shape_of
from passes.views import reshape

BLOCK_ROWS, BLOCK_COLUMNS = 16, 8
"""Elements of the operand that a block reads: a vector of the result to each of a cache line's columns."""


@tvm.transform.module_pass(opt_level=0, name="nmc.ScheduleTransposes")
def ScheduleTransposes(module: ir.IRModule, _context: tvm.transform.PassContext) -> ir.IRModule:
    """Every float32 permute_dims in `main` that transposes one matrix, or each of a batch, calls the kernel."""
    return rewrite_calls(module, {"relax.permute_dims": _use_kernel})


def _use_kernel(emitter: Emitter, call: relax.Call) -> relax.Expr | None:
    x = call.args[0]
    if dtype_of(x) != "float32":
        return None
    shape = shape_of(x)
    axes = tuple(int(axis) for axis in call.attrs.axes or reversed(range(len(shape))))
    matrices = matrices_of(shape, axes)
    if matrices is None:
        return None
    groups, rows, columns = matrices
    kernel = emitter.builder.add_func(_kernel(), "transpose_float32")
    operand = reshape(emitter, x, matrices)
    result = emitter.emit(call_kernel(emitter, kernel, [operand], [groups, columns, rows], "float32"))
    return reshape(emitter, result, tuple(shape[axis] for axis in axes))


def matrices_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The batch, rows and columns that moving `axes` of `shape` transposes, or None where it does anything else."""
    runs: list[list[int]] = []
    for axis in (axis for axis in axes if shape[axis] != 1):
        # axes that follow each other before and after, extents of one aside, move as one
        if (
            runs
            and all(shape[between] == 1 for between in range(runs[-1][-1] + 1, axis))
            and axis > runs[-1][-1]
        ):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    order = sorted(range(len(runs)), key=lambda run: runs[run][0])
    extents = [_product(shape, run) for run in runs]
    if order == [1, 0]:
        return 1, extents[1], extents[0]
    if order == [0, 2, 1]:
        return extents[0], extents[2], extents[1]
    return None


def _product(shape: tuple[int, ...], axes: list[int]) -> int:
    product = 1
    for axis in axes:
        product *= shape[axis]
    return product


@cache
def _kernel() -> tirx.PrimFunc:
    """x [groups, rows, columns] as out [groups, columns, rows], any extents."""

    @T.prim_func(private=True, s_tir=True)
    def transpose(x_handle: T.handle, out_handle: T.handle) -> None:
        T.func_attr({"tirx.noalias": True})
        groups, rows, columns = T.int64(), T.int64(), T.int64()
        x = T.match_buffer(x_handle, (groups, rows, columns), "float32")
        out = T.match_buffer(out_handle, (groups, columns, rows), "float32")
        for band in T.parallel(groups * T.ceildiv(rows, T.int64(BLOCK_ROWS))):
            with T.sblock("transpose"):
                v_band = T.axis.spatial(groups * T.ceildiv(rows, T.int64(BLOCK_ROWS)), band)
                g: T.let[T.int64] = v_band // T.ceildiv(rows, T.int64(BLOCK_ROWS))
                row: T.let[T.int64] = v_band % T.ceildiv(rows, T.int64(BLOCK_ROWS)) * T.int64(BLOCK_ROWS)
                for block in range(T.ceildiv(columns, T.int64(BLOCK_COLUMNS))):
                    column: T.let[T.int64] = block * T.int64(BLOCK_COLUMNS)
                    if (row + T.int64(BLOCK_ROWS) <= rows) and (column + T.int64(BLOCK_COLUMNS) <= columns):
                        for j in T.unroll(BLOCK_COLUMNS):
                            for i in T.vectorized(BLOCK_ROWS):
                                out[g, column + j, row + i] = x[g, row + i, column + j]
                    else:
                        for j in range(BLOCK_COLUMNS):
                            for i in range(BLOCK_ROWS):
                                if (row + i < rows) and (column + j < columns):
                                    out[g, column + j, row + i] = x[g, row + i, column + j]

    return transpose
