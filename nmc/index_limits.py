"""Which integer inputs are indices of tables, and of how many rows: other values would have no meaning.

Plain analysis of a module at level 1. An input is followed through casts and moves to where rows are taken; what
arithmetic makes of it is not.
"""

from dataclasses import replace
from math import prod

from tvm import ir, relax

from nmc.frontend import ImportedModel
from passes.matrix_form.moves import REARRANGING
from passes.rewrite import bindings_of, callee_name, dtype_of, shape_of


def with_index_limits(imported: ImportedModel) -> ImportedModel:
    """The model whose inputs know of how many rows their values are indices."""
    limits = index_limits(imported.module)
    inputs = tuple(replace(spec, index_limit=limits.get(spec.name)) for spec in imported.inputs)
    return replace(imported, inputs=inputs)


def index_limits(module: ir.IRModule) -> dict[str, int]:
    """By the parameter's name, the rows of the smallest table that its values index; valid are -rows to rows - 1."""
    main = module["main"]
    sources = {parameter: parameter.name for parameter in main.params if _is_integer(parameter)}
    limits: dict[str, int] = {}
    for binding in bindings_of(main):
        call = binding.value
        if not isinstance(call, relax.Call):
            continue
        name = callee_name(module, call)
        if (name in REARRANGING or name == "relax.astype") and call.args[0] in sources:
            sources[binding.var] = sources[call.args[0]]
        elif name == "relax.take" and call.args[1] in sources:
            rows, source = _rows(call), sources[call.args[1]]
            limits[source] = min(rows, limits.get(source, rows))
    return limits


def _is_integer(parameter: relax.Var) -> bool:
    return dtype_of(parameter).startswith(("int", "uint"))


def _rows(take: relax.Call) -> int:
    shape = shape_of(take.args[0])
    return prod(shape) if take.attrs.axis is None else shape[int(take.attrs.axis)]
