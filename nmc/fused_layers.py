"""Which layers run as part of another: reports show their commands with those of that one."""

from collections.abc import Iterable

from nmc.timing import reads_stream
from targets.gemm_accel import isa


def fused_layers(commands: Iterable[tuple[isa.Command, str]]) -> dict[str, str]:
    """For each layer that runs only in the chains of another's drains, the layer that it is part of; of the commands of a
    program and their layers, in order."""
    heads: dict[str, str] = {}
    independent: set[str] = set()
    head = ""
    for command, layer in commands:
        if reads_stream(command):
            heads.setdefault(layer, head)
        elif isa.queue_of(command) is isa.Queue.COMPUTE:
            head = layer
            independent.add(head)
    return {layer: head for layer, head in heads.items() if layer not in independent}


def with_fused(commands: Iterable[tuple[isa.Command, str]], layer: str) -> frozenset[str]:
    """A layer and those that run as part of it."""
    return frozenset([layer, *(name for name, head in fused_layers(commands).items() if head == layer)])
