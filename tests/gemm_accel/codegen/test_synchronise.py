"""The waits that the synchroniser adds order every two commands that touch the same memory."""

from hypothesis import given, settings
from hypothesis import strategies as st

from targets.gemm_accel.codegen.synchronise import QUEUES, Access, Synchroniser

COMMANDS = st.lists(
    st.tuples(
        st.integers(0, len(QUEUES) - 1),
        st.lists(
            st.builds(
                lambda start, size, writes: Access("scratchpad", start, start + size, writes),
                st.integers(0, 20),
                st.integers(1, 8),
                st.booleans(),
            ),
            min_size=1,
            max_size=3,
        ),
    ),
    max_size=40,
)


def _order(commands: list[tuple[int, list[Access]]]) -> list[set[int]]:
    """For each command all that are complete before it begins, as waits and signals and the queues' order
    say."""
    synchroniser = Synchroniser()
    waits = [synchroniser.add(queue, accesses) for queue, accesses in commands]
    in_queue: list[list[int]] = [[] for _ in QUEUES]
    counts: dict[tuple[int, int], int] = {}
    before: list[set[int]] = []
    for index, (queue, _) in enumerate(commands):
        known = {*in_queue[queue]}.union(*(before[i] for i in in_queue[queue]))
        for other in waits[index]:
            # the n-th wait takes the n-th signal between two queues, in the order of the signalling queue
            number = counts.get((other, queue), 0)
            counts[other, queue] = number + 1
            signalled = sorted(
                n for (q, n), to in synchroniser.signals.items() if q == other for t in to if t == queue
            )
            done = in_queue[other][: signalled[number] + 1]
            known = known.union(done, *(before[i] for i in done))
        before.append(known)
        in_queue[queue].append(index)
    return before


def _conflict(a: Access, b: Access) -> bool:
    return a.start < b.stop and b.start < a.stop and (a.writes or b.writes)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(COMMANDS)
def test_conflicting_commands_are_ordered(commands: list[tuple[int, list[Access]]]) -> None:
    before = _order(commands)
    for later, (_, later_accesses) in enumerate(commands):
        for earlier, (_, earlier_accesses) in enumerate(commands[:later]):
            if any(_conflict(a, b) for a in later_accesses for b in earlier_accesses):
                assert earlier in before[later]


def test_commands_that_share_nothing_do_not_wait() -> None:
    synchroniser = Synchroniser()
    assert synchroniser.add(0, [Access("scratchpad", 0, 8, True)]) == ()
    assert synchroniser.add(1, [Access("scratchpad", 8, 16, False)]) == ()


def test_a_wait_that_another_wait_implies_is_left_out() -> None:
    synchroniser = Synchroniser()
    synchroniser.add(0, [Access("scratchpad", 0, 8, True)])
    assert synchroniser.add(1, [Access("scratchpad", 0, 8, False), Access("scratchpad", 8, 16, True)]) == (0,)
    assert synchroniser.add(2, [Access("scratchpad", 0, 16, False)]) == (1,)
