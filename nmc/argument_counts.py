"""How the arguments of functions that become tables are spread: how many fall outside a table, and where a fit matters."""

import numpy as np
from numpy.typing import NDArray
from tvm import ir, relax

from nmc.pwl.functions import function_named
from passes.matrix_form.unary import UNARY
from passes.rewrite import bindings_of, callee_attributes, callee_name

BINS_AN_OCTAVE = 8
OCTAVES = 60
"""Magnitudes from 2^-30 to 2^30 are told apart; what is beyond counts with the first or the last bin."""
BINS = BINS_AN_OCTAVE * OCTAVES
HISTOGRAM_BINS = 512


class ArgumentCounts:
    """Counts, in bins an eighth of an octave wide for each sign, the arguments of functions that tables only approximate."""

    def __init__(self, module: ir.IRModule):
        """`module` is in matrix form with exact functions."""
        self.names = {
            b.value.args[0].name
            for b in bindings_of(module["main"])
            if isinstance(b.value, relax.Call)
            and callee_name(module, b.value) == UNARY
            and isinstance(b.value.args[0], relax.Var)
            and not _is_piecewise_linear(module, b.value)
        }
        self.below: dict[str, NDArray[np.int64]] = {}
        """By name: the counts of negative values by magnitude; `above` those of the others."""
        self.above: dict[str, NDArray[np.int64]] = {}

    def observe(self, name: str, array: np.ndarray) -> None:
        """Takes in a tensor of a sample, if it is such an argument."""
        if name in self.names:
            for counts, values in ((self.below, array[array < 0]), (self.above, array[array >= 0])):
                counts[name] = counts.get(name, np.zeros(BINS, np.int64)) + _by_magnitude(values)

    def share_outside(self, name: str, low: float, high: float) -> float:
        """The share of an argument's values outside [low, high], 0 for one that was not counted.

        Values in the bin that holds an end of the interval count as inside.
        """
        if name not in self.below:
            return 0.0
        below, above = self.below[name], self.above[name]
        outside = below.sum() if low >= 0.0 else below[_bin(-low) + 1 :].sum()
        outside += above.sum() if high < 0.0 else above[_bin(high) + 1 :].sum()
        return float(outside) / float(below.sum() + above.sum() or 1)

    def histogram(
        self, name: str, low: float, high: float
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]] | None:
        """The counts of an argument in HISTOGRAM_BINS equal bins of [low, high], and the edges of these.

        None for an argument that was not counted or never seen inside. Within a bin of magnitudes values count as spread
        evenly.
        """
        if name not in self.below or low >= high:
            return None
        magnitudes = 2.0 ** ((np.arange(1, BINS + 1) - BINS // 2) / BINS_AN_OCTAVE)
        corners = np.concatenate([-magnitudes[::-1], [0.0], magnitudes])
        counts = np.concatenate([self.below[name][::-1], self.above[name]])
        edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
        inside = np.diff(np.interp(edges, corners, np.concatenate([[0], np.cumsum(counts)])))
        return (inside, edges) if inside.sum() > 0.0 else None


def _by_magnitude(values: np.ndarray) -> NDArray[np.int64]:
    magnitudes = np.maximum(np.abs(values.reshape(-1)), np.float32(2.0**-30))
    places = np.floor(BINS_AN_OCTAVE * np.log2(magnitudes)) + BINS // 2
    return np.bincount(np.clip(places, 0, BINS - 1).astype(np.int64), minlength=BINS)


def _bin(magnitude: float) -> int:
    """The bin of a magnitude; the first for 0."""
    if magnitude <= 0.0:
        return 0
    return int(np.clip(np.floor(BINS_AN_OCTAVE * np.log2(magnitude)) + BINS // 2, 0, BINS - 1))


def _is_piecewise_linear(module: ir.IRModule, call: relax.Call) -> bool:
    attributes = callee_attributes(module, call)
    parameters = {str(name): float(value) for name, value in attributes["parameters"].items()}
    return bool(function_named(str(attributes["function"]), parameters).pieces)
