import gc
import pickle
import warnings
from collections import defaultdict

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from seqattn import DataError
from seqattn.data import PlanetoidFiles

# Six nodes: 0 and 1 of training, 2 and 3 further known ones, 4 and 6 of the test, in the order
# 6, 4; number 5 is left out by the original files.
WORDS = np.array([[1, 1], [0, 1], [2, 0], [0, 0], [0, 3], [0, 0], [4, 0]], dtype=np.float32)
LABELS = [0, 1, 1, 0, 1, -1, 0]
NEIGHBORS = {0: [1, 1, 0], 1: [0, 2], 2: [1], 4: [6], 6: [4], 3: [], 5: []}
EDGES = {(0, 1), (1, 0), (1, 2), (2, 1), (4, 6), (6, 4)}


def one_hot(labels):
    return np.eye(2, dtype=np.int32)[labels]


def as_python_2_wrote_it(value):
    """Return a pickle of protocol 2, with the names that modules had then."""
    names = {
        "numpy._core.multiarray": "numpy.core.multiarray",
        "scipy.sparse._csr": "scipy.sparse.csr",
        "builtins": "__builtin__",
    }
    data = pickle.dumps(value, protocol=2, fix_imports=True)
    for new, old in names.items():
        data = data.replace(f"c{new}\n".encode(), f"c{old}\n".encode())
    return data


@pytest.fixture
def folder(tmp_path):
    graph = defaultdict(list, NEIGHBORS)
    parts = {
        "x": csr_matrix(WORDS[:2]),
        "allx": csr_matrix(WORDS[:4]),
        "tx": csr_matrix(WORDS[[6, 4]]),
        "ally": one_hot(LABELS[:4]),
        "ty": one_hot([LABELS[6], LABELS[4]]),
        "graph": graph,
    }
    for part, value in parts.items():
        (tmp_path / f"ind.tiny.{part}").write_bytes(as_python_2_wrote_it(value))
    (tmp_path / "ind.tiny.test.index").write_text("6\n4\n")
    return tmp_path


@pytest.fixture
def npz(tmp_path):
    words = csr_matrix(WORDS)
    path = tmp_path / "tiny.npz"
    np.savez(
        path,
        edge_index=np.array(sorted(EDGES)).T,
        x_data=words.data,
        x_indices=words.indices,
        x_indptr=words.indptr,
        x_shape=np.array(words.shape),
        y=np.array(LABELS),
        train_idx=np.array([0, 1]),
        val_idx=np.array([2, 3]),
        test_idx=np.array([4, 6]),
    )
    return path


def readers(folder, npz, split):
    return PlanetoidFiles(str(folder), split, name="tiny"), PlanetoidFiles(str(npz), split)


@pytest.mark.parametrize(
    ("split", "nodes"),
    [("train", [0, 1]), ("val", [2, 3]), ("test", [4, 6]), ("all", [0, 1, 2, 3, 4, 6])],
)
def test_both_forms_give_the_graph_with_the_split_labelled(folder, npz, split, nodes):
    for reader in readers(folder, npz, split):
        (example,) = reader.read()
        graph = example.source
        assert graph.features.toarray().tolist() == WORDS.tolist()
        assert set(map(tuple, graph.edge_index.T.tolist())) == EDGES
        assert graph.edge_index.shape == (2, len(EDGES))
        assert np.flatnonzero(graph.labelled).tolist() == nodes
        expected = [str(LABELS[n]) if n in nodes else None for n in range(7)]
        assert example.target == expected


class Harmful:
    def __reduce__(self):
        return print, ("run",)


def test_pickle_is_refused_when_it_names_something_else_than_arrays(folder, capsys):
    path = folder / "ind.tiny.graph"
    path.write_bytes(as_python_2_wrote_it(Harmful()))
    rule = r"ind.tiny.graph: the pickle must hold nothing but arrays, got __builtin__.print"
    with pytest.raises(DataError, match=rule):
        list(PlanetoidFiles(str(folder), "train", name="tiny").read())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("ind.tiny.x", b"garbage", r"ind.tiny.x: the file must be a pickle of arrays"),
        ("ind.tiny.test.index", b"6\nx\n", r"index:2: a line must be a node's number, got 'x'"),
        ("ind.tiny.test.index", b"", r"the file must hold at least one node, got none"),
        ("ind.tiny.test.index", b"6\n", r"must name a node from 4 for each of 2 rows of tx"),
        ("ind.tiny.test.index", b"6\n3\n", r"must name a node from 4 for each of 2 rows of tx"),
    ],
)
def test_folder_is_refused_when_a_file_is_damaged(folder, name, content, rule):
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=rule):
        list(PlanetoidFiles(str(folder), "train", name="tiny").read())


def test_folder_is_refused_when_a_file_is_missing(folder):
    (folder / "ind.tiny.ally").unlink()
    with pytest.raises(DataError, match="ind.tiny.ally: the file must exist"):
        list(PlanetoidFiles(str(folder), "train", name="tiny").read())


def test_npz_is_refused_when_it_is_missing_damaged_or_lacks_an_array(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match=r"a.npz: the file must exist"):
        list(PlanetoidFiles(str(path), "train").read())
    path.write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"a.npz: the file must be an .npz of plain arrays"):
        list(PlanetoidFiles(str(path), "train").read())
    np.savez(path, y=np.zeros(3))
    with pytest.raises(DataError, match=r"a.npz: the file must hold edge_index, x_data"):
        list(PlanetoidFiles(str(path), "train").read())


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_npz_is_refused_when_it_is_damaged(npz, part, damage):
    content = bytearray(npz.read_bytes())
    place = int(part * len(content))
    if damage == "cut":
        del content[place:]
    else:
        content[place : place + 64] = bytes(byte ^ 255 for byte in content[place : place + 64])
    npz.write_bytes(content)
    rule = r"tiny.npz: the file must (be an .npz of plain arrays|hold edge_index, x_data)"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(DataError, match=rule):
            list(PlanetoidFiles(str(npz), "train").read())
        gc.collect()
    assert not caught  # no file is left open


def test_npz_is_refused_when_its_features_are_no_matrix(npz):
    with np.load(npz) as file:
        arrays = dict(file)
    np.savez(npz, **{**arrays, "x_indptr": arrays["x_indptr"][:-1]})
    with pytest.raises(DataError, match="tiny.npz: x must be a matrix in CSR form"):
        list(PlanetoidFiles(str(npz), "train").read())


def test_npz_is_refused_when_it_holds_a_pickle(npz):
    arrays = dict(np.load(npz))
    np.savez(npz, **{**arrays, "y": np.array([Harmful()])})
    with pytest.raises(DataError, match=r"must be an .npz of plain arrays: Object arrays"):
        list(PlanetoidFiles(str(npz), "train").read())


def test_arguments_are_refused_when_they_do_not_go_together():
    with pytest.raises(ValueError, match="split must be train, val, test or all, got 'dev'"):
        PlanetoidFiles("a.npz", "dev")
    with pytest.raises(ValueError, match=r"name is for a folder of ind.\* files only, got None"):
        PlanetoidFiles("folder", "train")
    with pytest.raises(ValueError, match=r"name is for a folder .* got 'cora' for a.npz"):
        PlanetoidFiles("a.npz", "train", name="cora")
