"""Threads change nothing: whichever commands share a place, however often a program runs, and when it fails."""

import numpy as np
import pytest

from nmc.errors import ProgramError
from targets.gemm_accel import isa
from targets.gemm_accel.program import Program, Tensor
from targets.gemm_accel.simulator import Simulator
from tests.gemm_accel.bench import COMPUTE, LOAD, STORE, Integers, line, program_of, random_integers

I16 = isa.Type.I16
ROWS, COLUMNS, PITCH = 40, 64, 128
COUNTS, BLOCK = (1, ROWS, COLUMNS), ROWS * PITCH
SIZE, SCALE = 12 * BLOCK, 128 * 1024
"""The bytes of the scratchpad in which commands meet: operands in six blocks, results in six others."""
SCALES = np.array([2**30, 45], np.int32).tobytes() + bytes(56)
X, Y = Tensor("x", 64, I16, (SIZE // 2,)), Tensor("y", 64 + SIZE, I16, (SIZE // 2,))


def meeting_commands(seed: int, count: int, apart: int = ROWS * COLUMNS) -> list[isa.Command]:
    """Products, sums and chains whose operands and results overlap at random; sums begin at multiples of `apart`."""
    generator = np.random.default_rng(seed)
    commands: list[isa.Command] = []
    for kind in generator.choice(["product", "sum", "chain", "back"], count):
        first, second, result = (5 * BLOCK * generator.random(3)).astype(int) // 2 * 2
        a, b, there = (operand(int(place)) for place in (first, second, result + 6 * BLOCK))
        sums, again = apart * int(generator.integers(0, 4)), int(generator.integers(0, 2))
        if kind == "product":
            commands += [
                isa.Gemm(a.address, I16, PITCH, b.address, I16, PITCH, ROWS, 40, COLUMNS, sums, again),
                isa.Drain(sums, (1, ROWS, COLUMNS), isa.NONE, SCALE, place(there), 1),
            ]
        elif kind == "sum":
            commands.append(isa.Add(a, b, 3, 4, 2, COUNTS, place(there)))
        elif kind == "chain":
            streamed = isa.Hadamard(a, b, 2**30, 40, COUNTS, isa.Destination(isa.STREAM, I16))
            commands += [streamed, isa.Add(isa.Operand(isa.STREAM, I16), a, 3, -5, 3, COUNTS, place(there))]
        else:
            commands.append(isa.Add(there, there, 1, 2, 1, COUNTS, place(a)))
    return commands


def operand(address: int) -> isa.Operand:
    return isa.Operand(address, I16, (0, PITCH), 2)


def place(at: isa.Operand) -> isa.Destination:
    return isa.Destination(at.address, I16, (0, PITCH))


def whole_program(commands: list[isa.Command]) -> Program:
    """x is loaded, the commands run, and what they leave is y."""
    listed = [
        line(isa.Load, 0, SCALE, 64), line(isa.Load, 64, 0, SIZE), isa.Signal(LOAD, 0), isa.Wait(COMPUTE, 0),
        *commands, isa.Signal(COMPUTE, 1), isa.Wait(STORE, 1), line(isa.Store, 64 + SIZE, 0, SIZE),
    ]  # fmt: skip
    return program_of(listed, [X], [Y], 64, 2 * SIZE)


def runs(commands: list[isa.Command], threads: int, monkeypatch: pytest.MonkeyPatch) -> list[Integers]:
    """The results of three runs of one simulator."""
    monkeypatch.setenv("NMC_THREADS", str(threads))
    simulator = Simulator(whole_program(commands), SCALES)
    x = random_integers(np.random.default_rng(0), X.shape, "int16")
    return [simulator.run({"x": x})["y"] for _ in range(3)]


@pytest.mark.parametrize("seed", range(4))
def test_results_do_not_depend_on_the_number_of_threads(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = meeting_commands(seed, 300)
    alone = runs(commands, 1, monkeypatch)
    for threads in (2, 3):
        np.testing.assert_array_equal(runs(commands, threads, monkeypatch), alone)


def test_sums_of_several_products_may_be_drained_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = meeting_commands(0, 300, apart=1000)
    alone = runs(commands, 1, monkeypatch)
    np.testing.assert_array_equal(runs(commands, 3, monkeypatch), alone)


def test_the_first_command_of_the_list_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = meeting_commands(0, 300)
    at = [i for i, command in enumerate(commands) if isinstance(command, isa.Drain)][30:60:10]
    for index in at:
        commands.insert(index, isa.Pwl(operand(0), index % 8, COUNTS, place(operand(6 * BLOCK))))
    for threads in (1, 3):
        with pytest.raises(
            ProgramError, match=f"command {at[0] + 4} of .*: PWL reads table slot {at[0] % 8},"
        ):
            runs(commands, threads, monkeypatch)


def test_a_run_finds_no_trace_of_the_one_before() -> None:
    listed = [
        line(isa.Store, 64 + SIZE, 0, SIZE),
        isa.Signal(STORE, 0),
        isa.Wait(LOAD, 0),
        line(isa.Load, 64, 0, SIZE),
    ]
    simulator = Simulator(program_of(listed, [X], [Y], 64, 2 * SIZE), SCALES)
    for value in (7, 8):
        results = simulator.run({"x": np.full(X.shape, value, np.int16)})
        np.testing.assert_array_equal(results["y"], np.zeros(Y.shape, np.int16))
