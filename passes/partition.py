"""Every operation of the accelerator lies in a function marked for its code generator; `main` only calls those functions
and runs the host's operators.

A region holds all operations between two visits to the host, so a model without host operators has one region. Regions
are what TVM's RunCodegen hands to `relax.ext.gemm_accel`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tvm import ir, relax

from passes.matrix_form.composite import ACCELERATOR_PREFIX
from passes.matrix_form.moves import MOVES
from passes.rewrite import (
    Emitter,
    bindings_of,
    callee_name,
    dtype_of,
    finish,
    straight_line_body,
    substitute,
)

CODEGEN = "gemm_accel"


@dataclass
class Region:
    """The bindings of one region, in order, under the region's number."""

    number: int
    bindings: list[relax.VarBinding] = field(default_factory=list)

    @property
    def symbol(self) -> str:
        """The name of the region's function and of its program."""
        return f"{CODEGEN}_{self.number}"


def partition(module: ir.IRModule) -> ir.IRModule:
    """The module of level 3 with its accelerated operations moved into functions of attribute Codegen."""
    main = module["main"]
    bindings = [b for b in bindings_of(main) if isinstance(b.var, relax.DataflowVar)]
    stages = _stages(module, bindings)
    regions: dict[int, Region] = {}
    host: dict[int, list[relax.VarBinding]] = {}
    for binding in bindings:
        stage, accelerated = stages[binding.var.name]
        if accelerated:
            regions.setdefault(stage, Region(stage - 1)).bindings.append(binding)
        else:
            host.setdefault(stage, []).append(binding)
    emitter = Emitter(relax.BlockBuilder(module))
    values: dict[relax.Var, relax.Expr] = {}
    for stage in sorted({*regions, *host}):
        if stage in regions:
            _call_region(module, emitter, regions[stage], _read_outside(main, regions[stage]), values)
        for binding in host.get(stage, []):
            emitter.layer = binding.var.name
            values[binding.var] = emitter.emit(substitute(binding.value, values))
    result = substitute(bindings_of(main)[-1].value, values)
    return finish(emitter, module.get_global_var("main"), main, list(main.params), result)


def is_accelerated(module: ir.IRModule, value: relax.Expr, integers: Mapping[str, bool]) -> bool:
    """Whether a binding of level 3 is an operation of the accelerator: an integer composite, or a move of such values."""
    if not isinstance(value, relax.Call):
        return False
    name = callee_name(module, value)
    if name.startswith(ACCELERATOR_PREFIX):
        return True
    if name not in MOVES:
        return False
    sources = value.args[0].fields if isinstance(value.args[0], relax.Tuple) else [value.args[0]]
    return any(_is_accelerator_data(source, integers) for source in sources)


def _is_accelerator_data(source: relax.Expr, integers: Mapping[str, bool]) -> bool:
    if isinstance(source, relax.Var):
        return integers.get(source.name, False)
    return isinstance(source, ir.GenericConst) and dtype_of(source) in ("int8", "int16")


def _stages(module: ir.IRModule, bindings: Sequence[relax.VarBinding]) -> dict[str, tuple[int, bool]]:
    """For each binding, how many regions must have run when it runs (its own included), and whether it is in one."""
    stages: dict[str, tuple[int, bool]] = {}
    data: dict[str, bool] = {}
    for binding in bindings:
        accelerated = is_accelerated(module, binding.value, data)
        stage = 1 if accelerated else 0
        for variable in _read(binding.value):
            source_stage, from_region = stages.get(variable.name, (0, False))
            stage = max(stage, source_stage + (1 if accelerated and not from_region else 0))
        stages[binding.var.name] = (stage, accelerated)
        data[binding.var.name] = accelerated or _quantises(module, binding.value)
    return stages


def _quantises(module: ir.IRModule, value: relax.Expr) -> bool:
    return isinstance(value, relax.Call) and callee_name(module, value) == "host.quantise"


def _read(expr: relax.Expr | None) -> list[relax.Var]:
    if isinstance(expr, relax.Var):
        return [expr]
    if isinstance(expr, relax.TupleGetItem):
        return _read(expr.tuple_value)
    items = expr.fields if isinstance(expr, relax.Tuple) else getattr(expr, "args", [])
    return [variable for item in items for variable in _read(item)]


def _read_outside(main: relax.Function, region: Region) -> list[relax.Var]:
    """The region's variables that anything outside it reads: results of `main` in their order, converted or not, so that
    a model needs no host code to reorder them; then the others in the order of their definition.
    """
    own = {binding.var for binding in region.bindings}
    outside = {b.var: b.value for b in bindings_of(main) if b.var not in own}
    read = {variable for value in outside.values() for variable in _read(value)} & own
    results = _read(bindings_of(main)[-1].value)
    sources = [source for result in results for source in (result, *_read(outside.get(result)))]
    returned = [source for source in sources if source in read]
    return list(dict.fromkeys([*returned, *(b.var for b in region.bindings if b.var in read)]))


def _call_region(
    module: ir.IRModule,
    emitter: Emitter,
    region: Region,
    outputs: Sequence[relax.Var],
    values: dict[relax.Var, relax.Expr],
) -> None:
    """Adds the region's function and calls it in main; `values` then knows its outputs."""
    own = {binding.var for binding in region.bindings}
    inputs = list(dict.fromkeys(v for b in region.bindings for v in _read(b.value) if v not in own))
    function = _region_function(module, emitter.builder, region, inputs, outputs)
    symbol = emitter.builder.add_func(function, region.symbol)
    emitter.layer = region.symbol
    call = emitter.emit(relax.Call(symbol, [values.get(v, v) for v in inputs]))
    if len(outputs) == 1:
        values[outputs[0]] = call
        return
    for index, variable in enumerate(outputs):
        emitter.layer = variable.name
        values[variable] = emitter.emit(relax.TupleGetItem(call, index))


def _region_function(
    module: ir.IRModule,
    builder: relax.BlockBuilder,
    region: Region,
    inputs: Sequence[relax.Var],
    outputs: Sequence[relax.Var],
) -> relax.Function:
    """The region as a function; the composites it calls are local, as the code generator sees this function alone."""
    parameters = [relax.Var(v.name, v.ty) for v in inputs]
    inner = Emitter(builder)
    values: dict[relax.Var, relax.Expr] = dict(zip(inputs, parameters, strict=True))
    local: dict[str, relax.Var] = {}
    for binding in region.bindings:
        value = substitute(binding.value, values)
        if isinstance(value.op, ir.GlobalVar):
            name = value.op.name_hint
            if name not in local:
                composite = module[value.op]
                local[name] = relax.DataflowVar(name, composite.ty)
                inner.bindings.append(relax.VarBinding(local[name], composite))
            value = relax.Call(local[name], value.args)
        values[binding.var] = inner.bind(binding.var.name, value)
    results = [values[v] for v in outputs]
    body = straight_line_body(
        builder, inner.bindings, results[0] if len(results) == 1 else relax.Tuple(results)
    )
    function = relax.Function(parameters, body, ret_ty=body.ty, is_pure=True)
    return function.with_attr("Codegen", CODEGEN).with_attr("global_symbol", region.symbol)
