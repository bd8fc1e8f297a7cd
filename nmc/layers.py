"""Where precision is lost: the signal-to-noise ratio of each layer's result, by the step that added the noise.

A layer's result is the last tensor that carries its name. Matrix form with exact functions against level 2 shows what tables
cost up to and including that layer, level 2 against level 3 what integers cost. (Level 1 itself does not compare: lowering
moves factors and biases from one layer into another.)

Why a layer's integers differ follows from what each reason alone would add: values beyond the format saturate, the
others are rounded to a step, and what is left came with the operands. What nothing that reads the result tells apart, such
as values above 6 before a relu6, is no difference.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import ir, relax

from nmc.compiler import Compilation
from nmc.metrics import OutputError, compare
from nmc.quant import fixed_point
from passes.matrix_form.im2col import IM2COL
from passes.matrix_form.moves import REARRANGING
from passes.ranges import EVERYTHING
from passes.rewrite import bindings_of, callee_name, dtype_of, layer_of, shape_of, straight_line_body
from targets.cpu import build

Arrays = Mapping[str, np.ndarray]
Progress = Callable[[str], None]

MOST_SAMPLES = 4
"""All tensors of a level are held at once, for so many samples."""


TABLE, SATURATION, STEP_SIZE, RANGE, OPERANDS = "table", "saturation", "step size", "range", "operands"
"""Why a layer's result differs. A step is too large for its values either way; `range` says that a few values far beyond
the others made it so, `operands` that what the layer reads, weights included, differs already."""

OWN_SHARE = 0.5
"""A table whose mean error is this part of a layer's error is its cause."""

FAR_BEYOND = 128.0
"""A format that reaches this many times the median of the values' magnitudes has its step from a few of them."""


@dataclass(frozen=True)
class LayerError:
    """What the two approximating steps add up to, at one layer's result."""

    layer: str
    place: int
    """The layer's number in the order of the model."""
    shape: tuple[int, ...]
    linearised: OutputError
    quantised: OutputError
    own_db: float | None
    """The signal-to-noise ratio in decibels if the layer's operands were exact, and integers only rounded and cut its
    result; None where there is no noise, as of a move."""
    cause: str
    """Of the five above, for the step that lost more."""

    @property
    def step(self) -> str:
        """The step that lost more: `linearisation` (a table) or `quantisation` (a step size or a range)."""
        return "linearisation" if self.linearised.rmse > self.quantised.rmse else "quantisation"

    @property
    def snr_db(self) -> float:
        """The smaller signal-to-noise ratio of the two steps in decibels; infinite where neither lost anything."""
        ratios = [e.snr_db for e in (self.linearised, self.quantised) if e.snr_db is not None]
        return min(ratios, default=float("inf"))


def measure_layers(
    compilation: Compilation, samples: Sequence[Arrays], progress: Progress = lambda _step: None
) -> list[LayerError]:
    """The error of each layer that the accelerator computes, the worst first.

    Each sample holds one array an input, by name; the first few are used.
    """
    if compilation.imported.in_doubles:
        return []
    levels, lowered = compilation.levels, dict(compilation.stages)["expand_maximum"]
    exact, tables = results_by_layer(lowered), results_by_layer(levels["matrix_form"])
    integers = {b.var.name: b for b in bindings_of(levels["quantised"]["main"])}
    layers = [
        layer
        for layer, variable in tables.items()
        if layer in exact
        and exact[layer].name == variable.name
        and (tensor := compilation.tensors.get(variable.name)) is not None
        and tensor.variable in integers
    ]
    chosen = list(samples)[:MOST_SAMPLES]
    tensors = [compilation.tensors[tables[layer].name] for layer in layers]
    inputs = [[sample[spec.name] for spec in compilation.inputs] for sample in chosen]
    progress("measuring layers: exact functions")
    first = _run(lowered, [exact[layer] for layer in layers], inputs)
    progress("measuring layers: matrix_form")
    second = _run(levels["matrix_form"], [tables[layer] for layer in layers], inputs)
    progress("measuring layers: quantised")
    third = _run(levels["quantised"], [integers[tensor.variable].var for tensor in tensors], inputs)
    fitted = {table.layer: table.table for table in compilation.tables}
    errors = []
    for place, layer in enumerate(layers):
        scale, need = tensors[place].scale, compilation.needed.get(tables[layer].name, EVERYTHING)
        exact_result, reference, result = (
            np.clip(array, need.low, need.high)
            for array in (first[place], second[place], fixed_point.dequantise(third[place], scale))
        )
        linearised, quantised = compare(exact_result, reference), compare(reference, result)
        moves = _only_moves(levels["quantised"], integers, integers[tensors[place].variable])
        noise = _noise_of_integers(reference, third[place], scale, moves)
        if linearised.rmse > quantised.rmse:
            own = fitted[layer].mean_error if layer in fitted else 0.0
            cause = TABLE if own >= OWN_SHARE * linearised.rmse else OPERANDS
        else:
            cause = _cause_of_integers(
                noise, np.abs(reference / scale), float(np.iinfo(third[place].dtype).max)
            )
        shape = shape_of(tables[layer])
        errors.append(LayerError(layer, place, shape, linearised, quantised, noise.own_db, cause))
    return sorted(errors, key=lambda error: error.snr_db)


@dataclass(frozen=True)
class _Noise:
    """Sums of squares over a layer's result, in steps of its format: of the values, and of what was added to them."""

    signal: float
    saturated: float
    rounded: float
    total: float

    @property
    def own_db(self) -> float | None:
        own = self.saturated + self.rounded
        return 10.0 * math.log10(self.signal / own) if own > 0.0 and self.signal > 0.0 else None


def _noise_of_integers(reference: np.ndarray, integers: np.ndarray, scale: float, moves: bool) -> _Noise:
    """What integers that stand for `reference` in steps of `scale` add to it; a result that only `moves` rounds nothing."""
    highest = float(np.iinfo(integers.dtype).max)
    wanted = reference.astype(np.float64) / scale
    cut = np.where(np.abs(integers) >= highest, wanted - np.clip(wanted, -highest - 1.0, highest), 0.0)
    return _Noise(
        signal=float((wanted**2).sum()),
        saturated=0.0 if moves else float((cut**2).sum()),
        rounded=0.0 if moves else wanted.size / 12.0,
        total=float(((wanted - integers) ** 2).sum()),
    )


def _only_moves(
    module: ir.IRModule, bindings: Mapping[str, relax.VarBinding], last: relax.VarBinding
) -> bool:
    """Whether a layer of which this is the last of `bindings` does nothing but move what another has computed."""
    layer, value = layer_of(last.var), last.value
    while isinstance(value, relax.Call) and callee_name(module, value) in REARRANGING | {IM2COL}:
        source = bindings.get(getattr(value.args[0], "name", ""))
        if source is None or layer_of(source.var) != layer:
            return True
        value = source.value
    return False


def _cause_of_integers(noise: _Noise, magnitudes: np.ndarray, highest: float) -> str:
    """Why a layer's integers differ, given the magnitudes of its values in steps of a format that reaches `highest`."""
    operands = noise.total - noise.saturated - noise.rounded
    if noise.saturated > 0.0 and noise.saturated >= max(noise.rounded, operands):
        return SATURATION
    if operands > noise.rounded:
        return OPERANDS
    known = magnitudes[magnitudes != 0.0]
    return RANGE if known.size and highest > FAR_BEYOND * np.median(known) else STEP_SIZE


def results_by_layer(module: ir.IRModule) -> dict[str, relax.Var]:
    """The last float tensor of each layer of `main`."""
    return {
        layer_of(binding.var): binding.var
        for binding in bindings_of(module["main"])
        if isinstance(binding.var, relax.DataflowVar)
        and isinstance(binding.var.ty, relax.TensorType)
        and dtype_of(binding.var) == "float32"
    }


def _run(
    module: ir.IRModule, variables: Sequence[relax.Var], inputs: Sequence[Sequence[np.ndarray]]
) -> list[np.ndarray]:
    """The values of some variables of `main`, [samples, *shape] each."""
    if not variables:
        return []
    machine = build(_returning(module, variables))
    return [np.stack(arrays) for arrays in zip(*(machine.run(sample) for sample in inputs), strict=True)]


def _returning(module: ir.IRModule, variables: Sequence[relax.Var]) -> ir.IRModule:
    """The module whose main returns a tuple of these variables of its own."""
    builder = relax.BlockBuilder(module)
    main = module["main"]
    inner = [b for b in bindings_of(main) if isinstance(b.var, relax.DataflowVar)]
    body = straight_line_body(builder, inner, relax.Tuple(list(variables)))
    function = relax.Function(list(main.params), body, ret_ty=body.ty, is_pure=True, attrs=main.attrs)
    builder.update_func(module.get_global_var("main"), function)
    return builder.get()
