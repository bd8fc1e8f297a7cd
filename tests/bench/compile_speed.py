"""What compiling and running takes: `python -m tests.bench.compile_speed [NETWORK]…`.

Compiling is the command line end to end, imports included, in a process of its own; its peak memory stands beside four
times the model file and a GiB. Growth is a narrow transformer of 48 layers against one of 24, in CPU time. Running is
the package on one sample, on the simulator and as level 2 on the CPU, beside onnxruntime's float32 `run` in the same
process: the best of ten. CPU seconds (of all threads, and of the system) depend less on what else the machine does.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import nmc
from nmc.compiler import compile_model
from nmc.executable import Executable
from nmc.options import Options
from nmc.packaging import package_of
from tests.bench.networks import NETWORKS, SEED, Network, magika, narrow_transformer
from tests.bench.results import DIRECTORY, parser_of

COMPILED: Mapping[str, Callable[[], Network]] = {
    name: NETWORKS[name] for name in ("efficientnet_lite0", "minilm", "resnet50", "bert_base")
} | {"magika": magika}
RUN = ("efficientnet_lite0", "minilm", "magika", "resnet50")
LAYERS = (24, 48)
MEBIBYTE = 1 << 20
LAUNCHER = """
import json, resource, subprocess, sys
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""
"""A process begins with the peak of the one that starts it, which here has held whole models: so a small one starts it."""


@dataclass(frozen=True)
class Seconds:
    """How long something took, in seconds."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.2f} / {self.cpu:.2f} s"


@dataclass(frozen=True)
class Compiling:
    """One run of `nmc compile`."""

    network: str
    seconds: Seconds
    peak_mebibytes: float
    allowed_mebibytes: float


@dataclass(frozen=True)
class Running:
    """One inference by each of three."""

    network: str
    simulator: Seconds
    level_2: Seconds
    onnxruntime: Seconds


def main(arguments: Sequence[str] = ()) -> None:
    """Measures, prints the tables and writes build/bench/compile_speed.json."""
    named = parser_of(__doc__, "network", COMPILED).parse_args(arguments).network
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    compiling, running = [], []
    for name in named or COMPILED:
        with tempfile.TemporaryDirectory(prefix="nmc-bench-") as directory:
            network, package = COMPILED[name](), Path(directory) / "model.nmc"
            compiling.append(compile_in_a_process(name, network, package))
            if name in RUN:
                running.append(run_once(name, network, package))
    growth = None if named else layer_growth()
    print("\n".join(compile_lines(compiling, growth)), "", "\n".join(run_lines(running)), sep="\n")
    content = {
        "compiling": [asdict(row) for row in compiling],
        "running": [asdict(row) for row in running],
        "cpu_seconds_of_48_layers_over_24": growth,
    }
    (DIRECTORY / "compile_speed.json").write_text(json.dumps(content, indent=1) + "\n")


def compile_in_a_process(name: str, network: Network, package: Path) -> Compiling:
    """Seconds and peak resident memory of `nmc compile`, which writes the package."""
    model, calibration = package.with_name("model.onnx"), package.with_name("calibration.npz")
    onnx.save(network.model, model)
    command = [sys.executable, "-m", "nmc", "compile", str(model), "-o", str(package)]
    command += [f"--shape={key}={','.join(map(str, shape))}" for key, shape in network.shapes.items()]
    if network.calibration is not None:
        np.savez(calibration, **network.calibration)
        command += ["--calibrate", str(calibration)]
    begin = time.perf_counter()
    launched = subprocess.run([sys.executable, "-c", LAUNCHER, *command], stdout=subprocess.PIPE, check=True)
    wall = time.perf_counter() - begin
    status, cpu, peak_kibibytes = json.loads(launched.stdout)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed")
    allowed = 4 * model.stat().st_size / MEBIBYTE + 1024
    return Compiling(name, Seconds(wall, cpu), peak_kibibytes / 1024, allowed)


def layer_growth() -> float:
    """The CPU time of compiling twice as many layers, as a ratio."""
    with tempfile.TemporaryDirectory(prefix="nmc-bench-") as directory:
        package = Path(directory) / "model.nmc"
        few, many = (
            compile_in_a_process(str(layers), narrow_transformer(layers), package).seconds.cpu
            for layers in LAYERS
        )
    return many / few


def run_once(name: str, network: Network, package: Path) -> Running:
    """One inference on the simulator, as level 2 on the CPU, and by onnxruntime."""
    simulator = nmc.load(package)
    options = Options("cpu", level=2, shapes=network.shapes, calibration=network.calibration)
    host = Executable(package_of(compile_model(network.model, options)))
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3  # errors: initializers that nothing uses are no concern here
    session = onnxruntime.InferenceSession(network.model.SerializeToString(), quiet)
    sample = _sample(network, simulator)
    return Running(
        network=name,
        simulator=best_of_ten(lambda: simulator.run(sample)),
        level_2=best_of_ten(lambda: host.run(sample)),
        onnxruntime=best_of_ten(lambda: session.run(None, dict(sample))),
    )


def _sample(network: Network, executable: Executable) -> dict[str, np.ndarray]:
    if network.calibration is not None:
        return {name: array[0] for name, array in network.calibration.items()}
    generator = np.random.default_rng(SEED)
    return {t.name: generator.standard_normal(t.shape).astype(t.dtype) for t in executable.inputs}


def best_of_ten(action: Callable[[], object]) -> Seconds:
    """The shortest of ten times, after one that warms up."""
    action()
    times = []
    for _ in range(10):
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        times.append(Seconds(time.perf_counter() - wall, time.process_time() - cpu))
    return Seconds(min(each.wall for each in times), min(each.cpu for each in times))


def compile_lines(rows: Sequence[Compiling], growth: float | None) -> list[str]:
    """The first table in Markdown."""
    lines = ["| compile | wall / CPU | peak memory | allowed |", "|---|---|---|---|"]
    lines += [
        f"| {row.network} | {row.seconds} | {row.peak_mebibytes:.0f} MiB | {row.allowed_mebibytes:.0f} MiB |"
        for row in rows
    ]
    if growth is not None:
        lines.append(f"| {LAYERS[1]} layers against {LAYERS[0]} | CPU × {growth:.2f} | | |")
    return lines


def run_lines(rows: Sequence[Running]) -> list[str]:
    """The second table in Markdown; ratios are to onnxruntime, of wall and of CPU time."""
    lines = [
        "| one inference, wall / CPU | onnxruntime | simulator | ratios | level 2 on the CPU | ratios |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratios = [
            f"{each.wall / row.onnxruntime.wall:.1f} × / {each.cpu / row.onnxruntime.cpu:.1f} ×"
            for each in (row.simulator, row.level_2)
        ]
        lines.append(
            f"| {row.network} | {row.onnxruntime} | {row.simulator} | {ratios[0]} | {row.level_2} | {ratios[1]} |"
        )
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
