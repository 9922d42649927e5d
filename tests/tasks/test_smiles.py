from collections import Counter

import pytest

from tasks.smiles import parse_smiles


def symbols(molecule):
    return [atom.symbol for atom in molecule.atoms]


def bonds(molecule):
    return [(bond.first, bond.second, bond.kind) for bond in molecule.bonds]


def formula(text):
    """Return how many atoms of each element a molecule has, hydrogens included."""
    molecule = parse_smiles(text)
    counts = Counter(symbols(molecule))
    counts["H"] += sum(atom.hydrogens for atom in molecule.atoms)
    return "".join(f"{name}{count}" for name, count in sorted(counts.items()) if count)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C", "C1H4"),
        ("[H][H]", "H2"),
        ("CCO", "C2H6O1"),
        ("C#N", "C1H1N1"),
        ("c1ccccc1", "C6H6"),
        ("c1ccncc1", "C5H5N1"),  # pyridine
        ("c1cc[nH]c1", "C4H5N1"),  # pyrrole
        ("Cn1cccc1", "C5H7N1"),  # its methyl
        ("c1ccsc1", "C4H4S1"),  # thiophene
        ("c1ccoc1", "C4H4O1"),  # furan
        ("O=c1cc[nH]cc1", "C5H5N1O1"),  # pyridone
        ("c1ccc2ccccc2c1", "C10H8"),  # naphthalene
        ("c1ccccc1c1ccccc1", "C12H10"),  # biphenyl
        ("CS(=O)(=O)C", "C2H6O2S1"),
        ("OP(O)(O)=O", "H3O4P1"),
        ("C[N+](=O)[O-]", "C1H3N1O2"),
        ("CN(=O)=O", "C1H3N1O2"),
        ("OC(=O)C(Cl)Br", "Br1C2Cl1H2O2"),
        ("N[C@@H](C)C(=O)O", "C3H7N1O2"),  # alanine
        ("F/C=C/F", "C2F2H2"),
        ("[Na+].[Cl-]", "Cl1Na1"),
        ("[13CH4]", "C1H4"),
        ("[NH4+]", "H4N1"),
        ("[se]1cccc1", "C4H4Se1"),
        ("Cn1cnc2n(C)c(=O)n(C)c(=O)c12", "C8H10N4O2"),  # caffeine
        ("CC(=O)Oc1ccccc1C(=O)O", "C9H8O4"),  # aspirin
        ("C%12CC%12", "C3H6"),
        ("C1CC1C1CC1", "C6H10"),  # a number is used again
    ],
)
def test_molecule_has_its_formula_when_parsed(text, expected):
    assert formula(text) == expected


def test_branches_join_where_they_were_opened():
    assert bonds(parse_smiles("CC(C(F)O)N")) == [
        (0, 1, "single"),
        (1, 2, "single"),
        (2, 3, "single"),
        (2, 4, "single"),
        (1, 5, "single"),
    ]


def test_kinds_of_bonds_are_told_when_written_or_not():
    found = Counter(bond.kind for bond in parse_smiles("C=CC#CC:C[Re]$[Re]c1ccccc1").bonds)
    assert found == {
        "single": 4,
        "double": 1,
        "triple": 1,
        "quadruple": 1,
        "aromatic": 7,
    }


def test_bond_between_two_aromatic_rings_is_single():
    found = [bond for bond in parse_smiles("c1ccccc1c1ccccc1").bonds if bond.kind == "single"]
    assert [(bond.first, bond.second) for bond in found] == [(5, 6)]


def test_ring_closure_has_the_kind_of_either_end():
    for text in ("C=1CCC1", "C1CCC=1", "C=1CCC=1"):
        assert bonds(parse_smiles(text))[-1] == (0, 3, "double")


def test_rings_are_found_when_they_are_joined_branched_and_nested():
    molecule = parse_smiles("CC1CC2CCC1(F)C2CO")
    in_ring = [number for number, atom in enumerate(molecule.atoms) if atom.in_ring]
    assert in_ring == [1, 2, 3, 4, 5, 6, 8]
    outside = [(bond.first, bond.second) for bond in molecule.bonds if not bond.in_ring]
    assert outside == [(0, 1), (6, 7), (8, 9), (9, 10)]


def test_chain_between_rings_is_in_none():
    molecule = parse_smiles("C1CC1CC1CC1")
    assert [atom.in_ring for atom in molecule.atoms] == [True] * 3 + [False] + [True] * 3
    assert [bond.in_ring for bond in molecule.bonds].count(False) == 2


@pytest.mark.parametrize(
    ("text", "charge", "hydrogens"),
    [
        ("[Fe+2]", 2, 0),
        ("[Fe++]", 2, 0),
        ("[O-]", -1, 0),
        ("[O--]", -2, 0),
        ("[N-3]", -3, 0),
        ("[CH3-]", -1, 3),
        ("[C@H:7]", 0, 1),
        ("[2H+]", 1, 0),
    ],
)
def test_brackets_tell_charge_and_hydrogens(text, charge, hydrogens):
    (atom,) = parse_smiles(text).atoms
    assert (atom.charge, atom.hydrogens) == (charge, hydrogens)


def test_parts_are_not_joined_when_a_dot_is_between():
    molecule = parse_smiles("CO.N")
    assert symbols(molecule) == ["C", "O", "N"]
    assert len(molecule.bonds) == 1


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "must hold at least one atom, got none at the end of ''"),
        ("CXC", "atoms, bonds, rings and branches, got 'X' at character 2 of 'CXC'"),
        ("C[C", r"got '\[' at character 2"),
        ("C[Xx]", r"brackets must hold an atom, got \[Xx\] at character 2"),
        ("[]", r"brackets must hold an atom, got \[\] at character 1"),
        ("C(C", "every branch must be closed, got 1 open at the end"),
        ("CC)", "a branch must be opened before it is closed at character 3"),
        ("(C)", r"an atom must come before '\(' at character 1"),
        ("C1CC", "every ring must be closed, got ring 1 open at the end"),
        ("1CC1", "an atom must come before ring 1 at character 1"),
        ("C11", "ring 1 must join two atoms that no bond joins yet at character 3"),
        ("C1C1", "ring 1 must join two atoms that no bond joins yet at character 4"),
        ("C=1CC#1", "ring 1 must close with one kind, got double and triple"),
        ("C=", "a bond must stand between two atoms, got '=' at the end"),
        ("=C", "a bond must stand between two atoms, got '=' at character 1"),
        ("C==C", "a bond must stand between two atoms, got '=' at character 3"),
        ("C=(C)", r"an atom must come before '\(' at character 3"),
    ],
)
def test_text_is_refused_when_it_breaks_the_grammar(text, rule):
    with pytest.raises(ValueError, match=rule):
        parse_smiles(text)
