"""Builds the private functions whose bodies define what an operation of matrix form computes."""

from collections.abc import Callable, Mapping, Sequence

from tvm import ir, relax

from passes.rewrite import Emitter, straight_line_body

ACCELERATOR_PREFIX = "gemm_accel."
"""Composite names of the integer operations that the accelerator executes begin so."""

Body = Callable[[Emitter, Sequence[relax.Var]], relax.Expr]


def call_composite(
    emitter: Emitter,
    composite: str,
    arguments: Sequence[relax.Expr],
    body: Body,
    attributes: Mapping[str, object] | None = None,
) -> relax.Call:
    """A call of a private function that carries `composite` as its Composite attribute.

    `body` emits the function's meaning over its parameters, which have the arguments' types. Equal functions are
    shared. Returns the call, not yet bound to a variable.
    """
    parameters = [relax.Var(f"p{index}", argument.ty) for index, argument in enumerate(arguments)]
    inner = Emitter(emitter.builder, layer="value")
    result = inner.emit(body(inner, parameters))
    block = straight_line_body(emitter.builder, inner.bindings, result)
    function = relax.Function(parameters, block, ret_ty=block.ty, is_pure=True)
    function = function.with_attr("Composite", composite)
    for name, value in (attributes or {}).items():
        function = function.with_attr(name, value)
    global_var = emitter.builder.add_func(function, composite.replace(".", "_"))
    return relax.Call(global_var, list(arguments))


def call_kernel(
    emitter: Emitter,
    kernel: ir.GlobalVar,
    arguments: Sequence[relax.Expr],
    shape: Sequence[int],
    dtype: str,
) -> relax.Call:
    """A call of a TensorIR kernel in destination-passing style with one output of this shape and element type."""
    return relax.call_tir(kernel, relax.Tuple(list(arguments)), out_ty=relax.TensorType(list(shape), dtype))
