"""The compile driver: a model goes down the levels, one step a function, and every level is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
from tvm import ir

from nmc.argument_counts import ArgumentCounts
from nmc.blas import one_blas_thread
from nmc.border import find_border
from nmc.calibration import collect_ranges, synthetic_samples
from nmc.data import checked_samples
from nmc.errors import ConfigError, UndefinedResultError, UnsupportedOperatorError
from nmc.fallback import find_fallback, integer_inputs
from nmc.finite_weights import require_finite_factors, require_finite_weights
from nmc.frontend import ImportedModel, TensorSpec, import_model
from nmc.index_limits import with_index_limits
from nmc.manifest import Border, Fallback
from nmc.masks import found_masks, possible_masks, require_masks
from nmc.memory import release_freed_memory
from nmc.mixed_precision import choose_products
from nmc.narrowing import narrow_products
from nmc.operand_statistics import OperandStatistics
from nmc.options import AUTO_BITS, Options
from nmc.pwl.table import Table, fit_table
from nmc.quant.formats import DATA_BITS, TensorFormat
from nmc.undefined import hides_undefined_results, undefined_results
from passes.bound_masks import bound_masks
from passes.expand_maximum import expand_maximum
from passes.expand_rounding import expand_rounding
from passes.fold_waves import fold_waves
from passes.formats import plan_formats
from passes.keep_on_host import keep_on_host
from passes.linearise import Fit, FittedTable, Request, linearise
from passes.narrow_products import NarrowProducts
from passes.partition import partition
from passes.pipeline import lowering_passes
from passes.quantise import QuantisedTensor, quantise
from passes.ranges import Ranges, needed_ranges
from passes.rewrite import layer_named
from passes.verify_matrix_form import accelerator_functions, verify_matrix_form
from targets.gemm_accel.codegen import CompiledRegion, compile_region
from targets.gemm_accel.config import AcceleratorConfig, load_config

Progress = Callable[[str], None]

AIM = 0.125
"""The error of a table, in steps of a 16-bit result, below which further entries are not worth loading: rounding the result
adds half a step, and eighths of one in several tables stay far below that together."""

SAMPLES = "the calibration data; check its values"
SYNTHETIC = "synthetic inputs, which stand in for calibration data; give --calibrate DATA.npz"
"""What a model is calibrated on, and what to do where that does not go well."""


@dataclass(frozen=True)
class Compilation:
    """All that a compile made, from level 1 to the command streams, as deep as the options ask for."""

    imported: ImportedModel
    options: Options
    config: AcceleratorConfig
    levels: Mapping[str, ir.IRModule]
    """In order: `relax` (level 1), `matrix_form` (level 2) and `quantised` (level 3); each `main` takes and returns user
    tensors. The cpu target has those down to the level that it runs."""
    stages: Sequence[tuple[str, ir.IRModule]]
    """The module after each pass, in order."""
    partitioned: ir.IRModule
    tables: Sequence[FittedTable] = ()
    tensors: Mapping[str, QuantisedTensor] = field(default_factory=dict)
    """What became at level 3 of each float tensor of level 2, by the name of its variable."""
    fallback: Sequence[Fallback] = ()
    needed: Ranges = field(default_factory=dict)
    """Where what reads a tensor tells its values apart, by the name of its variable: elsewhere its integers saturate."""
    regions: Mapping[str, CompiledRegion] = field(default_factory=dict)
    """By symbol; empty for the cpu target."""
    border: Border | None = None
    """Not None when no operator runs on the host."""
    warnings: Sequence[str] = ()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs in order."""
        return self.imported.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs in order."""
        return self.imported.outputs

    @property
    def deepest(self) -> ir.IRModule:
        """The module of the last level that was made."""
        return list(self.levels.values())[-1]


@one_blas_thread()
def compile_model(
    model: str | Path | onnx.ModelProto, options: Options, progress: Progress = lambda _step: None
) -> Compilation:
    """Compiles a model; raises an NmcError that names what cannot be compiled."""
    config = load_config(options.config)
    progress("importing the model")
    imported = with_index_limits(
        import_model(model, shapes=options.shapes, binds=options.binds, data=options.calibration)
    )
    release_freed_memory()
    module = imported.module
    made = Compilation(imported, options, config, {"relax": module}, [("import", module)], module)
    if options.deepest_level == 1:
        return made
    if imported.in_doubles:
        return on_host(made)
    made, plan = to_matrix_form(made, progress)
    if options.deepest_level == 2:
        return made
    made = to_integers(made, plan, progress)
    return to_commands(made, progress) if options.target == "gemm-accel" else made


def on_host(made: Compilation) -> Compilation:
    """All levels of a model in doubles, whose numbers are beyond those of the accelerator: nothing changes, all of it runs
    on the host."""
    module = made.imported.module
    below = ("matrix_form", "quantised")[: made.options.deepest_level - 1]
    return with_fallback(replace(made, levels={**made.levels, **dict.fromkeys(below, module)}), module)


def with_fallback(made: Compilation, partitioned: ir.IRModule) -> Compilation:
    """The compilation with its module in regions, and what is in none of them.

    Raises UnsupportedOperatorError where the options ask that there be nothing of that kind.
    """
    fallback = find_fallback(partitioned)
    if made.options.require_full_offload and fallback:
        raise UnsupportedOperatorError(
            "not everything is offloaded: " + "; ".join(map(str, fallback)), integer_inputs(partitioned)
        )
    return replace(made, partitioned=partitioned, fallback=fallback)


@dataclass(frozen=True)
class IntegerPlan:
    """How level 2 becomes integers: by the names of its variables."""

    formats: Mapping[str, TensorFormat]
    tables: Mapping[str, FittedTable]
    products: NarrowProducts


def to_matrix_form(made: Compilation, progress: Progress) -> tuple[Compilation, IntegerPlan]:
    """Goes on to level 2: matrix form with a table for every function; also how it becomes integers."""
    options = made.options
    samples, warnings = calibration_samples(made.imported, options)
    seen = calibrate(made, samples, progress)
    stages, arguments = list(seen.stages), seen.arguments
    exact, ranges = expand_maximum(*fold_waves(*expand_rounding(*bound_masks(seen.exact, seen.ranges))))
    formats = plan_formats(exact, ranges)
    inputs = found_masks(made.inputs, exact, ranges, formats)
    require_masks(options.calibration, inputs, "calibration data")
    products: NarrowProducts = {}
    if options.bits != 16:
        progress("choosing 8-bit formats")
        products = narrow_products(exact, seen.operands, options.calibration_method)
    if options.bits == AUTO_BITS:
        progress("choosing the products that have 8 bits")
        products = choose_products(exact, products, samples, options.max_loss)
    progress("fitting tables")
    matrix_form, tables = linearise(exact, ranges, formats, table_fitter(options, made.config, arguments))
    tables = {name: _with_outside(table, arguments) for name, table in tables.items()}
    stages += [("expand_maximum", exact), ("linearise", matrix_form)]
    made = replace(
        made,
        imported=replace(made.imported, inputs=inputs),
        levels={**made.levels, "matrix_form": matrix_form},
        stages=stages,
        partitioned=matrix_form,
        tables=tuple(tables.values()),
        needed=needed_ranges(exact, ranges),
        warnings=(*warnings, *seen.warnings),
    )
    return made, IntegerPlan(formats, tables, products)


@dataclass(frozen=True)
class Calibrated:
    """Matrix form with exact functions, the module after each pass, and what its tensors held on the samples."""

    exact: ir.IRModule
    stages: Sequence[tuple[str, ir.IRModule]]
    ranges: Ranges
    operands: OperandStatistics
    arguments: ArgumentCounts
    warnings: Sequence[str]


def calibrate(made: Compilation, samples: Sequence[Sequence[np.ndarray]], progress: Progress) -> Calibrated:
    """Lowers level 1 and runs it on the samples. What has results that are not numbers on data of the user's stays on the
    host; synthetic data may lie outside a model's domain, so that there it is an error."""
    module, own = made.imported.module, made.options.calibration is not None
    if own and hides_undefined_results(module):
        return _calibrate(with_host_operations(made, undefined_results(module, samples)), samples, progress)
    try:
        return _calibrate(made, samples, progress)
    except UndefinedResultError:
        undefined = undefined_results(module, samples) if own else set()
        if not undefined:
            raise
    return _calibrate(with_host_operations(made, undefined), samples, progress)


def with_host_operations(made: Compilation, names: set[str]) -> Compilation:
    """The compilation with the named results of level 1, and all that read them, computed on the host."""
    if not names:
        return made
    module = keep_on_host(made.imported.module, names)
    layers = sorted(set(map(layer_named, names)))
    warning = (
        f"the results of {', '.join(layers)} are not numbers everywhere on {SAMPLES}. They are computed on the CPU, as no "
        "integers stand for them"
    )
    return replace(made, stages=[*made.stages, ("keep_on_host", module)], warnings=[*made.warnings, warning])


def _calibrate(made: Compilation, samples: Sequence[Sequence[np.ndarray]], progress: Progress) -> Calibrated:
    stages, module = list(made.stages), made.stages[-1][1]
    progress("lowering to matrix form")
    require_finite_factors(module, made.imported.operators)
    exact = lower(module, stages)
    require_finite_weights(exact, made.imported.operators)
    progress("calibrating")
    narrow, operands, arguments = made.options.bits != 16, OperandStatistics(exact), ArgumentCounts(exact)

    def observe(name: str, array: np.ndarray) -> None:
        arguments.observe(name, array)
        if narrow:
            operands.observe(name, array)

    ranges = collect_ranges(exact, samples, observe, SAMPLES if made.options.calibration else SYNTHETIC)
    return Calibrated(exact, stages, ranges, operands, arguments, made.warnings)


def _with_outside(fitted: FittedTable, arguments: ArgumentCounts) -> FittedTable:
    share = arguments.share_outside(fitted.argument, fitted.table.lo, fitted.table.hi)
    return replace(fitted, outside=share)


def to_integers(made: Compilation, plan: IntegerPlan, progress: Progress) -> Compilation:
    """Goes on to level 3: everything of matrix form in integers, split into the accelerator's regions and the host's."""
    progress("quantising")
    quantised, tensors = quantise(made.deepest, plan.formats, plan.tables, plan.products)
    partitioned = verify_matrix_form(partition(quantised))
    return replace(
        with_fallback(made, partitioned),
        levels={**made.levels, "quantised": quantised},
        stages=[*made.stages, ("quantise", quantised), ("partition", partitioned)],
        tensors=tensors,
        border=find_border(partitioned, made.inputs, made.outputs),
    )


def to_commands(made: Compilation, progress: Progress) -> Compilation:
    """Goes on to level 4: the command stream of each region."""
    progress("generating commands")
    regions = {
        symbol: compile_region(function, made.config, made.partitioned)
        for symbol, function in accelerator_functions(made.partitioned).items()
    }
    return replace(made, regions=regions)


def lower(module: ir.IRModule, stages: list[tuple[str, ir.IRModule]]) -> ir.IRModule:
    """Matrix form with exact functions; the module after each pass is appended to `stages`."""
    for transformation in lowering_passes():
        module = transformation(module)
        stages.append((str(transformation.info.name).removeprefix("nmc."), module))
    return module


def calibration_samples(
    imported: ImportedModel, options: Options
) -> tuple[list[list[np.ndarray]], tuple[str, ...]]:
    """One list of arrays a sample, in the order of the inputs, and what to warn the user of.

    Raises CalibrationError when the data's names, shapes or values do not fit the inputs.
    """
    data = options.calibration
    if data is None and not imported.inputs:
        return synthetic_samples([]), ()
    if data is None:
        warning = (
            "no calibration data: ranges come from seeded synthetic inputs, so values that real data take may saturate; "
            "give --calibrate DATA.npz"
        )
        return synthetic_samples(list(imported.module["main"].params)), (warning,)
    arrays = list(checked_samples(data, possible_masks(imported.inputs), "calibration data").values())
    count = len(arrays[0]) if arrays else 1
    return [[array[index] for array in arrays] for index in range(count)], ()


def table_fitter(options: Options, config: AcceleratorConfig, arguments: ArgumentCounts) -> Fit:
    """How the options ask for tables to be fitted; equal questions get the same table.

    Raises ConfigError when more segments are asked for than a slot of the accelerator's table memory holds.
    """
    entries = config.table_entries
    if (options.pwl_segments or 0) > entries:
        raise ConfigError(
            f"tables of {options.pwl_segments} segments do not fit the accelerator's slots of {entries} entries; ask for "
            "fewer, or raise table_entries in its description"
        )
    fitted: dict[object, Table] = {}

    def fit(request: Request) -> Table:
        span = request.span
        histogram = None
        if options.pwl_weighted:
            histogram = arguments.histogram(request.argument, span.low, span.high)
        # a result of more bits than others keeps decades
        relative = request.result.bits > DATA_BITS
        chosen = relative or options.pwl_weighted or options.pwl_segments or options.pwl_max_error
        enough = 0.0 if chosen else AIM * request.step
        own = request.argument if histogram is not None else ""
        key = (request.function, request.parameters, span, request.seen, request.form, own, relative, enough)
        if key not in fitted:
            fitted[key] = fit_table(
                request.function,
                span.low,
                span.high,
                params=dict(request.parameters),
                segments=options.pwl_segments or entries,
                mode="chord" if options.pwl_granularity is not None else "minimax",
                granularity=options.pwl_granularity,
                max_error=options.pwl_max_error,
                input_step=request.form.scale,
                input_bits=request.form.bits,
                histogram=histogram,
                relative=relative,
                enough=enough,
                seen=request.seen,
            )
        return fitted[key]

    return fit
