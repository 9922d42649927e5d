import numpy as np
import pytest
from scipy.sparse import csr_matrix

from seqattn import DataError
from tasks.citations import Citations


@pytest.fixture
def path(tmp_path):
    words = csr_matrix(np.array([[1, 1], [0, 2], [3, 1]], dtype=np.float32))
    path = tmp_path / "tiny.npz"
    np.savez(
        path,
        edge_index=np.array([[0, 1], [1, 0]]),
        **{f"x_{name}": getattr(words, name) for name in ("data", "indices", "indptr", "shape")},
        y=np.array([0, 1, 0]),
        train_idx=np.array([0]),
        val_idx=np.array([1]),
        test_idx=np.array([2]),
    )
    return str(path)


def test_words_are_counts_and_the_split_is_labelled(path):
    (example,) = Citations(path, "val").read()
    assert example.source.features.toarray().tolist() == [[1, 1], [0, 2], [3, 1]]
    assert example.target == [None, "1", None]


def test_origin_is_named_when_the_file_is_missing(tmp_path):
    with pytest.raises(DataError, match="there is no such file; the data is at https://github"):
        list(Citations(str(tmp_path / "none.npz"), "train").read())


def test_papers_that_a_walk_reaches_are_read_when_it_restarts(path):
    (example,) = Citations(path, "val", restart=0.2, neighbors=2).read()
    edges = set(map(tuple, example.source.edge_index.T.tolist()))
    assert edges == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)}
    assert (example.source.edge_weight > 0).all()
