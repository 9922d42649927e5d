"""Molecules written as SMILES: atoms, bonds, rings, branches, charges and hydrogens.

The grammar is OpenSMILES (opensmiles.org, version 1.0) without stereochemistry, whose signs are
read and dropped: atoms of the organic subset and in brackets, aromatic ones in small letters, the
bonds ``- = # $ :``, branches, ring closures up to ``%99``, and dots between parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"(?P<organic>Cl|Br|[BCNOPSFIbcnops])"
    r"|\[(?P<bracket>[^\[\]]*)\]"
    r"|(?P<bond>[-=#$:/\\])"
    r"|(?P<ring>\d|%\d\d)"
    r"|(?P<sign>[().])"
)
_BRACKET = re.compile(
    r"(?P<isotope>\d+)?(?P<symbol>[A-Z][a-z]?|as|se|[bcnops])(?P<chiral>@(?:@|(?:TH|AL|SP|TB|OH)\d+)?)?"
    r"(?P<hydrogens>H\d*)?(?P<charge>\++\d*|-+\d*)?(?P<group>:\d+)?"
)
_KINDS = {"-": "single", "=": "double", "#": "triple", "$": "quadruple", ":": "aromatic"}
_ORDERS = {"single": 1, "double": 2, "triple": 3, "quadruple": 4, "aromatic": 1}
_VALENCES = {
    **{"B": (3,), "C": (4,), "N": (3, 5), "O": (2,), "P": (3, 5), "S": (2, 4, 6)},
    **dict.fromkeys(("F", "Cl", "Br", "I"), (1,)),
}
_ELEMENTS = (
    " H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb "
    "Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm "
    "Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og "
)


@dataclass
class Atom:
    """An atom.

    Args:
        symbol: of the element.
        is_aromatic: whether it was written in small letters.
        charge: in elementary charges.
        hydrogens: how many are attached without being atoms of their own; None until counted.
        in_ring: whether a ring goes through it.
    """

    symbol: str
    is_aromatic: bool = False
    charge: int = 0
    hydrogens: int | None = None
    in_ring: bool = False


@dataclass
class Bond:
    """A bond between two atoms, given by their numbers.

    Args:
        first: atom that was written first.
        second: the other one.
        kind: single, double, triple, quadruple or aromatic; empty until told by the atoms.
        in_ring: whether a ring goes through it.
    """

    first: int
    second: int
    kind: str = ""
    in_ring: bool = False


@dataclass
class Molecule:
    """Atoms in the order in which they are written, and the bonds between them."""

    atoms: list[Atom] = field(default_factory=list)
    bonds: list[Bond] = field(default_factory=list)


def parse_smiles(text: str) -> Molecule:
    """Return the molecule that a SMILES describes.

    Raises:
        ValueError: if it breaks the grammar; names the rule and the place, from 1.
    """
    writer = _Writer()
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ValueError(
                f"a SMILES must hold atoms, bonds, rings and branches, got {text[place]!r} "
                f"at character {place + 1} of {text!r}"
            )
        try:
            writer.take(match)
        except ValueError as error:
            raise ValueError(f"{error} at character {place + 1} of {text!r}") from None
        place = match.end()
    try:
        return writer.finish()
    except ValueError as error:
        raise ValueError(f"{error} at the end of {text!r}") from None


class _Writer:
    """Builds a molecule from one token after the other.

    The atoms of the chain that a new one joins form a tree; ring closures are its other bonds.
    """

    def __init__(self) -> None:
        self.molecule = Molecule()
        self.parents: list[int | None] = []  # of each atom: the bond that joined it to the tree
        self.last: int | None = None
        self.bond: str | None = None
        self.branches: list[int] = []
        self.rings: dict[int, tuple[int, str | None]] = {}
        self.closures: list[Bond] = []

    def take(self, match: re.Match[str]) -> None:
        if match["organic"]:
            symbol = match["organic"]
            self._add(Atom(symbol.capitalize(), symbol.islower()))
        elif match["bracket"] is not None:
            self._add(_read_bracket(match["bracket"]))
        elif match["bond"]:
            if self.bond is not None or self.last is None:
                raise ValueError(f"a bond must stand between two atoms, got {match['bond']!r}")
            self.bond = match["bond"]
        elif match["ring"]:
            self._turn_ring(int(match["ring"].lstrip("%")))
        else:
            self._turn_branch(match["sign"])

    def finish(self) -> Molecule:
        """Return the molecule, with what only the whole of it tells."""
        if self.bond is not None:
            raise ValueError(f"a bond must stand between two atoms, got {self.bond!r}")
        if self.branches:
            raise ValueError(f"every branch must be closed, got {len(self.branches)} open")
        if self.rings:
            raise ValueError(f"every ring must be closed, got ring {min(self.rings)} open")
        if not self.molecule.atoms:
            raise ValueError("a SMILES must hold at least one atom, got none")
        for closure in self.closures:
            self._mark_ring(closure)
        _name_bonds(self.molecule)
        _count_hydrogens(self.molecule)
        return self.molecule

    def _add(self, atom: Atom) -> None:
        number = len(self.molecule.atoms)
        self.molecule.atoms.append(atom)
        self.parents.append(None)
        if self.last is not None:
            self.parents[number] = len(self.molecule.bonds)
            self.molecule.bonds.append(Bond(self.last, number, self._take_kind()))
        self.last = number

    def _take_kind(self) -> str:
        kind = _KINDS.get(self.bond or "", "")  # the slashes of double bonds' geometry say nothing
        self.bond = None
        return kind

    def _turn_branch(self, sign: str) -> None:
        if self.last is None or self.bond is not None:
            raise ValueError(f"an atom must come before {sign!r}")
        if sign == "(":
            self.branches.append(self.last)
        elif sign == ")":
            if not self.branches:
                raise ValueError("a branch must be opened before it is closed")
            self.last = self.branches.pop()
        else:
            self.last = None

    def _turn_ring(self, number: int) -> None:
        if self.last is None:
            raise ValueError(f"an atom must come before ring {number}")
        kind = self._take_kind()
        if number not in self.rings:
            self.rings[number] = (self.last, kind)
            return
        first, opened = self.rings.pop(number)
        if kind and opened and kind != opened:
            raise ValueError(f"ring {number} must close with one kind, got {opened} and {kind}")
        joined = {frozenset((bond.first, bond.second)) for bond in self.molecule.bonds}
        if first == self.last or frozenset((first, self.last)) in joined:
            raise ValueError(f"ring {number} must join two atoms that no bond joins yet")
        closure = Bond(first, self.last, kind or opened or "")
        self.molecule.bonds.append(closure)
        self.closures.append(closure)

    def _mark_ring(self, closure: Bond) -> None:
        """Mark a closure and the way between its ends in the tree, which together are a ring."""
        ways = [self._way_up(closure.first), self._way_up(closure.second)]
        bonds = [self.molecule.bonds[number] for number in set(ways[0]) ^ set(ways[1])]
        for bond in (closure, *bonds):
            bond.in_ring = True
            for atom in (bond.first, bond.second):
                self.molecule.atoms[atom].in_ring = True

    def _way_up(self, atom: int) -> list[int]:
        """Return the bonds between an atom and the root of its tree."""
        way = []
        while (bond := self.parents[atom]) is not None:
            way.append(bond)
            atom = self.molecule.bonds[bond].first
        return way


def _read_bracket(text: str) -> Atom:
    match = _BRACKET.fullmatch(text)
    if match is None or f" {match['symbol'].capitalize()} " not in _ELEMENTS:
        raise ValueError(f"brackets must hold an atom, got [{text}]")
    hydrogens, charge = match["hydrogens"], match["charge"] or ""
    digits = charge.lstrip("+-")
    size = int(digits) if digits else len(charge)
    return Atom(
        match["symbol"].capitalize(),
        match["symbol"].islower(),
        -size if charge.startswith("-") else size,
        int(hydrogens[1:] or 1) if hydrogens else 0,
    )


def _name_bonds(molecule: Molecule) -> None:
    """Say of each unwritten bond whether it is single, or aromatic: in a ring of such atoms."""
    for bond in molecule.bonds:
        ends = (molecule.atoms[bond.first], molecule.atoms[bond.second])
        is_aromatic = bond.in_ring and all(atom.is_aromatic for atom in ends)
        bond.kind = bond.kind or ("aromatic" if is_aromatic else "single")


def _count_hydrogens(molecule: Molecule) -> None:
    """Give each atom outside brackets the hydrogens that its lowest fitting valence leaves."""
    orders = [int(atom.is_aromatic) for atom in molecule.atoms]  # a share in the ring's electrons
    for bond in molecule.bonds:
        for number in (bond.first, bond.second):
            orders[number] += _ORDERS[bond.kind]
    for atom, order in zip(molecule.atoms, orders, strict=True):
        if atom.hydrogens is None:
            valences = _VALENCES[atom.symbol][: 1 if atom.is_aromatic else None]
            atom.hydrogens = next((value - order for value in valences if value >= order), 0)
