"""Regions of the accelerator, and the proof of what they hold."""

import numpy as np
import pytest
from tvm import relax

from nmc.errors import UnsupportedOperatorError
from passes.matrix_form.elementwise import add
from passes.matrix_form.host import dequantise, quantise
from passes.partition import partition
from passes.rewrite import Emitter
from passes.verify_matrix_form import accelerator_functions, verify_matrix_form, violations
from tests.passes.support import build_module, listing


def doubled(emitter: Emitter, x: relax.Expr) -> relax.Expr:
    """2·x on the accelerator."""
    return emitter.emit(add(emitter, x, x, 1 << 20, 1 << 20, 20, "int16"))


def test_operations_without_the_host_between_them_share_a_region() -> None:
    def body(emitter: Emitter, x: relax.Var) -> relax.Expr:
        integers = emitter.emit(quantise(emitter, x, 0.5, "int16"))
        turned = emitter.emit(relax.op.permute_dims(doubled(emitter, integers), [1, 0]))
        return dequantise(emitter, doubled(emitter, turned), 0.5)

    parts = partition(build_module(body, (2, 3)))
    assert list(accelerator_functions(parts)) == ["gemm_accel_0"]
    assert listing(parts) == [
        "y = host.quantise(x0, 0.5)",
        "gemm_accel_0 = gemm_accel_0(y)",
        "y#4 = host.dequantise(gemm_accel_0, 0.5)",
    ]


def test_a_host_operator_between_two_operations_makes_two_regions() -> None:
    def body(emitter: Emitter, x: relax.Var) -> relax.Expr:
        first = doubled(emitter, emitter.emit(quantise(emitter, x, 0.5, "int16")))
        rounded = emitter.emit(relax.op.floor(emitter.emit(dequantise(emitter, first, 0.5))))
        return doubled(emitter, emitter.emit(quantise(emitter, rounded, 0.5, "int16")))

    parts = partition(build_module(body, (4,)))
    assert sorted(accelerator_functions(parts)) == ["gemm_accel_0", "gemm_accel_1"]
    assert [line.split(" = ")[1].split("(")[0] for line in listing(parts)] == [
        "host.quantise", "gemm_accel_0", "host.dequantise", "floor", "host.quantise", "gemm_accel_1",
    ]  # fmt: skip


def test_a_region_returns_what_the_host_and_later_regions_read() -> None:
    def body(emitter: Emitter, x: relax.Var) -> tuple[relax.Expr, ...]:
        first = doubled(emitter, emitter.emit(quantise(emitter, x, 0.5, "int16")))
        return first, doubled(emitter, first)

    function = accelerator_functions(partition(build_module(body, (4,))))["gemm_accel_0"]
    assert len(function.ret_ty.fields) == 2


def test_a_region_returns_the_results_of_a_model_in_their_order() -> None:
    def body(emitter: Emitter, x: relax.Var) -> tuple[relax.Expr, ...]:
        first = doubled(emitter, emitter.emit(quantise(emitter, x, 0.5, "int16")))
        second = doubled(emitter, first)
        return tuple(emitter.emit(dequantise(emitter, y, 0.5)) for y in (second, first))

    first, second, *outputs = listing(partition(build_module(body, (4,))))[2:]
    names = [line.split(" = ")[0] for line in (first, second)]
    assert [first, second] == [f"{names[0]} = gemm_accel_0[0]", f"{names[1]} = gemm_accel_0[1]"]
    assert [line.split(" = ")[1] for line in outputs[:2]] == [f"host.dequantise({n}, 0.5)" for n in names]


def test_gathers_of_constants_belong_to_the_accelerator_and_moves_of_host_integers_do_not() -> None:
    table = relax.const(np.arange(12, dtype=np.int16).reshape(6, 2), "int16")

    def body(emitter: Emitter, ids: relax.Var) -> relax.Expr:
        flat = emitter.emit(relax.op.reshape(ids, [4]))
        return relax.op.take(table, flat, axis=0)

    parts = partition(build_module(body, ((2, 2), "int32")))
    assert listing(parts) == ["y = reshape(x0, [4])", "gemm_accel_0 = gemm_accel_0(y)"]


def test_a_region_with_anything_but_matrix_form_is_refused_by_layer_and_operator() -> None:
    module = build_module(lambda emitter, x: relax.op.exp(x), (4,))
    marked = module["main"].with_attr("Codegen", "gemm_accel").with_attr("global_symbol", "main")
    module["main"] = marked
    assert violations(marked) == ["layer 'y' holds relax.exp"]
    with pytest.raises(UnsupportedOperatorError, match=r"layer 'y' holds relax\.exp"):
        verify_matrix_form(module)


def test_a_move_of_floats_is_not_matrix_form_of_the_accelerator() -> None:
    module = build_module(lambda emitter, x: relax.op.permute_dims(x, [1, 0]), (4, 2))
    assert violations(module["main"]) == ["layer 'y': relax.permute_dims has float32 elements"]
