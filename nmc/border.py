"""The border of a program that needs no host code: how user tensors become the integers of one region and back."""

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import ir, relax

from nmc.frontend import TensorSpec
from passes.matrix_form.host import DEQUANTISE, QUANTISE
from passes.rewrite import bindings_of, callee_name, constant_value, dtype_of


@dataclass(frozen=True)
class BorderTensor:
    """A tensor of the user and its integer form; `scale` is None for integers that keep their values."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantised_dtype: str
    scale: float | None


@dataclass(frozen=True)
class Border:
    """A program of one region: what it takes, in the order of its parameters, and what it returns, in order."""

    symbol: str
    inputs: tuple[BorderTensor, ...]
    outputs: tuple[BorderTensor, ...]


def find_border(
    module: ir.IRModule, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Border | None:
    """The border of a partitioned module whose `main` only converts inputs, calls one region and converts results.

    None when `main` does anything else, so that host code is needed.
    """
    main = module["main"]
    parameters = {p: (spec, None, spec.dtype) for p, spec in zip(main.params, inputs, strict=True)}
    sources: dict[relax.Var, tuple[TensorSpec, float | None, str]] = dict(parameters)
    results: dict[relax.Var, tuple[int, float | None, str]] = {}
    region: relax.Call | None = None
    for binding in bindings_of(main):
        value, variable = binding.value, binding.var
        if not isinstance(variable, relax.DataflowVar):
            break
        kind = callee_name(module, value) if isinstance(value, relax.Call) else ""
        if kind.startswith("gemm_accel_") and region is None:
            region = value
            if isinstance(variable.ty, relax.TensorType):
                results[variable] = (0, None, dtype_of(variable))
        elif isinstance(value, relax.TupleGetItem) and region is not None:
            results[variable] = (int(value.index), None, dtype_of(variable))
        elif kind == DEQUANTISE and value.args[0] in results:
            index, _, dtype = results[value.args[0]]
            results[variable] = (index, _scalar(value.args[1]), dtype)
        elif kind in (QUANTISE, "relax.astype") and value.args[0] in sources and region is None:
            spec, scale, _ = sources[value.args[0]]
            if scale is not None:
                return None
            sources[variable] = (
                spec,
                _scalar(value.args[1]) if kind == QUANTISE else None,
                dtype_of(variable),
            )
        else:
            return None
    if region is None:
        return None
    returned = bindings_of(main)[-1].value
    fields = returned.fields if isinstance(returned, relax.Tuple) else [returned]
    if not all(field in results for field in fields):
        return None
    if [results[field][0] for field in fields] != list(range(len(fields))):
        return None
    return Border(
        str(region.op.name_hint),
        tuple(_tensor(*sources[argument]) for argument in region.args),
        tuple(_tensor(spec, *results[field][1:]) for spec, field in zip(outputs, fields, strict=True)),
    )


def _tensor(spec: TensorSpec, scale: float | None, quantised_dtype: str) -> BorderTensor:
    return BorderTensor(spec.name, spec.shape, spec.dtype, quantised_dtype, scale)


def _scalar(expr: relax.Expr) -> float:
    value = constant_value(expr)
    if value is None:
        raise TypeError("the scale of a border tensor is not a constant")
    return float(value.reshape(()))
