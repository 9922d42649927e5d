import zipfile
from itertools import chain

import numpy as np
import pytest

from seqattn import DataError
from tasks.molecules import Molecules, Solubility, to_graph
from tasks.smiles import parse_smiles

SPLITS = ("train", "val", "test")


@pytest.fixture
def tu_zip(tmp_path):
    """Six molecules of two atoms, at distances 1, 2 … 6."""
    path = tmp_path / "SIX.zip"
    files = {
        "A": "".join(f"{2 * n + 1}, {2 * n + 2}\n" for n in range(6)),
        "graph_indicator": "".join(f"{n + 1}\n" * 2 for n in range(6)),
        "graph_labels": "1\n-1\n" * 3,
        "edge_attributes": "".join(f"{n + 1}.0\n" for n in range(6)),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for part, text in files.items():
            archive.writestr(f"SIX//SIX_{part}.txt", text)
    return str(path)


def test_folds_hold_every_molecule_once(tu_zip):
    keys = [e.key for split in SPLITS for e in Molecules(tu_zip, split, fold=1, folds=3).read()]
    assert sorted(keys) == [f"SIX:{n}" for n in range(1, 7)]


def test_distance_is_the_weight_or_its_inverse_square(tu_zip):
    far = Molecules(tu_zip, "train", folds=3, weight=0).read()
    near = Molecules(tu_zip, "train", folds=3, weight=0, closeness=True).read()
    for first, second in zip(far, near, strict=True):
        distance = float(first.key.removeprefix("SIX:"))
        assert first.source.edge_weight.tolist() == [distance]
        np.testing.assert_allclose(second.source.edge_weight, [distance**-2], rtol=1e-6)


def test_closeness_is_refused_when_there_is_no_distance(tu_zip):
    with pytest.raises(ValueError, match="closeness needs a column of distances, got weight=None"):
        Molecules(tu_zip, "train", closeness=True)


def test_distances_are_refused_when_they_are_not_positive(tmp_path):
    path = tmp_path / "ZERO.zip"
    files = {"A": "1, 1\n", "graph_indicator": "1\n2\n3\n", "graph_labels": "1\n1\n1\n"}
    with zipfile.ZipFile(path, "w") as archive:
        for part, text in {**files, "edge_attributes": "0.0\n"}.items():
            archive.writestr(f"ZERO_{part}.txt", text)
    splits = [Molecules(str(path), s, folds=3, weight=0, closeness=True) for s in SPLITS]
    with pytest.raises(DataError, match="'ZERO:1': distances must be positive, got 0.0"):
        list(chain.from_iterable(reader.read() for reader in splits))


@pytest.mark.parametrize("reader", [Molecules, Solubility])
def test_origin_is_named_when_the_file_is_missing(tmp_path, reader):
    with pytest.raises(DataError, match="there is no such file; the data is at https://github"):
        list(reader(str(tmp_path / "none"), "train").read())


def test_atoms_and_bonds_become_categories():
    graph = to_graph(parse_smiles("C1CC1[O-]"))
    ring = ["C", False, 2, 0, 2, True]
    assert graph.categories.tolist() == [
        ring,
        ring,
        ["C", False, 3, 0, 1, True],
        ["O", False, 1, -1, 0, False],
    ]
    assert graph.edge_index.tolist() == [[0, 1, 0, 2, 1, 2, 2, 3], [1, 2, 2, 3, 0, 1, 0, 2]]
    assert graph.edge_categories.tolist() == [
        *[["single", True]] * 3,
        ["single", False],
        *[["single", True]] * 3,
        ["single", False],
    ]
    assert graph.names == ("C", "C", "C", "O")


def test_lone_atom_is_a_graph_without_edges():
    graph = to_graph(parse_smiles("O"))
    assert graph.num_nodes == 1
    assert graph.edge_index.shape == (2, 0)
    assert graph.edge_categories.shape == (0, 2)


def write_esol(tmp_path, lines):
    path = tmp_path / "esol.csv"
    column = "measured log solubility in mols per litre"
    path.write_text("\n".join([f"Compound ID,{column},smiles", *lines]) + "\n")
    return str(path)


def test_solubility_is_a_number_and_every_molecule_is_in_one_split(tmp_path):
    path = write_esol(tmp_path, [f"m,{-n / 4},{'C' * (n + 1)} " for n in range(20)])
    examples = [e for split in SPLITS for e in Solubility(path, split, seed=1).read()]
    found = sorted((e.source.num_nodes, e.target) for e in examples)
    assert found == [(n + 1, -n / 4) for n in range(20)]
    assert len(list(Solubility(path, "test", seed=1).read())) == 2


def test_line_is_named_when_a_molecule_breaks_the_grammar(tmp_path):
    path = write_esol(tmp_path, ["m,1,C"] * 14 + ["m,1,C(C"] + ["m,1,C"] * 5)
    splits = [Solubility(path, split) for split in SPLITS]
    with pytest.raises(DataError, match=r"esol.csv:16: every branch must be closed"):
        list(chain.from_iterable(reader.read() for reader in splits))
