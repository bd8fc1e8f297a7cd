"""What runs on the host, by name and with the reason."""

from collections.abc import Mapping

from tvm import ir, relax

from nmc.manifest import Fallback
from passes.keep_on_host import HOST, operator_of
from passes.matrix_form.host import DEQUANTISE, QUANTISE
from passes.partition import CODEGEN
from passes.rewrite import (
    bindings_of,
    callee_name,
    dtype_of,
    layer_of,
    shape_of,
    variables_of,
)

ORDERING = "it orders values by their size, which is no sum of products"
TRUTH = "something other than arithmetic reads its truth values"
FINITE = "the accelerator's integers stand for finite numbers alone"
PLACES = "it computes from the data which elements to move"
UNDEFINED = "on some of the calibration data its result, or what it reads, is not a number"
DOUBLES = "it computes in double precision, for numbers beyond float32"
INTEGERS = "integers are the host's bookkeeping"
OTHER = "it is not an operation of matrix form"

REASONS: Mapping[str, str] = {
    **dict.fromkeys(("topk", "sort", "argsort", "argmax", "argmin", "unique"), ORDERING),
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"), TRUTH),
    **dict.fromkeys(("isnan", "isinf", "isfinite"), FINITE),
    **dict.fromkeys(("image.grid_sample", "nonzero", "scatter_elements", "scatter_nd", "gather_nd"), PLACES),
    "memory.view": "it reads the bits of floats, which integers on the accelerator do not have",
    "astype": "it makes integers or truth values of floats",
}
"""Why an operator on floats runs on the host, by its Relax name; the others are just no operations of matrix form."""

HEAVY = frozenset({"relax.matmul", "relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv3d", "relax.einsum"})


def find_fallback(module: ir.IRModule) -> tuple[Fallback, ...]:
    """The operators of a partitioned module's `main` other than the border's conversions, in order."""
    found = []
    for binding in bindings_of(module["main"]):
        value = binding.value
        if not isinstance(value, relax.Call):
            continue
        name = callee_name(module, value)
        if isinstance(value.ty, relax.TensorType) and 0 in shape_of(value):
            continue  # nothing is computed for a tensor without elements
        if name in (QUANTISE, DEQUANTISE) or name.startswith(CODEGEN + "_"):
            continue
        floats, reason = _touches_floats(binding), ""
        if name == HOST:
            name, reason = operator_of(module, value), UNDEFINED
        elif any(dtype_of(variable) == "float64" for variable in variables_of(value) if _is_tensor(variable)):
            reason = DOUBLES
        operator = name.removeprefix("relax.")
        reason = reason or (REASONS.get(operator, OTHER) if floats else INTEGERS)
        found.append(Fallback(layer_of(binding.var), operator, reason, floats, name in HEAVY))
    return tuple(found)


def integer_inputs(module: ir.IRModule) -> tuple[str, ...]:
    """The inputs of integers and booleans that operators on the host read, directly or through others.

    As constants of the model they would leave nothing of this for the host to do.
    """
    main = module["main"]
    sources = {
        parameter: {parameter.name}
        for parameter in main.params
        if not dtype_of(parameter).startswith("float")
    }
    read: set[str] = set()
    for binding in bindings_of(main):
        used = [sources.get(variable, set()) for variable in relax.analysis.free_vars(binding.value)]
        sources[binding.var] = set().union(*used)
        name = callee_name(module, binding.value) if isinstance(binding.value, relax.Call) else ""
        if name and not name.startswith(CODEGEN + "_"):
            read |= sources[binding.var]
    return tuple(sorted(read))


def _touches_floats(binding: relax.VarBinding) -> bool:
    """Whether the operator reads float data; a cast of integers to floats does not."""
    return any(
        _is_tensor(argument) and dtype_of(argument).startswith("float")
        for argument in binding.value.args
        if isinstance(argument, relax.Var)
    )


def _is_tensor(variable: relax.Var) -> bool:
    return isinstance(variable.ty, relax.TensorType)
