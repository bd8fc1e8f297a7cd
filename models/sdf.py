"""Reads molecules from structure-data files (SDF) with V2000 connection tables.

Format: "CTfile Formats", BIOVIA 2020. Columns, counted from zero: the fourth line of a record holds the
numbers of atoms (0-2) and bonds (3-5); an atom line the element (31-33); a bond line both atoms (0-2, 3-5)
and the order (6-8); lines "M  CHG" the charges; and "> <NAME>" announces a value, which ends at an empty
line.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nmc.errors import ModelError


@dataclass(frozen=True)
class Bond:
    """A bond between two atoms, given by their index in the molecule; order 1, 2 or 3."""

    first: int
    second: int
    order: int


@dataclass(frozen=True)
class Molecule:
    """Elements and charges, one an atom, the bonds, and the values that the file gives with the molecule."""

    elements: tuple[str, ...]
    charges: tuple[int, ...]
    bonds: tuple[Bond, ...]
    values: Mapping[str, str]


def read_molecules(path: Path) -> list[Molecule]:
    """Return the molecules of a file in order; raises ModelError, naming the record, where there is none."""
    records = path.read_text(encoding="utf-8").split("$$$$")
    molecules = []
    for number, record in enumerate(records[:-1], 1):
        # What follows "$$$$" up to the line's end belongs to the record before.
        lines = record.splitlines() if number == 1 else record.splitlines()[1:]
        try:
            molecules.append(_molecule(lines))
        except (IndexError, ValueError) as error:
            raise ModelError(f"{path.name}: record {number} is no V2000 molecule: {error}") from error
    return molecules


def _molecule(lines: list[str]) -> Molecule:
    counts = lines[3]
    if "V2000" not in counts:
        raise ValueError(f"its counts line is {counts!r}")
    atom_count, bond_count = int(counts[0:3]), int(counts[3:6])
    atoms, rest = lines[4 : 4 + atom_count], lines[4 + atom_count :]
    bonds, rest = rest[:bond_count], rest[bond_count:]
    charges = [0] * atom_count
    for line in rest:
        if line.startswith("M  CHG"):
            pairs = [int(word) for word in line.split()[3:]]
            for atom, charge in zip(pairs[::2], pairs[1::2], strict=True):
                charges[atom - 1] = charge
    return Molecule(
        elements=tuple(line[31:34].strip() for line in atoms),
        charges=tuple(charges),
        bonds=tuple(Bond(int(line[0:3]) - 1, int(line[3:6]) - 1, int(line[6:9])) for line in bonds),
        values=dict(_values(rest)),
    )


def _values(lines: list[str]) -> Iterator[tuple[str, str]]:
    for index, line in enumerate(lines):
        if line.startswith(">"):
            yield line[line.index("<") + 1 : line.rindex(">")], lines[index + 1]
