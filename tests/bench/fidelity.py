"""What all models keep of onnxruntime's results at 16 and at 8 bits: `python -m tests.bench.fidelity`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import models
from nmc.check import ACCELERATOR, REFERENCE, check_model
from nmc.options import Options

MOST_SAMPLES = 300
"""For magika, whose 408 files would take minutes more; the other sets are used whole up to 1000."""
DIRECTORY = Path("build/bench")


@dataclass(frozen=True)
class Fidelity:
    """One row: the metric of onnxruntime and of the accelerator, and the smallest cosine of any sample's output."""

    model: str
    bits: int
    samples: int
    metric: str
    onnxruntime: float
    accelerator: float
    same_top1: float
    smallest_cosine: float
    bit_exact: bool


def main() -> None:
    """Measures, prints the table and writes build/bench/fidelity.json."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    rows = [measure(name, bits) for bits in (16, 8) for name in models.NAMES]
    print(table(rows))
    (DIRECTORY / "fidelity.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def measure(name: str, bits: int) -> Fidelity:
    """Checks one model on its test set."""
    model = models.get(name)
    count = MOST_SAMPLES if name == "magika" else None
    data = {key: array[:count] for key, array in model.test().items()}
    labels = model.labels()[:count]
    options = Options(shapes=dict(model.shapes), calibration=dict(model.calibration()), bits=bits)
    report = check_model(model.onnx_path(), options, data)
    ((_, expected),) = report.outputs[REFERENCE].items()
    ((_, actual),) = report.outputs[ACCELERATOR].items()
    return Fidelity(
        model=name,
        bits=bits,
        samples=report.samples,
        metric=model.metric_name,
        onnxruntime=model.metric(report.outputs[REFERENCE], labels),
        accelerator=model.metric(report.outputs[ACCELERATOR], labels),
        same_top1=float((expected.argmax(-1) == actual.argmax(-1)).mean()),
        smallest_cosine=smallest_cosine(expected, actual),
        bit_exact=report.bit_exact,
    )


def smallest_cosine(expected: np.ndarray, actual: np.ndarray) -> float:
    """The smallest cosine over all vectors along the last axis, in float64."""
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    return float(((a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))).min())


def table(rows: list[Fidelity]) -> str:
    """The rows in Markdown."""
    lines = [
        "| model | bits | samples | metric | onnxruntime | accelerator | same top-1 | smallest cosine | bit-exact |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.model} | {row.bits} | {row.samples} | {row.metric} | {row.onnxruntime:.1%} | {row.accelerator:.1%} "
        f"| {row.same_top1:.1%} | {row.smallest_cosine:.6f} | {'yes' if row.bit_exact else 'NO'} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
