"""What compiling and simulating the three real models takes: `python -m tests.bench.real_models`.

Compiling is the command line end to end, imports included, in a process of its own. Simulating is the package's `run` on one
sample, the best of three, beside onnxruntime's float32 `run` in the same process.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime

import models
import nmc
from models.model import Model

NAMES = ("efficientnet_lite0", "minilm", "magika")
DIRECTORY = Path("build/bench")


@dataclass(frozen=True)
class Measurement:
    """One row of the table; seconds are wall-clock seconds of this machine in this run."""

    model: str
    compile_seconds: float
    compile_peak_mebibytes: float
    simulate_seconds: float
    onnxruntime_seconds: float
    simulated_cycles: int
    utilization: float


def main() -> None:
    """Measures, prints the table and writes build/bench/real_models.json."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    rows = [measure(name) for name in NAMES]
    print(table(rows))
    (DIRECTORY / "real_models.json").write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def measure(name: str) -> Measurement:
    """Compiles, simulates and runs one model."""
    model, package = models.get(name), DIRECTORY / f"{name}.nmc"
    seconds, mebibytes = compile_in_a_process(model, package)
    executable = nmc.load(package)
    sample = {key: array[0] for key, array in model.test().items()}
    session = onnxruntime.InferenceSession(str(model.onnx_path()))
    profile = executable.profile()
    return Measurement(
        model=name,
        compile_seconds=seconds,
        compile_peak_mebibytes=mebibytes,
        simulate_seconds=best_of_three(lambda: executable.run(sample)),
        onnxruntime_seconds=best_of_three(lambda: session.run(None, sample)),
        simulated_cycles=profile.cycles,
        utilization=profile.utilization,
    )


def compile_in_a_process(model: Model, package: Path) -> tuple[float, float]:
    """The wall-clock seconds and the peak resident memory, in MiB, of `nmc compile`."""
    calibration = DIRECTORY / f"{model.name}-calibration.npz"
    np.savez(calibration, **model.calibration())
    shapes = [f"--shape={name}={','.join(map(str, shape))}" for name, shape in model.shapes.items()]
    command = [sys.executable, "-m", "nmc", "compile", str(model.onnx_path()), *shapes]
    command += ["--calibrate", str(calibration), "-o", str(package)]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def best_of_three(action: Callable[[], object]) -> float:
    """The shortest of three times, in seconds, after one that warms up."""
    action()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return min(times)


def table(rows: list[Measurement]) -> str:
    """The rows in Markdown."""
    lines = [
        "| model | compile | peak memory | simulate one inference | times onnxruntime | simulated cycles | utilisation |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = row.simulate_seconds / row.onnxruntime_seconds
        lines.append(
            f"| {row.model} | {row.compile_seconds:.0f} s | {row.compile_peak_mebibytes:.0f} MiB "
            f"| {row.simulate_seconds:.2f} s | {ratio:.0f} × | {row.simulated_cycles:,} | {row.utilization:.1%} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
