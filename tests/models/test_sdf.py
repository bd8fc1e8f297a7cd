"""The SDF reader gets atoms, bonds, charges and values right, and graphs follow from them."""

from pathlib import Path

import numpy as np
import pytest

from models import solubility
from models.sdf import Bond, Molecule, read_molecules
from nmc.errors import ModelError

_NITROMETHANE = """nitromethane
  by hand

  4  3  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.0000    0.0000    0.0000 N   0  3
    2.0000    1.0000    0.0000 O   0  0
    2.0000   -1.0000    0.0000 O   0  5
  1  2  1  0
  2  3  2  0
  2  4  1  0
M  CHG  2   2   1   4  -1
M  END
>  <SOL_classification>  (1)
(C) high

$$$$
"""


def _read(text: str, directory: Path) -> list[Molecule]:
    path = directory / "molecules.sdf"
    path.write_text(text)
    return read_molecules(path)


def test_atoms_bonds_charges_and_values_are_read(tmp_path: Path) -> None:
    expected = Molecule(
        elements=("C", "N", "O", "O"),
        charges=(0, 1, 0, -1),
        bonds=(Bond(0, 1, 1), Bond(1, 2, 2), Bond(1, 3, 1)),
        values={"SOL_classification": "(C) high"},
    )
    assert _read(_NITROMETHANE * 2, tmp_path) == [expected, expected]


def test_a_record_that_is_no_molecule_is_named_by_its_number(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"molecules\.sdf: record 2 is no V2000 molecule"):
        _read(_NITROMETHANE + _NITROMETHANE.replace("V2000", "V3000"), tmp_path)


def test_every_molecule_of_the_data_sets_is_read_but_for_three_stereoisomers_of_test_molecules() -> None:
    assert np.bincount(solubility.training().labels).tolist() == [417 - 2, 402 - 1, 206]
    assert np.bincount(solubility.test().labels).tolist() == [102, 115, 40]
    assert solubility.training().mask.sum(axis=1).max() == 47


def test_the_adjacency_is_normalised_and_padded_with_zeros() -> None:
    graphs = solubility.test()
    # D^1/2 · 1 is an eigenvector of D^-1/2 (A + I) D^-1/2 with eigenvalue 1; the diagonal holds 1 / degree.
    diagonal = np.einsum("sii->si", graphs.adjacency)
    root_degree = np.where(graphs.mask > 0, np.maximum(diagonal, 1e-9) ** -0.5, 0)
    np.testing.assert_allclose(np.einsum("sij,sj->si", graphs.adjacency, root_degree), root_degree, rtol=1e-6)
    assert np.array_equal(diagonal > 0, graphs.mask > 0)
    assert not graphs.features[graphs.mask == 0].any()


def test_ring_hydrogens_and_charge_become_features() -> None:
    # Cyclopropenyl alcohol, charged for the test: a ring of three carbon atoms with one double bond, and O-.
    molecule = Molecule(
        elements=("C", "C", "C", "O"),
        charges=(0, 0, 0, -1),
        bonds=(Bond(0, 1, 2), Bond(1, 2, 1), Bond(0, 2, 1), Bond(2, 3, 1)),
        values={},
    )
    numbers = solubility.atom_features(molecule)[:4, -7:]
    # neighbours / 4, hydrogens / 4, charge, double bonds / 2, triple bonds, in a ring, double bond in a ring
    assert numbers.tolist() == [
        [0.5, 0.25, 0, 0.5, 0, 1, 1],
        [0.5, 0.25, 0, 0.5, 0, 1, 1],
        [0.75, 0.25, 0, 0, 0, 1, 0],
        [0.25, 0, -1, 0, 0, 0, 0],
    ]
