"""The plan of the DRAM arena: which bytes each buffer has while it is alive."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ALIGNMENT_BYTES = 64


@dataclass(frozen=True)
class Lifetime:
    """A buffer's size in bytes and the first and last moment (inclusive) at which it is alive."""

    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class ArenaPlan:
    """The address of each buffer, the arena's size and the largest sum of buffers alive at one moment, in
    bytes."""

    addresses: tuple[int, ...]
    bytes: int
    lower_bound: int


def plan_arena(lifetimes: Sequence[Lifetime]) -> ArenaPlan:
    """Places buffers, largest first, each into the smallest gap between the buffers alive with it that
    holds it."""
    sizes = np.array([-(-life.bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for life in lifetimes], np.int64)
    first = np.array([life.first for life in lifetimes], np.int64)
    last = np.array([life.last for life in lifetimes], np.int64)
    addresses = np.zeros(len(lifetimes), np.int64)
    order = sorted(range(len(lifetimes)), key=lambda index: (-sizes[index], first[index], index))
    placed = np.zeros(len(lifetimes), bool)
    for index in order:
        meets = placed & (first <= last[index]) & (last >= first[index]) & (sizes > 0)
        addresses[index] = _best_gap(addresses[meets], sizes[meets], int(sizes[index]))
        placed[index] = True
    total = int((addresses + sizes).max(initial=0))
    return ArenaPlan(tuple(int(address) for address in addresses), total, _lower_bound(sizes, first, last))


def _best_gap(starts: np.ndarray, sizes: np.ndarray, wanted: int) -> int:
    """The beginning of the smallest gap of at least `wanted` bytes; the end of the last buffer when there
    is none."""
    order = np.argsort(starts, kind="stable")
    begins = starts[order]
    # buffers that do not meet each other may overlap: a gap begins where all before it have ended
    ends = np.maximum.accumulate(np.concatenate([[0], begins + sizes[order]]))
    gaps = begins - ends[:-1]
    fitting = np.flatnonzero(gaps >= wanted)
    if not fitting.size:
        return int(ends[-1])
    return int(ends[fitting[np.argmin(gaps[fitting])]])


def _lower_bound(sizes: np.ndarray, first: np.ndarray, last: np.ndarray) -> int:
    """The largest number of bytes alive at one moment."""
    if not sizes.size:
        return 0
    moments = int(last.max()) + 2
    change = np.zeros(moments + 1, np.int64)
    np.add.at(change, first, sizes)
    np.add.at(change, last + 1, -sizes)
    return int(np.cumsum(change).max(initial=0))
