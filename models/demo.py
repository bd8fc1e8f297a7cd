"""The demonstration: EfficientNet-Lite0 with its real weights, from ONNX to a checked command stream.

`python -m models.demo` compiles the network for the accelerator, runs it at every level on 20 labelled
photographs, and prints the accuracy of onnxruntime and of the accelerator side by side, the error by level,
the simulated speed, and the instructions of one convolution.
"""

import sys
from pathlib import Path

from models.model import Model
from models.registry import get
from nmc.check import ACCELERATOR, REFERENCE, CheckReport, check_model, print_check
from nmc.cli.console import report_errors, working
from nmc.dump import dump_text
from nmc.errors import CheckFailedError
from nmc.options import Options
from nmc.package import Package
from nmc.summary import print_summary

MODEL = "efficientnet_lite0"
DIRECTORY = Path("build/demo")
DUMPED_COMMANDS = 24


def demo() -> None:
    """Runs the demonstration; raises CheckFailedError when the accelerator is not bit-exact."""
    model = get(MODEL)
    print(f"{model.description}\n")
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with working() as progress:
        progress("building the ONNX model")
        options = Options(shapes=model.shapes, calibration=model.calibration())
        report = check_model(model.onnx_path(), options, model.test(), progress)
        package = DIRECTORY / f"{MODEL}.nmc"
        report.executable.save(package)
        profile = report.executable.profile()
    print_summary(package, report.executable.package, profile)
    print()
    print_check(report)
    print()
    print_accuracy(model, report)
    print_convolution(report.executable.package, package)
    if not report.bit_exact:
        raise CheckFailedError(
            "the accelerator differs from the CPU reference: a bug of nmc, please report it"
        )


def print_accuracy(model: Model, report: CheckReport) -> None:
    """Prints how many of the labelled samples onnxruntime and the accelerator get right."""
    labels = model.labels()
    print(f"{model.metric_name} on {len(labels)} labelled samples")
    for level in (REFERENCE, ACCELERATOR):
        share = model.metric(report.outputs[level], labels)
        print(f"  {level:<12} {share:7.1%}   ({round(share * len(labels))} of {len(labels)})")
    print()


def print_convolution(package: Package, path: Path) -> None:
    """Prints the instructions of the first convolution, as far as its first results."""
    layer = next(layer.name for layer in package.manifest.layers if layer.operator == "Conv")
    lines = dump_text(package).splitlines()
    begin = next(number for number, line in enumerate(lines) if line.endswith(f"; {layer}"))
    end = next(number for number in range(begin, len(lines)) if lines[number].startswith("STORE"))
    print(f"The first instructions of '{layer}', from its input to its first results:")
    shown = [line for line in lines[begin : end + 1] if not line.startswith(("SIGNAL", "WAIT"))]
    for line in shown[:DUMPED_COMMANDS]:
        print(f"  {line}")
    print(f"Without SIGNAL and WAIT; all of them: nmc dump {path}")


if __name__ == "__main__":
    sys.exit(report_errors(demo))
