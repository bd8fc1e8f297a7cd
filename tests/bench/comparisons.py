"""What networks lose to nmc, to published approximations, to pruned functions: `python -m tests.bench.comparisons [MODEL…]`.

Same models, same data, one table. Methods that replace only functions run as floats in the same matrix form
(`emulation.py`), without retraining; nmc runs its integers, bit for bit those of the accelerator. onnxruntime's static
quantisation (QDQ, 8 and 16 bits, min-max, channel by channel) is calibrated on the same data in the same run, for all
operators and for the products alone, of which the better one counts.
"""

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from tvm import ir

import models
from models.model import Model
from nmc.compiler import compile_model
from nmc.golden import Golden
from nmc.macs import macs_of
from nmc.options import Options
from passes.rewrite import bindings_of, dtype_of
from targets.cpu import build
from tests.bench import methods
from tests.bench.emulation import Array, cosines, emulate, some
from tests.bench.results import markdown, parser_of, store

SAMPLES = {"magika": 200}
"""Test samples used where the whole set would take too long."""
PRODUCTS = ["Conv", "Gemm", "MatMul"]
METHODS = {
    "I-BERT polynomials": methods.of_i_bert,
    "GQA-LUT, 8 entries": methods.of_gqa_lut,
    "NN-LUT, 16 entries": methods.of_nn_lut,
    "GELU, SiLU to relu": methods.with_relu_for_gelu,
    "softmax to 2quad": methods.with_two_quad,
    "softmax to relu": methods.with_relu_attention,
}


@dataclass(frozen=True)
class Row:
    """One model under one method; figures are None where the method replaces nothing or fails."""

    model: str
    method: str
    metric: float | None = None
    same_top1: float | None = None
    mean_cosine: float | None = None
    smallest_cosine: float | None = None
    narrow_macs: float | None = None
    """The share of multiply-adds with both operands of 8 bits; None where it is not nmc's."""
    note: str = ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes build/bench/comparisons.json."""
    chosen = parser_of(__doc__, "model", models.NAMES).parse_args(arguments).model
    rows = [row for name in chosen or models.NAMES for row in measure(name)]
    print(table(rows))
    store("comparisons", rows, chosen)


def measure(name: str) -> Iterator[Row]:
    """All rows of one model."""
    model, count = models.get(name), SAMPLES.get(name)
    data = {key: some(array, count) for key, array in model.test().items()}
    labels = some(model.labels(), count)
    expected = by_onnxruntime(model.onnx_path(), data)

    def row(method: str, outputs: Mapping[str, Array], narrow: float | None = None) -> Row:
        ((_, a),), ((_, b),) = expected.items(), outputs.items()
        near = cosines(a, b)
        agree = float((a.argmax(-1) == b.argmax(-1)).mean())
        metric = model.metric(outputs, labels)
        return Row(name, method, metric, agree, float(near.mean()), float(near.min()), narrow)

    yield row("float32", expected)
    yield row("nmc, 16 bits", *by_nmc(model, data, 16))
    yield row("nmc, 8 bits", *by_nmc(model, data, 8))
    yield row("nmc, automatic bits", *by_nmc(model, data, "auto"))
    with tempfile.TemporaryDirectory() as directory:
        for bits in (16, 8):
            paths = quantised_by_onnxruntime(model, Path(directory), bits)
            rows = [row(f"onnxruntime static, {bits} bits", by_onnxruntime(path, data)) for path in paths]
            yield max(rows, key=lambda each: each.mean_cosine or 0.0)
    emulation = emulate(model)
    for method, substitute in METHODS.items():
        outputs, replaced = emulation.outputs(data, substitute)
        yield row(method, outputs) if replaced else Row(name, method, note="nothing to replace")


def by_onnxruntime(path: Path, data: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of a model file for all samples."""
    golden = Golden(path, {})
    count = len(next(iter(data.values())))
    results = [golden.run({name: array[i] for name, array in data.items()}) for i in range(count)]
    return {name: np.stack([result[name] for result in results]) for name in results[0]}


def by_nmc(model: Model, data: Mapping[str, Array], bits: int | str) -> tuple[dict[str, Array], float]:
    """The outputs of the CPU reference, which the accelerator equals in every bit, and the share of 8-bit multiply-adds."""
    options = Options(
        target="cpu", shapes=dict(model.shapes), calibration=dict(model.calibration()), bits=bits
    )
    compilation = compile_model(model.onnx_path(), options)
    machine = build(compilation.deepest)
    arrays = [np.asarray(data[spec.name]).astype(spec.dtype) for spec in compilation.inputs]
    results = [machine.run([array[i] for array in arrays]) for i in range(len(arrays[0]))]
    names = [spec.name for spec in compilation.outputs]
    outputs = {name: np.stack([result[i] for result in results]) for i, name in enumerate(names)}
    return outputs, narrow_share(compilation.deepest)


def narrow_share(module: ir.IRModule) -> float:
    """The share of a quantised module's multiply-adds that have both operands of 8 bits."""
    narrow = total = 0
    for binding in bindings_of(module["main"]):
        macs, _ = macs_of(module, binding)
        total += macs
        if macs and all(dtype_of(operand) == "int8" for operand in binding.value.args[:2]):
            narrow += macs
    return narrow / max(total, 1)


class Reader(CalibrationDataReader):
    """The calibration data of a model, one sample at a time."""

    def __init__(self, model: Model):
        data = model.calibration()
        count = len(next(iter(data.values())))
        self.samples = iter([{name: array[i] for name, array in data.items()} for i in range(count)])

    def get_next(self) -> dict[str, Array] | None:
        """The next sample; None after the last."""
        return next(self.samples, None)


def quantised_by_onnxruntime(model: Model, directory: Path, bits: int) -> list[Path]:
    """The model quantised statically to 8 or 16 bits, once all operators that can be and once the products alone.

    Channel by channel, or by tensor where that fails: onnxruntime 1.32 stops at a bias whose weights have a scale
    each, as magika's have.
    """
    logging.getLogger().setLevel(logging.ERROR)
    prepared = directory / "prepared.onnx"
    quant_pre_process(str(model.onnx_path()), str(prepared), skip_symbolic_shape=True)
    results = []
    for operators in (None, PRODUCTS):
        result = directory / f"quantised{bits}{'' if operators is None else '_products'}.onnx"
        try:
            _quantise(prepared, result, model, bits, operators, by_channel=True)
        except ValueError:
            _quantise(prepared, result, model, bits, operators, by_channel=False)
        results.append(result)
    return results


def _quantise(
    prepared: Path, result: Path, model: Model, bits: int, operators: list[str] | None, by_channel: bool
) -> None:
    integers = QuantType.QInt8 if bits == 8 else QuantType.QInt16
    quantize_static(
        str(prepared),
        str(result),
        Reader(model),
        op_types_to_quantize=operators,
        per_channel=by_channel,
        activation_type=integers,
        weight_type=integers,
        extra_options={
            # 16-bit integers are of onnxruntime's own operators before ONNX's operator set 21
            "UseQDQContribOps": bits == 16,
            # 32 bits do not hold biases in steps of two 16-bit scales
            "QuantizeBias": bits == 8,
        },
    )


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    header = ("model", "method", "metric", "same top-1", "mean cosine", "smallest cosine", "MACs at 8 bits")
    return markdown(header, [(row.model, row.method, *_cells(row)) for row in rows])


def _cells(row: Row) -> tuple[str, ...]:
    if row.metric is None:
        return row.note, "", "", "", ""
    return (
        f"{row.metric:.1%}",
        f"{row.same_top1:.1%}",
        f"{row.mean_cosine:.5f}",
        f"{row.smallest_cosine:.5f}",
        "" if row.narrow_macs is None else f"{row.narrow_macs:.1%}",
    )


if __name__ == "__main__":
    main()
