"""What is a molecule like? Classes of TU data sets, and how well it dissolves (ESOL)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from seqattn import DataError, Example, Graph
from seqattn.data import Fold, Reader, Table, TuZip
from tasks.smiles import Molecule, parse_smiles

ORIGIN = "https://github.com/bknyaz/graph_nn (data)"
ESOL_ORIGIN = "https://github.com/deepchem/deepchem (datasets/delaney-processed.csv)"

_SOLUBILITY = "measured log solubility in mols per litre"


class Molecules(Reader):
    """Molecules of a TU data set with their class, in stratified folds.

    Args:
        path: the zip.
        split: fold number `fold` is ``test``, the next one ``val``, the others ``train``.
        fold: from 0.
        folds: how many there are.
        seed: decides which molecule is in which fold.
        weight: column of the edge attributes that weighs the edges, a distance; None for none.
        closeness: weigh an edge of distance d by 1 / d², so that near atoms weigh more.
    """

    def __init__(
        self,
        path: str,
        split: Literal["train", "val", "test"],
        *,
        fold: int = 0,
        folds: int = 10,
        seed: int = 0,
        weight: int | None = None,
        closeness: bool = False,
    ) -> None:
        if closeness and weight is None:
            raise ValueError("closeness needs a column of distances, got weight=None")
        self.path = path
        self.reader = Fold(TuZip(path, weight=weight), split, fold, folds, seed=seed)
        self.closeness = closeness

    def read(self) -> Iterator[Example]:
        """Yield the molecules.

        Raises:
            DataError: if the zip is missing or breaks its format.
        """
        _require_file(self.path, ORIGIN)
        for example in self.reader.read():
            yield _weigh_by_closeness(example) if self.closeness else example


class Solubility(Reader):
    """Molecules of ESOL (Delaney 2004) with the logarithm of their solubility in mol per litre.

    Args:
        path: the file ``delaney-processed.csv``.
        split: a tenth of the molecules, by `seed`, is ``test``, another ``val``.
        seed: decides which molecule is where.
    """

    def __init__(self, path: str, split: Literal["train", "val", "test"], *, seed: int = 0) -> None:
        self.path = path
        table = Table(path, "smiles", _SOLUBILITY, number=True, format="csv")
        self.reader = Fold(table, split, seed=seed)

    def read(self) -> Iterator[Example]:
        """Yield the molecules as graphs.

        Raises:
            DataError: if the file is missing, a column is, or a SMILES breaks the grammar; names
                the file and the line.
        """
        _require_file(self.path, ESOL_ORIGIN)
        for example in self.reader.read():
            try:
                molecule = parse_smiles(example.source.strip())
            except ValueError as error:
                line = int(example.key.rpartition(":")[2])
                raise DataError(str(error), path=self.path, line=line) from error
            yield replace(example, source=to_graph(molecule))


def to_graph(molecule: Molecule) -> Graph:
    """Return a molecule as a graph: its atoms are nodes, its bonds edges in both directions.

    Categories of an atom: symbol, aromatic or not, number of bonds, charge, hydrogens, in a ring
    or not. Categories of a bond: its kind, in a ring or not.
    """
    pairs = [(bond.first, bond.second) for bond in molecule.bonds]
    index = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    degrees = np.bincount(index.ravel(), minlength=len(molecule.atoms)).tolist()
    atoms = [
        (atom.symbol, atom.is_aromatic, degree, atom.charge, atom.hydrogens, atom.in_ring)
        for atom, degree in zip(molecule.atoms, degrees, strict=True)
    ]
    bonds = [(bond.kind, bond.in_ring) for bond in molecule.bonds] * 2
    return Graph(
        len(molecule.atoms),
        np.concatenate([index, index[::-1]], axis=1),
        categories=np.array(atoms, dtype=object),
        edge_categories=np.array(bonds, dtype=object).reshape(-1, 2),
        names=tuple(atom.symbol for atom in molecule.atoms),
    )


def _weigh_by_closeness(example: Example) -> Example:
    distance = example.source.edge_weight
    if not (distance > 0).all():
        raise DataError(f"distances must be positive, got {distance.min()}", key=example.key)
    return replace(example, source=replace(example.source, edge_weight=distance**-2))


def _require_file(path: str, origin: str) -> None:
    if not Path(path).exists():
        raise DataError(f"there is no such file; the data is at {origin}", path=path)
