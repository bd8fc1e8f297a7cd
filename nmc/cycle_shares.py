"""Which layer each simulated cycle belongs to, where layers overlap.

It is the layer that the array works for; while the array rests that of the drain unit, and while that rests too that of the
DRAM port. A cycle in which no unit is occupied belongs to the layer of what comes next: something is on its way to it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nmc.timing import ARRAY, DRAIN, DRAM, CommandTime

PRECEDENCE = (ARRAY, DRAIN, DRAM)


def cycles_of_layers(
    commands: Sequence[CommandTime], cycles: int, heads: Mapping[str, str]
) -> dict[str, int]:
    """The cycles of each layer of one command stream by name; they add up to `cycles`, of the whole stream.

    A layer in `heads` counts as the one that it names there.
    """
    names = list(dict.fromkeys(heads.get(item.layer, item.layer) for item in commands))
    if not names:
        return {}
    numbers = {name: number for number, name in enumerate(names)}
    occupied = {unit: _occupied(commands, unit) for unit in PRECEDENCE}
    bounds = np.unique(np.concatenate([[0, cycles], *(each.reshape(-1) for each in occupied.values())]))
    bounds = bounds[bounds <= cycles]
    owner = np.full(len(bounds) - 1, -1)
    for unit in PRECEDENCE:
        layers = [numbers[heads.get(item.layer, item.layer)] for item in _on(commands, unit)]
        owner = np.where(owner < 0, _owners(occupied[unit], np.array(layers, np.int64), bounds[:-1]), owner)
    shares = np.bincount(_with_rests(owner), weights=np.diff(bounds), minlength=len(names))
    return {name: round(share) for name, share in zip(names, shares.tolist(), strict=True)}


def _on(commands: Sequence[CommandTime], unit: str) -> list[CommandTime]:
    """The commands that occupy a unit, in order of time; those within a chain occupy none."""
    return sorted((item for item in commands if item.unit == unit and item.busy), key=lambda item: item.start)


def _occupied(commands: Sequence[CommandTime], unit: str) -> NDArray[np.int64]:
    """From when to when each command occupies a unit: [commands, 2]."""
    times = [(item.start, item.start + item.busy) for item in _on(commands, unit)]
    return np.array(times, np.int64).reshape(-1, 2)


def _owners(
    occupied: NDArray[np.int64], layers: NDArray[np.int64], begins: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The layer that occupies a unit at each of these cycles; -1 while the unit rests."""
    if not len(layers):
        return np.full(len(begins), -1)
    latest = np.searchsorted(occupied[:, 0], begins, side="right") - 1
    return np.where((latest >= 0) & (occupied[latest, 1] > begins), layers[latest], -1)


def _with_rests(owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """The owners with rests given to whoever comes next, at the end to who was last; to the first layer if nobody is."""
    known = np.flatnonzero(owner >= 0)
    if not len(known):
        return np.zeros_like(owner)
    following = np.searchsorted(known, np.arange(len(owner)))
    return owner[known[np.minimum(following, len(known) - 1)]]
