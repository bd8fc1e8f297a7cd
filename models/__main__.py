"""Command line: `python -m models list` and `python -m models build NAME DIRECTORY`."""

import argparse
import io
import sys
from pathlib import Path

import numpy as np

from models.graph import write_atomically
from models.model import DataSet
from models.registry import NAMES, get
from nmc.errors import NmcError


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status; an error is one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name and describe the models")
    build = commands.add_parser(
        "build", help="write model.onnx, calibration.npz, test.npz and labels.npy for the nmc commands"
    )
    build.add_argument("name", choices=NAMES)
    build.add_argument("directory", type=Path)
    options = parser.parse_args(arguments)
    try:
        if options.command == "list":
            _list()
        else:
            _build(options.name, options.directory)
    except NmcError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _list() -> None:
    for name in NAMES:
        try:
            print(f"{name:20} {get(name).description}")
        except NmcError as error:
            print(f"{name:20} not available: {error}")


def _build(name: str, directory: Path) -> None:
    model = get(name)
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / "model.onnx", model.onnx_path().read_bytes())
    write_atomically(directory / "calibration.npz", _npz(model.calibration()))
    write_atomically(directory / "test.npz", _npz(model.test()))
    labels = io.BytesIO()
    np.save(labels, model.labels())
    write_atomically(directory / "labels.npy", labels.getvalue())
    pins = " ".join(f"--shape {input}={','.join(map(str, shape))}" for input, shape in model.shapes.items())
    print(
        f"{directory}: {model.description}\ncompile it with: nmc compile {directory / 'model.onnx'} "
        f"--target gemm-accel --calibrate {directory / 'calibration.npz'} {pins}"
    )


def _npz(arrays: DataSet) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()


if __name__ == "__main__":
    sys.exit(main())
