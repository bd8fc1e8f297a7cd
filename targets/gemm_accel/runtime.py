"""Loads the accelerator's runtime, the C++ simulator, into TVM: afterwards modules of kind `gemm_accel` exist."""

from functools import cache
from pathlib import Path
from typing import Any

import tvm_ffi

from nmc.errors import PackageError, ProgramError

LIBRARY = "libnmc_gemm_accel.so"
INSTALLED = Path(__file__).parent / LIBRARY
DEVELOPMENT = Path(__file__).parents[2] / "build" / "sim" / LIBRARY


@cache
def register() -> None:
    """Makes the runtime known to TVM, once; raises PackageError when it was not built."""
    path = next((path for path in (INSTALLED, DEVELOPMENT) if path.is_file()), None)
    if path is None:
        raise PackageError(f"the accelerator's runtime {LIBRARY} is not there; build it with `pip install .`")
    tvm_ffi.register_error("ProgramError", ProgramError)
    tvm_ffi.load_module(str(path))


def create_module(symbol: str, program: bytes, constants: bytes) -> Any:
    """An ffi.Module of kind gemm_accel with one function `symbol`: inputs, then outputs, all dense CPU tensors.

    `program` is a `Program`'s bytes and `constants` the read-only part of its DRAM. Raises ProgramError when they are
    damaged or do not fit each other.
    """
    register()
    create = tvm_ffi.get_global_func("ffi.Module.create.gemm_accel")
    return create([symbol], [program], [constants])
