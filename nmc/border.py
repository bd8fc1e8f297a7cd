"""When everything of a model runs on the accelerator, the host only converts: what crosses the border, and how.

Found from the host's function, so that a package without host code converts exactly as the host's code would.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tvm import ir, relax

from nmc.frontend import TensorSpec
from nmc.manifest import Border, BorderTensor
from passes.matrix_form.host import DEQUANTISE, QUANTISE
from passes.partition import CODEGEN
from passes.rewrite import bindings_of, callee_name, constant_value, dtype_of


@dataclass
class _Crossing:
    """What the variables of `main` hold, as far as it has been followed: inputs on their way in, results on theirs out."""

    entering: dict[relax.Var, BorderTensor]
    leaving: dict[relax.Var, tuple[int, BorderTensor]] = field(default_factory=dict)
    """With the number of the region's result; the tensor is named when it is known which output it becomes."""
    region: relax.Call | None = None

    def follow(self, module: ir.IRModule, binding: relax.VarBinding) -> bool:
        """Whether a binding is the region's call or a conversion beside it, which it then takes note of."""
        value, variable = binding.value, binding.var
        kind = callee_name(module, value) if isinstance(value, relax.Call) else ""
        if kind.startswith(f"{CODEGEN}_") and self.region is None:
            self.region = value
            if isinstance(variable.ty, relax.TensorType):
                self.leaving[variable] = 0, BorderTensor("", dtype_of(variable), None)
        elif isinstance(value, relax.TupleGetItem) and self.region is not None:
            self.leaving[variable] = int(value.index), BorderTensor("", dtype_of(variable), None)
        elif kind == DEQUANTISE and value.args[0] in self.leaving:
            index, tensor = self.leaving[value.args[0]]
            self.leaving[variable] = index, BorderTensor("", tensor.dtype, _scalar(value.args[1]))
        elif kind in (QUANTISE, "relax.astype") and value.args[0] in self.entering and self.region is None:
            tensor = self.entering[value.args[0]]
            scale = _scalar(value.args[1]) if kind == QUANTISE else None
            self.entering[variable] = BorderTensor(tensor.name, dtype_of(variable), scale)
            return tensor.scale is None
        else:
            return False
        return True


def find_border(
    module: ir.IRModule, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> Border | None:
    """The border of a partitioned module whose `main` only converts inputs, calls one region and converts results.

    None when `main` does anything else, so that host code is needed.
    """
    main = module["main"]
    *inner, returned = bindings_of(main)
    crossing = _Crossing(
        {p: BorderTensor(spec.name, spec.dtype, None) for p, spec in zip(main.params, inputs, strict=True)}
    )
    if not all(crossing.follow(module, binding) for binding in inner) or crossing.region is None:
        return None
    fields = returned.value.fields if isinstance(returned.value, relax.Tuple) else [returned.value]
    results = [crossing.leaving.get(item) for item in fields if isinstance(item, relax.Var)]
    found = [result for result in results if result is not None]
    if len(found) < len(fields) or [index for index, _ in found] != list(range(len(found))):
        return None
    return Border(
        str(crossing.region.op.name_hint),
        tuple(crossing.entering[argument] for argument in crossing.region.args),
        tuple(
            BorderTensor(spec.name, tensor.dtype, tensor.scale)
            for spec, (_, tensor) in zip(outputs, found, strict=True)
        ),
    )


def _scalar(expr: relax.Expr) -> float:
    value = constant_value(expr)
    if value is None:
        raise TypeError("the scale of a border tensor is not a constant")
    return float(value.reshape(()))
