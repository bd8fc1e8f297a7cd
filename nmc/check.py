"""Runs a model at every level on the same inputs and measures what each step costs.

Canonicalisation is the error of level 1, piecewise linearisation what level 2 adds, quantisation what level 3
adds. Level 4, the command stream on the simulator, must equal level 3 to the bit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nmc.calibration import synthetic_samples
from nmc.compiler import Compilation, compile_model
from nmc.data import checked_samples
from nmc.executable import Executable
from nmc.golden import Golden
from nmc.layers import LayerError, measure_layers
from nmc.manifest import Fallback
from nmc.metrics import OutputError, compare
from nmc.options import Options
from nmc.packaging import package_of
from nmc.summary import fallback_texts
from nmc.text import console, samples_text, table
from targets.cpu import build
from targets.cpu.processor import package_target

if TYPE_CHECKING:
    import onnx

Progress = Callable[[str], None]
Arrays = Mapping[str, np.ndarray]

LEVELS = {"relax": "relax", "matrix_form": "matrix_form", "quantised": "quantized"}
"""The levels that the CPU runs: name of the module in a compilation, name in the report."""
INTEGER_LEVELS = ("quantised",)
"""Of LEVELS, what alone the accelerator is compared with."""
ACCELERATOR = "accelerator"
REFERENCE = "onnxruntime"


@dataclass(frozen=True)
class CheckReport:
    """The result of a check; errors by level and output, against onnxruntime."""

    model: str
    samples: int
    different: tuple[str, ...]
    """Outputs in which the accelerator differs from the CPU reference; none when it is bit-exact."""
    fallback: tuple[Fallback, ...]
    levels: Mapping[str, Mapping[str, OutputError]]
    cycles: int
    utilization: float
    outputs: Mapping[str, Arrays]
    """The outputs themselves, [samples, *shape], by level and name; onnxruntime's under REFERENCE."""
    executable: Executable
    layers: tuple[LayerError, ...] | None = None
    """The layers, worst first; None unless they were asked for."""

    @property
    def bit_exact(self) -> bool:
        """Whether the accelerator equals the CPU reference in every bit of every output of every sample."""
        return not self.different

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        report: dict[str, Any] = {
            "model": self.model,
            "samples": self.samples,
            "bit_exact": self.bit_exact,
            "fallback_ops": [asdict(item) for item in self.fallback],
            "levels": {
                level: {name: asdict(error) for name, error in errors.items()}
                for level, errors in self.levels.items()
            },
            "cycles": self.cycles,
            "utilization": self.utilization,
        }
        if self.layers is not None:
            report["layers"] = [asdict(layer) | {"lost_by": layer.step} for layer in self.layers]
        return report


def check_model(
    model: "str | Path | onnx.ModelProto",
    options: Options,
    data: Arrays | None = None,
    progress: Progress = lambda step: None,
    per_layer: bool = False,
    levels: Iterable[str] = tuple(LEVELS),
) -> CheckReport:
    """Compiles a model and compares these levels and the accelerator on `data`: [samples, *input shape] by input name.

    Without data, on seeded synthetic inputs. `levels` holds at least INTEGER_LEVELS. Raises NmcError for a model or data
    that cannot be used.
    """
    compilation = compile_model(model, options, progress)
    samples = _samples(compilation, data)
    golden = Golden(model, options.binds)
    expected = _run_each(golden.run, samples, REFERENCE, progress)
    results = {LEVELS[name]: _run_level(compilation, name, samples, progress) for name in levels}
    executable = Executable(package_of(compilation))
    results[ACCELERATOR] = _run_each(executable.run, samples, "the accelerator's simulator", progress)
    profile = executable.profile()
    return CheckReport(
        model=compilation.imported.name,
        samples=len(samples),
        different=_different(results["quantized"], results[ACCELERATOR]),
        fallback=executable.manifest.fallback,
        levels={
            label: {name: compare(expected[name], arrays[name]) for name in arrays}
            for label, arrays in results.items()
        },
        cycles=profile.cycles,
        utilization=profile.utilization,
        outputs={REFERENCE: expected} | results,
        executable=executable,
        layers=tuple(measure_layers(compilation, samples, progress)) if per_layer else None,
    )


def _samples(compilation: Compilation, data: Arrays | None) -> list[dict[str, np.ndarray]]:
    names = [tensor.name for tensor in compilation.inputs]
    if data is None:
        parameters = compilation.levels["relax"]["main"].params
        return [dict(zip(names, sample, strict=True)) for sample in synthetic_samples(parameters)]
    checked = checked_samples(data, compilation.inputs, "--data")
    count = len(next(iter(checked.values()))) if checked else 1
    return [{name: array[index] for name, array in checked.items()} for index in range(count)]


def _run_level(
    compilation: Compilation, level: str, samples: Sequence[Arrays], progress: Progress
) -> dict[str, np.ndarray]:
    progress(f"building level {LEVELS[level]} for the CPU")
    # float operators of the host must round as those of the package do; all else is exact, or only measured
    target = package_target() if compilation.fallback and level == "quantised" else None
    module = build(compilation.levels[level], target)
    names = [tensor.name for tensor in compilation.outputs]

    def run(sample: Arrays) -> dict[str, np.ndarray]:
        outputs = module.run([sample[tensor.name] for tensor in compilation.inputs])
        return dict(zip(names, outputs, strict=True))

    return _run_each(run, samples, f"level {LEVELS[level]}", progress)


def _run_each(
    run: Callable[[Arrays], Mapping[str, np.ndarray]],
    samples: Sequence[Arrays],
    what: str,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """The outputs of every sample, stacked, by name."""
    results = []
    for index, sample in enumerate(samples):
        progress(f"{what}: sample {index + 1} of {len(samples)}")
        results.append(run(sample))
    return {name: np.stack([result[name] for result in results]) for name in results[0]}


def _different(reference: Arrays, result: Arrays) -> tuple[str, ...]:
    return tuple(
        name
        for name, array in reference.items()
        if array.dtype != result[name].dtype or array.tobytes() != result[name].tobytes()
    )


def print_check(report: CheckReport) -> None:
    """Prints the report as tables on standard output."""
    screen = console()
    screen.print(f"{report.model}: error against onnxruntime on {samples_text(report.samples)}\n")
    rows = table(("output", "level"), ("max abs", "rmse", "cosine", "SNR dB", "top-1"))
    for output in report.levels[ACCELERATOR]:
        for level, errors in report.levels.items():
            rows.add_row(output, level, *error_cells(errors[output]))
    screen.print(rows)
    verdict = "equals the CPU reference to the bit" if report.bit_exact else "DIFFERS from the CPU reference"
    screen.print(f"The accelerator {verdict}.")
    for text in fallback_texts(report.fallback):
        screen.print(f"On the CPU: {text}")
    if report.layers is not None:
        print_layers(report.layers)
    screen.print(f"{report.cycles:,} simulated cycles, utilisation {report.utilization:.1%}.")


def print_layers(layers: Sequence[LayerError]) -> None:
    """Prints the signal-to-noise ratio of each layer after each approximating step, the worst layer first."""
    screen = console()
    screen.print("\nSignal to noise by layer, worst first; own dB: if all that the layer reads were exact\n")
    rows = table(("layer", "lost by", "because of"), ("linearised dB", "quantised dB", "own dB", "max abs"))
    for layer in layers:
        largest = max(layer.linearised.max_abs, layer.quantised.max_abs)
        ratios = snr_text(layer.linearised), snr_text(layer.quantised)
        rows.add_row(layer.layer, layer.step, layer.cause, *ratios, own_text(layer), f"{largest:.3g}")
    screen.print(rows)


def own_text(layer: LayerError) -> str:
    """What a layer's ratio would be if its operands were exact, for people, in decibels."""
    return "∞" if layer.own_db is None else f"{layer.own_db:.1f}"


def snr_text(error: OutputError) -> str:
    """A signal-to-noise ratio for people, in decibels."""
    return "∞" if error.max_abs == 0.0 else "-" if error.snr_db is None else f"{error.snr_db:.1f}"


def error_cells(error: OutputError) -> list[str]:
    """What a table shows of an error: max abs, rmse, cosine, SNR dB, top-1."""
    top1 = "-" if error.top1_agreement is None else f"{error.top1_agreement:.1%}"
    return [f"{error.max_abs:.3g}", f"{error.rmse:.3g}", f"{error.cosine:.6f}", snr_text(error), top1]
