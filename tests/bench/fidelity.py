"""What all models keep of onnxruntime's results at 16 bits, at 8 bits, and with the compiler's choice between the two:
`python -m tests.bench.fidelity [MODEL…] [--bits 16|8|auto]`, on the whole test sets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import models
from models.model import DataSet
from nmc.check import ACCELERATOR, INTEGER_LEVELS, REFERENCE, check_model
from nmc.options import Options
from tests.bench.results import markdown, parser_of, store

WIDTHS: tuple[int | str, ...] = (16, 8, "auto")
EVERYWHERE = np.ones(1)
"""The mask that leaves no position out."""


@dataclass(frozen=True)
class Fidelity:
    """One row: the metric of onnxruntime and of the accelerator, and the smallest cosines of any output."""

    model: str
    bits: int | str
    samples: int
    metric: str
    onnxruntime: float
    accelerator: float
    same_top1: float
    smallest_cosine: float
    """Of any vector along the last axis."""
    smallest_counted_cosine: float
    """Of any vector but those at positions that an attention mask leaves out."""
    smallest_sample_cosine: float
    """Of the whole output of any sample, without the positions that an attention mask leaves out."""
    bit_exact: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes build/bench/fidelity.json."""
    parser = parser_of(__doc__, "model", models.NAMES)
    parser.add_argument("--bits", choices=[str(bits) for bits in WIDTHS])
    chosen = parser.parse_args(arguments)
    widths = [bits for bits in WIDTHS if chosen.bits in (None, str(bits))]
    rows = [measure(name, bits) for bits in widths for name in chosen.model or models.NAMES]
    print(table(rows))
    store("fidelity", rows, chosen.model, widths)


def measure(name: str, bits: int | str) -> Fidelity:
    """Checks one model on its test set."""
    model = models.get(name)
    options = Options(shapes=dict(model.shapes), calibration=dict(model.calibration()), bits=bits)
    report = check_model(model.onnx_path(), options, dict(model.test()), levels=INTEGER_LEVELS)
    ((_, expected),) = report.outputs[REFERENCE].items()
    ((_, actual),) = report.outputs[ACCELERATOR].items()
    counted = counted_positions(model.test(), expected)
    return Fidelity(
        model=name,
        bits=bits,
        samples=report.samples,
        metric=model.metric_name,
        onnxruntime=model.metric(report.outputs[REFERENCE], model.labels()),
        accelerator=model.metric(report.outputs[ACCELERATOR], model.labels()),
        same_top1=float((expected.argmax(-1) == actual.argmax(-1)).mean()),
        smallest_cosine=smallest_cosine(expected, actual),
        smallest_counted_cosine=smallest_cosine(expected, actual, counted),
        smallest_sample_cosine=smallest_cosine(flat(expected * counted), flat(actual * counted)),
        bit_exact=report.bit_exact,
    )


def counted_positions(data: DataSet, output: np.ndarray) -> np.ndarray:
    """The attention mask, where a model has one of the output's positions: [*positions, 1]; else ones."""
    mask = data.get("attention_mask")
    if mask is None or mask.size * output.shape[-1] != output.size:
        return EVERYWHERE
    return mask.reshape(*output.shape[:-1], 1)


def flat(array: np.ndarray) -> np.ndarray:
    """[samples, elements]."""
    return array.reshape(len(array), -1)


def smallest_cosine(expected: np.ndarray, actual: np.ndarray, counted: np.ndarray = EVERYWHERE) -> float:
    """The smallest cosine over all vectors along the last axis where `counted` is not 0, in float64."""
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    cosines = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return float(cosines[np.broadcast_to(counted[..., 0] != 0, cosines.shape)].min())


def table(rows: list[Fidelity]) -> str:
    """The rows in Markdown."""
    header = (
        "model",
        "bits",
        "samples",
        "metric",
        "onnxruntime",
        "accelerator",
        "same top-1",
        "smallest cosine: vector",
        "but for padding",
        "sample",
        "bit-exact",
    )
    cells = [
        (
            row.model,
            str(row.bits),
            str(row.samples),
            row.metric,
            f"{row.onnxruntime:.1%}",
            f"{row.accelerator:.1%}",
            f"{row.same_top1:.1%}",
            f"{row.smallest_cosine:.6f}",
            f"{row.smallest_counted_cosine:.6f}",
            f"{row.smallest_sample_cosine:.6f}",
            "yes" if row.bit_exact else "NO",
        )
        for row in rows
    ]
    return markdown(header, cells)


if __name__ == "__main__":
    main()
