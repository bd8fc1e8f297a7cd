"""What networks of many kinds keep of onnxruntime's results: `python -m tests.bench.architectures [NETWORK]…`.

Small networks of all kinds (`tests.architectures`), and the ONNX project's `light` image networks with seeded weights.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from nmc.check import REFERENCE, check_model
from nmc.errors import NmcError
from nmc.options import Options
from tests.architectures import ARCHITECTURES
from tests.architectures.light import LIGHT, light
from tests.architectures.writer import Architecture
from tests.bench.results import DIRECTORY, parser_of

NETWORKS: Mapping[str, Callable[[], Architecture]] = {
    **ARCHITECTURES,
    **{name: partial(light, name) for name in LIGHT},
}


@dataclass(frozen=True)
class Measurement:
    """One row; the cosine is the smallest of any output over all test samples, seconds are those of the check."""

    network: str
    operators: int
    offloaded: float
    fallback: tuple[str, ...]
    bit_exact: bool
    cosine: float
    cycles: int
    seconds: float


def main(arguments: Sequence[str] = ()) -> None:
    """Measures, prints the table row by row and writes build/bench/architectures.json."""
    parser = parser_of(__doc__, "network", NETWORKS)
    chosen = parser.parse_args(arguments).network or list(NETWORKS)
    print("| network | operators | offloaded | on the CPU | bit-exact | cosine | cycles | check |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for name in chosen:
        try:
            rows.append(measure(name))
        except NmcError as error:
            print(f"| {name} | | | {error} | | | | |", flush=True)
        else:
            print(line(rows[-1]), flush=True)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    (DIRECTORY / "architectures.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def measure(name: str) -> Measurement:
    """Compiles one network, runs it at every level and compares."""
    architecture, begin = NETWORKS[name](), time.perf_counter()
    options = Options(calibration=dict(architecture.calibration))
    report = check_model(architecture.model, options, dict(architecture.test))
    expected, actual = report.outputs[REFERENCE], report.outputs["accelerator"]
    offload = report.executable.manifest.offload
    return Measurement(
        network=name,
        operators=len(architecture.model.graph.node),
        offloaded=offload.operators_accelerated / max(offload.operators_total, 1),
        fallback=tuple(sorted({item.operator for item in report.fallback if item.touches_floats})),
        bit_exact=report.bit_exact,
        cosine=min(cosine(expected[key], actual[key]) for key in expected),
        cycles=report.cycles,
        seconds=time.perf_counter() - begin,
    )


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The cosine of two tensors seen as vectors, in float64."""
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def line(row: Measurement) -> str:
    """A row in Markdown."""
    return (
        f"| {row.network} | {row.operators} | {row.offloaded:.1%} | {', '.join(row.fallback) or '-'} "
        f"| {'yes' if row.bit_exact else 'NO'} | {row.cosine:.6f} | {row.cycles:,} | {row.seconds:.0f} s |"
    )


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
