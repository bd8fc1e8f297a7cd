"""Keeps three queues in order: finds, for each command, the commands of other queues that it must wait for.

Every access to a memory is recorded as a range. A command waits for the last command of each other queue
that wrote what it reads, or read or wrote what it writes, unless it is known already that this command is
complete: because its queue, or one it has waited for since, waited for it. Ranges are those of whole
transfers, gaps included, so a wait may be needless but never missing.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

QUEUES = ("load", "compute", "store")
NEVER = -1


OTHERS = tuple(tuple(other for other in range(len(QUEUES)) if other != queue) for queue in range(len(QUEUES)))
"""The other queues of each."""


class Access(NamedTuple):
    """A range start..stop of a memory that a command reads or writes."""

    memory: str
    start: int
    stop: int
    writes: bool

    def written(self) -> "Access":
        """The same range, written."""
        return self._replace(writes=True)


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
        starts = self.starts
        first = bisect_left(starts, start)
        if first == len(starts) or starts[first] != start:
            self._split(first, start)
        last = first + 1  # as most ranges are touched as they were before
        if last == len(starts) or starts[last] != stop:
            last = bisect_left(starts, stop, first)
            if last == len(starts) or starts[last] != stop:
                self._split(last, stop)
        return first, last

    def _split(self, index: int, position: int) -> None:
        self.starts.insert(index, position)
        self.histories.insert(index, self.histories[index - 1])

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
    _known: list[tuple[int, ...]] = field(default_factory=lambda: [(NEVER,) * len(QUEUES) for _ in QUEUES])
    _known_then: list[list[tuple[int, ...]]] = field(default_factory=lambda: [[] for _ in QUEUES])

    def add(self, queue: int, accesses: Sequence[Access]) -> tuple[int, ...]:
        """Appends a command to a queue (an index into QUEUES); returns the queues whose signals it has to
        wait for."""
        number = len(self._known_then[queue])
        needed = [NEVER] * len(QUEUES)
        for access in accesses:
            if access.stop > access.start:
                self._record(queue, number, access, needed)
        known = self._known[queue]
        late = [other for other in OTHERS[queue] if needed[other] > known[other]]
        waits = self._wait(queue, needed, late) if late else ()
        self._known_then[queue].append(self._known[queue])
        return waits

    def _wait(self, queue: int, needed: Sequence[int], late: Sequence[int]) -> tuple[int, ...]:
        """Which of the queues that are late have to be waited for; from then on all that they knew is known."""
        # what one of them has waited for itself needs no wait of its own
        waits = tuple(
            other
            for other in late
            if not any(
                self._known_then[third][needed[third]][other] >= needed[other]
                for third in late
                if third != other
            )
        )
        known = list(self._known[queue])
        for other in waits:
            self.signals.setdefault((other, needed[other]), []).append(queue)
            known = list(map(max, known, self._known_then[other][needed[other]]))
            known[other] = max(known[other], needed[other])
        self._known[queue] = tuple(known)
        return waits

    def _record(self, queue: int, number: int, access: Access, needed: list[int]) -> None:
        memory_name, start, stop, writes = access
        memory = self._memories.get(memory_name)
        if memory is None:
            memory = self._memories[memory_name] = _Memory()
        first, last = memory.touched(start, stop)
        histories, count = memory.histories, len(QUEUES)
        combined = tuple(map(max, *histories[first:last])) if last - first > 1 else histories[first]
        for other in OTHERS[queue]:
            before = combined[other]
            if writes and combined[count + other] > before:
                before = combined[count + other]
            if before > needed[other]:
                needed[other] = before
        latest = list(_UNTOUCHED if writes else combined)
        latest[queue if writes else count + queue] = number
        memory.replace(first, last, tuple(latest))
