"""Keeps three queues in order: finds, for each command, the commands of other queues that it must wait for.

Every access to a memory is recorded as a range. A command waits for the last command of each other queue
that wrote what it reads, or read or wrote what it writes, unless it is known already that this command is
complete: because its queue, or one it has waited for since, waited for it. Ranges are those of whole
transfers, gaps included, so a wait may be needless but never missing.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

QUEUES = ("load", "compute", "store")
NEVER = -1


@dataclass(frozen=True)
class Access:
    """A range start..stop of a memory that a command reads or writes."""

    memory: str
    start: int
    stop: int
    writes: bool


_History = tuple[int, ...]
"""The last commands that wrote one range of a memory, one a queue, then the last that read it, one a queue."""

_UNTOUCHED: _History = (NEVER,) * (2 * len(QUEUES))


@dataclass
class _Memory:
    """The history of a whole memory: the range from `starts[i]` to the next start has `histories[i]`."""

    starts: list[int] = field(default_factory=lambda: [0])
    histories: list[_History] = field(default_factory=lambda: [_UNTOUCHED])

    def touched(self, start: int, stop: int) -> tuple[int, int]:
        """The histories [first, last) of exactly start..stop."""
        first = self._split(start)
        return first, self._split(stop)

    def _split(self, position: int) -> int:
        index = bisect_left(self.starts, position)
        if index == len(self.starts) or self.starts[index] != position:
            self.starts.insert(index, position)
            self.histories.insert(index, self.histories[index - 1])
        return index

    def replace(self, first: int, last: int, history: _History) -> None:
        """Gives the ranges first..last one history."""
        if last - first > 1:
            self.starts[first + 1 : last] = []
            self.histories[first + 1 : last] = []
        self.histories[first] = history


@dataclass
class Synchroniser:
    """Records commands in program order; `signals` says after which commands which queues are signalled."""

    signals: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    _memories: dict[str, _Memory] = field(default_factory=dict)
    _lengths: list[int] = field(default_factory=lambda: [0] * len(QUEUES))
    _known: list[list[int]] = field(default_factory=lambda: [[NEVER] * len(QUEUES) for _ in QUEUES])
    _known_then: list[list[tuple[int, ...]]] = field(default_factory=lambda: [[] for _ in QUEUES])

    def add(self, queue: int, accesses: Sequence[Access]) -> tuple[int, ...]:
        """Appends a command to a queue (an index into QUEUES); returns the queues whose signals it has to
        wait for."""
        number = self._lengths[queue]
        needed = [NEVER] * len(QUEUES)
        for access in accesses:
            if access.stop > access.start:
                self._record(queue, number, access, needed)
        known = self._known[queue]
        late = [other for other in range(len(QUEUES)) if needed[other] > known[other]]
        # what one of them has waited for itself needs no wait of its own
        waits = [
            other
            for other in late
            if not any(
                self._known_then[third][needed[third]][other] >= needed[other]
                for third in late
                if third != other
            )
        ]
        for other in waits:
            self.signals.setdefault((other, needed[other]), []).append(queue)
            for third, value in enumerate(self._known_then[other][needed[other]]):
                known[third] = max(known[third], value)
            known[other] = max(known[other], needed[other])
        self._lengths[queue] += 1
        self._known_then[queue].append(tuple(known))
        return tuple(waits)

    def _record(self, queue: int, number: int, access: Access, needed: list[int]) -> None:
        memory = self._memories.setdefault(access.memory, _Memory())
        first, last = memory.touched(access.start, access.stop)
        histories = memory.histories
        combined = tuple(map(max, *histories[first:last])) if last - first > 1 else histories[first]
        count = len(QUEUES)
        for other in range(count):
            if other != queue:
                before = combined[other]
                if access.writes and combined[count + other] > before:
                    before = combined[count + other]
                if before > needed[other]:
                    needed[other] = before
        latest = list(_UNTOUCHED if access.writes else combined)
        latest[queue if access.writes else count + queue] = number
        memory.replace(first, last, tuple(latest))
