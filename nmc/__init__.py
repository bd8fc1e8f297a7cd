"""nmc compiles ONNX models into command streams for an accelerator with one compute unit, a GEMM array.

    executable = nmc.compile("model.onnx", target="gemm-accel", calibration={"x": samples})
    outputs = executable.run({"x": array})
    executable.save("model.nmc")
    executable = nmc.load("model.nmc")

Importing this package is cheap: TVM, onnx and numpy are imported by the first call that needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nmc.errors import NmcError

if TYPE_CHECKING:
    from nmc.executable import Executable, compile, load

__version__ = "0.1.0"

__all__ = ["Executable", "NmcError", "__version__", "compile", "load"]


def __getattr__(name: str) -> Any:
    if name in ("Executable", "compile", "load"):
        return getattr(import_module("nmc.executable"), name)
    raise AttributeError(f"module 'nmc' has no attribute '{name}'")
