"""The table from ONNX operator to the function that writes it as Relax."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from nmc.frontend.emitter import Emitter
from nmc.frontend.values import Node, Value

Converter: TypeAlias = Callable[[Emitter, Node], Sequence[Value | None]]
"""Writes a node's operations into the emitter and returns its outputs in order."""

CONVERTERS: dict[tuple[str, str], Converter] = {}
"""(domain, operator) to converter; the standard's own domain is the empty string."""


def converts(*operators: str, domain: str = "") -> Callable[[Converter], Converter]:
    """Decorator that enters a converter into the table for each of `operators`."""

    def enter(converter: Converter) -> Converter:
        for operator in operators:
            CONVERTERS[domain, operator] = converter
        return converter

    return enter
