"""Loads the accelerator's runtime, the C++ simulator, into TVM: afterwards modules of kind `gemm_accel` exist."""

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import tvm_ffi

from nmc.errors import PackageError, ProgramError

LIBRARY = "libnmc_gemm_accel.so"


@cache
def register() -> None:
    """Makes the runtime known to TVM, once; raises PackageError when it was not built."""
    path = next((path for path in _places() if path.is_file()), None)
    if path is None:
        raise PackageError(f"the accelerator's runtime {LIBRARY} is not there; build it with `pip install .`")
    tvm_ffi.register_error("ProgramError", ProgramError)
    tvm_ffi.load_module(str(path))


def _places() -> Iterator[Path]:
    """Where the library can lie: built by hand beside the sources, or installed (an editable install leaves the Python
    files where they are, so the library is in a folder of that name elsewhere on the path). `NMC_RUNTIME` names another
    build, such as one with sanitizers."""
    if chosen := os.environ.get("NMC_RUNTIME"):
        yield Path(chosen)
        return
    yield Path(__file__).parents[2] / "build" / "sim" / LIBRARY
    yield Path(__file__).parent / LIBRARY
    for entry in sys.path:
        yield Path(entry) / "targets" / "gemm_accel" / LIBRARY


def create_module(symbol: str, program: bytes, constants: bytes) -> Any:
    """An ffi.Module of kind gemm_accel with one function `symbol`: inputs, then outputs, all dense CPU tensors.

    `program` is a `Program`'s bytes and `constants` the read-only part of its DRAM. Raises ProgramError when they are
    damaged or do not fit each other.
    """
    register()
    create = tvm_ffi.get_global_func("ffi.Module.create.gemm_accel")
    return create([symbol], [program], [constants])
