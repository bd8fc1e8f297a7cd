"""The simulator as a module of TVM: called with tensors, and loaded from bytes."""

import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tvm_ffi

from nmc.errors import PackageError, ProgramError
from targets.gemm_accel import isa, runtime
from targets.gemm_accel.program import Program, Tensor
from targets.gemm_accel.runtime import create_module, register
from targets.gemm_accel.simulator import Simulator
from tests.gemm_accel.bench import COMPUTE, LOAD, STORE, line, program_of

X, Y = np.arange(-6, 6, dtype=np.int16).reshape(3, 4), np.full((3, 4), 100, np.int16)


def sum_program() -> bytes:
    """x + y of int16 [3, 4]."""
    inputs = [Tensor("x", 0, isa.Type.I16, (3, 4)), Tensor("y", 64, isa.Type.I16, (3, 4))]
    x, y = (isa.Operand(address, isa.Type.I16, (0, 0), 2) for address in (0, 64))
    commands = [
        line(isa.Load, 0, 0, 128), isa.Signal(LOAD, 0), isa.Wait(COMPUTE, 0),
        isa.Add(x, y, 2, 2, 1, (1, 1, 12), isa.Destination(128, isa.Type.I16)),
        isa.Signal(COMPUTE, 1), isa.Wait(STORE, 1), line(isa.Store, 128, 128, 24),
    ]  # fmt: skip
    return program_of(commands, inputs, [Tensor("sum", 128, isa.Type.I16, (3, 4))], 0, 192).to_bytes()


def run(module: Any) -> np.ndarray:
    result = np.zeros((3, 4), np.int16)
    module["add_them"](*(tvm_ffi.from_dlpack(array) for array in (X, Y, result)))
    return result


def test_a_module_runs_on_tensors_and_says_what_it_is() -> None:
    module = create_module("add_them", sum_program(), b"")
    np.testing.assert_array_equal(run(module), X + Y)
    assert module.kind == "gemm_accel"


def module_bytes(*parts: bytes) -> bytes:
    """What a module of one function saves: its magic, 1, then symbol, program and constants with their sizes."""
    return (
        b"NMCACCL1" + struct.pack("<Q", 1) + b"".join(struct.pack("<Q", len(part)) + part for part in parts)
    )


def test_a_module_is_loaded_from_bytes_and_from_no_damaged_ones() -> None:
    # codegen/test_byoc.py exports one, so what is saved here by hand is saved by the module itself there
    load = tvm_ffi.get_global_func("ffi.Module.load_from_bytes.gemm_accel")
    saved = module_bytes(b"add_them", sum_program(), b"")
    np.testing.assert_array_equal(run(load(saved)), X + Y)
    for length in (0, 7, 12, 16, 30, len(saved) - 1):
        with pytest.raises(ProgramError):
            load(saved[:length])
    with pytest.raises(ProgramError, match="these bytes are not an accelerator's module"):
        load(b"X" + saved[1:])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"x": X.astype(np.int32)}, "'x' of 'program' must be int16"),
        ({"x": X[:2]}, r"'x' of 'program' has shape \[2, 4\], not \[3, 4\]"),
        ({"z": X}, "the program has inputs 'x', 'y'; 'z' does not match"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(wrong: dict[str, np.ndarray], message: str) -> None:
    simulator = Simulator(Program.from_bytes(sum_program()), b"")
    with pytest.raises(ProgramError, match=message):
        simulator.run({"x": X, "y": Y} | wrong)


def test_an_input_may_be_a_view_or_read_only() -> None:
    simulator = Simulator(Program.from_bytes(sum_program()), b"")
    frozen = X.copy()
    frozen.flags.writeable = False
    result = simulator.run({"x": np.asfortranarray(X), "y": frozen})["sum"]
    np.testing.assert_array_equal(result, X + X)


def test_one_module_may_run_in_several_threads_at_once() -> None:
    simulator = Simulator(Program.from_bytes(sum_program()), b"")
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda i: simulator.run({"x": X, "y": Y + i})["sum"], range(20)))
    for i, result in enumerate(results):
        np.testing.assert_array_equal(result, X + Y + i)


def test_a_call_with_another_number_of_arrays_is_refused() -> None:
    module = create_module("add_them", sum_program(), b"")
    with pytest.raises(ProgramError, match="'add_them' takes 2 inputs and 1 outputs, not 1 arrays"):
        module["add_them"](tvm_ffi.from_dlpack(X))


def test_a_missing_runtime_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMC_RUNTIME", "nowhere.so")
    with pytest.raises(PackageError, match="is not there; build it with"):
        runtime.register.__wrapped__()
    register()
