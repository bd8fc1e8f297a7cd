"""Places in the scratchpad never overlap, and the two ends are where kernels that follow each other look for them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from targets.gemm_accel.codegen.scratchpad import ALIGNMENT_BYTES, Scratchpad, aligned

REQUESTS = st.lists(st.tuples(st.integers(1, 100), st.integers(1, 3), st.booleans()), max_size=8)


@given(REQUESTS, st.booleans(), st.integers(0, 5))
def test_places_are_disjoint_and_within_the_scratchpad(
    requests: list[tuple[int, int, bool]], downward: bool, base: int
) -> None:
    first = base * ALIGNMENT_BYTES
    limit = first + sum(aligned(size) * count for size, count, _ in requests)
    scratchpad = Scratchpad(first, limit, downward)
    taken = sorted(
        (address, address + size)
        for size, count, far in requests
        for address in scratchpad.slots(size, count, far).addresses
    )
    assert all(stop <= begin for (_, stop), (begin, _) in pairwise(taken))
    assert not taken or (taken[0][0] >= first and taken[-1][1] <= limit)


def test_what_is_far_in_one_direction_is_near_in_the_other() -> None:
    for downward in (False, True):
        (far,) = Scratchpad(0, 4096, downward).slots(100, 1, far=True).addresses
        (near,) = Scratchpad(0, 4096, not downward).slots(100, 1).addresses
        assert far == near
