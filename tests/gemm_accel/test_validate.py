"""What the accelerator refuses before it runs anything."""

from dataclasses import replace

import numpy as np
import pytest

from nmc.errors import ProgramError
from targets.gemm_accel import isa
from targets.gemm_accel.program import Tensor
from targets.gemm_accel.simulator import Simulator
from tests.gemm_accel.bench import COMPUTE, CONFIG, LOAD, STORE, line, program_of

I8, I16, I32, I64 = isa.Type.I8, isa.Type.I16, isa.Type.I32, isa.Type.I64
CONSTANTS, ARENA = 256, 1024
END_OF_SCRATCHPAD = CONFIG.scratchpad_bytes

PLACE = isa.Destination(4096, I16, (64, 16))
COUNTS = (2, 4, 8)
A = isa.Operand(0, I16, (64, 16), 2)
B = isa.Operand(1024, I16, (64, 16), 2)
STREAMED = isa.Operand(isa.STREAM, I16)
INTO_STREAM = isa.Destination(isa.STREAM, I16)

GEMM = isa.Gemm(0, I16, 8, 1024, I16, 8, 4, 4, 4, 0)
FILTER = isa.Filter(0, I16, (320, 32), 4096, I16, 32, (3, 3), (4, 8, 16), 0)
DRAIN = isa.Drain(0, (1, 4, 4), isa.NONE, 2048, isa.Destination(4096, I16, (0, 8)))
HADAMARD = isa.Hadamard(A, B, 3, 20, COUNTS, PLACE)
ADD = isa.Add(A, B, 3, 4, 20, COUNTS, PLACE)
PWL = isa.Pwl(A, 0, COUNTS, PLACE)
GATHER = isa.Gather(64, 0, I8, (4, 1, 1, 1, 8), (8, 0, 0, 0, 1), (8, 0, 0, 0, 1), 0, 3)


def validate(*commands: isa.Command) -> None:
    Simulator(program_of(commands, (), (), CONSTANTS, ARENA), bytes(CONSTANTS)).validate()


@pytest.mark.parametrize(
    "command", [GEMM, FILTER, DRAIN, HADAMARD, ADD, PWL, GATHER, line(isa.Store, 256, 0, 1024)]
)
def test_what_the_next_tests_change_is_valid(command: isa.Command) -> None:
    validate(command)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (line(isa.Load, 256 + 1024 - 3, 0, 4), "'dram' reads DRAM bytes 1277 to 1280, outside the DRAM bytes 0 to 1279"),
        (line(isa.Load, -1, 0, 4), "'dram' reads DRAM bytes -1 to 2"),
        (line(isa.Load, 0, END_OF_SCRATCHPAD - 3, 4), "'scratchpad' writes scratchpad bytes 262141 to 262144"),
        (line(isa.Store, 255, 0, 4), "'dram' writes DRAM bytes 255 to 258, outside the DRAM bytes 256 to 1279"),
        (line(isa.Store, 256, END_OF_SCRATCHPAD, 1), "'scratchpad' reads"),
        (replace(line(isa.Load, 0, 0, 9), scratchpad_strides=(0, 0, 0, 0, -1)), "'scratchpad' writes scratchpad bytes -8"),
        (replace(GATHER, index=CONSTANTS + ARENA - 15), "'index' reads DRAM bytes 1265 to 1280"),
        (replace(GATHER, index_limit=1000), "'dram' reads DRAM bytes 64 to 8063"),
        (isa.LoadTable(CONSTANTS, 0), "tables lie among the 256 bytes of constants"),
        (isa.LoadTable(0, 0), "a table has 0 segments"),
        (isa.LoadTable(CONSTANTS - 8, 0), "ends too early"),
        (replace(GEMM, a=END_OF_SCRATCHPAD - 31), "'a' reads scratchpad bytes 262113 to 262144"),
        (replace(GEMM, b=END_OF_SCRATCHPAD - 31), "'b' reads"),
        (replace(GEMM, accumulator=CONFIG.accumulator_entries - 15), "'accumulator' writes accumulators 32753 to 32768"),
        (replace(GEMM, m=2**32 - 1, n=2**32 - 1), r"more than 2\^31 elements"),
        (replace(DRAIN, bias=END_OF_SCRATCHPAD - 31), "'bias' reads"),
        (replace(DRAIN, scale=END_OF_SCRATCHPAD - 31), "'scale' reads"),
        (replace(DRAIN, accumulator=CONFIG.accumulator_entries), "'accumulator' reads"),
        (replace(DRAIN, destination=isa.Destination(END_OF_SCRATCHPAD, I16, (0, 8))), "'destination' writes"),
        (replace(ADD, a=replace(A, address=END_OF_SCRATCHPAD - 127)), "'a' reads"),
        (replace(ADD, b=replace(A, pitches=(-64, 16))), "'b' reads scratchpad bytes -64 to 63"),
        (replace(FILTER, accumulator=CONFIG.accumulator_entries - 511), "'accumulator' writes"),
    ],
)  # fmt: skip
def test_an_address_outside_its_memory_is_refused(command: isa.Command, message: str) -> None:
    with pytest.raises(ProgramError, match=rf"command 0 \({isa.mnemonic(type(command))}\): .*{message}"):
        validate(command)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (replace(GEMM, k=0), "an extent is 0"),
        (replace(GEMM, a_type=I64), "'a' is i64"),
        (replace(GEMM, b_type=I32), "'b' is wide"),
        (replace(GEMM, accumulate=2), "'accumulate' is 2"),
        (replace(GEMM, k=2**16 + 1, m=1, a_pitch=0), "k is 65537"),
        (replace(FILTER, counts=(4, 0, 16)), "an extent is 0"),
        (replace(FILTER, kernel=(0, 3)), "an extent is 0"),
        (replace(FILTER, kernel=(1, 17)), "it has 17 taps; a column of the array has cells for 16"),
        (replace(FILTER, kernel=(4, 3)), "its taps have 4 rows; 2 delay lines stand between 3"),
        (replace(FILTER, counts=(4, 34, 1)), "its sums have 34 columns; a delay line of 32 entries allows 33"),
        (replace(FILTER, counts=(2**31, 1, 1), a_pitches=(0, 0)), r"it has more than 2\^31 elements"),
        (replace(FILTER, a_type=I64), "'a' is i64"),
        (replace(FILTER, b_type=I32), "'b' is wide"),
        (replace(FILTER, accumulate=2), "'accumulate' is 2"),
        (replace(HADAMARD, a=replace(A, type=I32), b=replace(B, type=I32)), "both factors are i32"),
        (replace(HADAMARD, b=STREAMED), "'b' is the stream"),
        (replace(HADAMARD, shift=16), "its shift is 16; it must be 17 to 62"),
        (replace(HADAMARD, shift=63), "its shift is 63"),
        (replace(ADD, shift=0), "its shift is 0; it must be 1 to 62"),
        (replace(ADD, multiplier_b=-(2**30)), "a multiplier is -1073741824"),
        (replace(ADD, a=replace(A, type=I64)), "'a' is i64"),
        (replace(ADD, destination=replace(PLACE, type=I64)), "its result is i64"),
        (replace(PWL, slot=CONFIG.table_slots), "there is no table slot 8 among 8"),
        (isa.LoadTable(0, CONFIG.table_slots), "there is no table slot 8"),
        (isa.Signal(LOAD, CONFIG.semaphores), "there is no semaphore 16 among 16"),
        (isa.Wait(LOAD, CONFIG.semaphores), "there is no semaphore 16"),
        (replace(line(isa.Load, 0, 0, 8), y=isa.Bound(0, (0,) * 5, -1)), "a bound has the negative limit -1"),
        (replace(line(isa.Load, 2**62, 0, 8)), "'dram' is 4611686018427387904, which is nowhere"),
        (replace(GATHER, index_limit=0), "its table has 0 rows"),
    ],
)  # fmt: skip
def test_a_field_that_the_command_cannot_have_is_refused(command: isa.Command, message: str) -> None:
    with pytest.raises(ProgramError, match=rf"command 0 \({isa.mnemonic(type(command))}\): {message}"):
        validate(command)


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ([replace(PWL, a=STREAMED)], r"command 0 \(PWL\): 'a' is the stream, and the command before it .* left none"),
        ([replace(DRAIN, destination=INTO_STREAM)], r"command 1 \(END\): .* left a stream that this one does not take"),
        ([replace(DRAIN, destination=INTO_STREAM), GEMM], r"command 1 \(GEMM\): .* left a stream"),
        ([replace(DRAIN, destination=INTO_STREAM), isa.Signal(COMPUTE, 0)], r"command 1 \(SIGNAL\): .* left a stream"),
        (
            [replace(DRAIN, destination=INTO_STREAM), replace(PWL, a=STREAMED)],
            r"command 1 \(PWL\): it takes a stream of 16 elements as 64",
        ),
        (
            [replace(PWL, destination=INTO_STREAM), replace(PWL, a=replace(STREAMED, type=I8))],
            r"command 1 \(PWL\): 'a' is not of the type of the stream",
        ),
    ],
)  # fmt: skip
def test_a_broken_chain_is_refused(commands: list[isa.Command], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        validate(*commands)


def test_commands_of_other_queues_may_stand_within_a_chain() -> None:
    validate(replace(PWL, destination=INTO_STREAM), line(isa.Load, 0, 8192, 8), replace(PWL, a=STREAMED))


@pytest.mark.parametrize("command", [ADD, HADAMARD, PWL])
def test_a_result_may_take_the_place_of_an_operand_but_not_overlap_it(command: isa.Add) -> None:
    validate(replace(command, destination=isa.Destination(0, I16, (64, 16))))
    with pytest.raises(
        ProgramError, match="its result overlaps 'a' at scratchpad byte 2, and is not in its place"
    ):
        validate(replace(command, destination=isa.Destination(2, I16, (64, 16))))
    with pytest.raises(ProgramError, match="overlaps 'a'"):
        validate(replace(command, destination=isa.Destination(0, I8, (64, 16))))


def test_a_program_ends_with_its_only_end() -> None:
    with pytest.raises(ProgramError, match=r"command 0 \(END\): only the last command is END"):
        validate(isa.End())
    program = replace(program_of([GEMM]), commands=(GEMM,), layers=("",))
    with pytest.raises(ProgramError, match="does not end with END"):
        Simulator(program, b"").validate()


def test_an_input_must_lie_in_the_arena_and_an_output_in_dram() -> None:
    for inputs, outputs in ([Tensor("x", 192, I16, (32,))], []), ([], [Tensor("x", 1278, I16, (2,))]):
        program = program_of([], inputs, outputs, CONSTANTS, ARENA)
        with pytest.raises(ProgramError, match=r"'x' lies at DRAM bytes .*, outside the arena, 256 to 1279"):
            Simulator(program, bytes(CONSTANTS)).validate()


def test_a_wait_needs_a_signal_before_it() -> None:
    message = r"command 2 \(WAIT\) waits for semaphore 4, which no SIGNAL before it raises"
    with pytest.raises(ProgramError, match=message):
        validate(isa.Signal(LOAD, 4), isa.Wait(COMPUTE, 4), isa.Wait(COMPUTE, 4), isa.Signal(LOAD, 4))


def test_a_semaphore_belongs_to_one_pair_of_queues() -> None:
    with pytest.raises(
        ProgramError, match=r"command 1 \(SIGNAL\) raises semaphore 4 from the store queue; the load"
    ):
        validate(isa.Signal(LOAD, 4), isa.Signal(STORE, 4))
    with pytest.raises(
        ProgramError, match=r"command 3 \(WAIT\) lowers semaphore 4 for the store queue; the compute"
    ):
        validate(isa.Signal(LOAD, 4), isa.Wait(COMPUTE, 4), isa.Signal(LOAD, 4), isa.Wait(STORE, 4))


def ordered(first: isa.Queue, second: isa.Queue) -> list[isa.Command]:
    semaphore = 3 * first + second
    return [isa.Signal(first, semaphore), isa.Wait(second, semaphore)]


LOAD_A = line(isa.Load, 0, 0, 128)
STORE_RESULT = line(isa.Store, 256, 4096, 128)


@pytest.mark.parametrize(
    ("first", "second", "queues", "message"),
    [
        (
            LOAD_A, ADD, (LOAD, COMPUTE),
            r"ADD\) reads scratchpad byte 0 to 127 \('a'\) .* \(LOAD\) of the load queue, which writes",
        ),
        (
            ADD, STORE_RESULT, (COMPUTE, STORE),
            r"STORE\) reads scratchpad byte 4096 to 4223 .* \(ADD\) of the compute queue, which writes",
        ),
        (
            ADD, LOAD_A, (COMPUTE, LOAD),
            r"LOAD\) writes scratchpad byte 0 to 127 .* \(ADD\) of the compute queue, which reads",
        ),
        (
            STORE_RESULT, ADD, (STORE, COMPUTE),
            r"ADD\) writes scratchpad byte 4096 .* \(STORE\) of the store queue, which reads",
        ),
        (
            STORE_RESULT, line(isa.Load, 300, 0, 8), (STORE, LOAD),
            r"LOAD\) reads DRAM byte 300 to 307 .* \(STORE\) of the store queue, which writes",
        ),
        (
            line(isa.Load, 300, 0, 8), STORE_RESULT, (LOAD, STORE),
            r"STORE\) writes DRAM byte 256 to 383 .* \(LOAD\) of the load queue, which reads",
        ),
    ],
)  # fmt: skip
def test_queues_that_share_a_place_must_be_ordered(
    first: isa.Command, second: isa.Command, queues: tuple[isa.Queue, isa.Queue], message: str
) -> None:
    validate(first, *ordered(*queues), second)
    with pytest.raises(ProgramError, match=rf"command 1 \({message}"):
        validate(first, second)
    # a signal that is given before the access orders nothing
    with pytest.raises(ProgramError, match=rf"command 3 \({message}"):
        validate(*ordered(*queues), first, second)


def test_order_passes_through_a_third_queue() -> None:
    validate(LOAD_A, *ordered(LOAD, COMPUTE), *ordered(COMPUTE, STORE), replace(STORE_RESULT, scratchpad=0))


def test_waiting_for_one_of_two_signals_does_not_cover_what_lies_between() -> None:
    two = [LOAD_A, isa.Signal(LOAD, 1), line(isa.Load, 0, 1024, 128), isa.Signal(LOAD, 1)]
    with pytest.raises(
        ProgramError, match=r"command 5 \(ADD\) reads scratchpad byte 1024 .* command 2 \(LOAD\)"
    ):
        validate(*two, isa.Wait(COMPUTE, 1), ADD)
    validate(*two, isa.Wait(COMPUTE, 1), isa.Wait(COMPUTE, 1), ADD)


def test_a_table_slot_must_not_be_refilled_while_it_may_be_read() -> None:
    table = np.zeros(48, np.uint8)
    table[2] = 1  # a uniform table of one segment
    constants = table.tobytes() + bytes(CONSTANTS - 48)
    program = program_of([PWL, isa.LoadTable(0, 0)], (), (), CONSTANTS, ARENA)
    with pytest.raises(ProgramError, match=r"command 1 \(LOAD_TABLE\) writes table slot 0 .* \(PWL\)"):
        Simulator(program, constants).validate()


def test_places_side_by_side_are_not_shared() -> None:
    validate(line(isa.Load, 0, 128, 896), ADD)
    even = isa.Load(0, 0, I16, (1, 1, 1, 8, 2), (0, 0, 0, 4, 2), (0, 0, 0, 16, 2))
    odd = replace(ADD, a=isa.Operand(4, I16, (64, 16), 2), counts=(1, 4, 6), destination=PLACE)
    validate(even, replace(odd, b=replace(A, address=2048)))


def test_nothing_runs_before_the_whole_program_is_valid() -> None:
    simulator = Simulator(program_of([GEMM, replace(GEMM, m=0)]), b"")
    with pytest.raises(ProgramError, match=r"command 1 \(GEMM\): an extent is 0"):
        simulator.run({})
    with pytest.raises(ProgramError, match=r"command 1 \(GEMM\)"):
        simulator.profile()
