import numpy as np
import pytest

from seqattn import DataError, Graph
from tasks.contacts import Contacts, shuffle_weights


@pytest.fixture
def path(tmp_path):
    """Twelve persons of two classes, in a circle; person n meets the next one n + 1 times."""
    lines = [
        f"20\t{n}\t{(n + 1) % 12}\t{'ab'[n % 2]}\t{'ab'[(n + 1) % 2]}"
        for n in range(12)
        for _ in range(n + 1)
    ]
    (tmp_path / "contacts.csv").write_text("\n".join(["t\ta\tb\tc\td", *lines]) + "\n")
    return str(tmp_path / "contacts.csv")


def only(reader):
    (example,) = reader.read()
    return example


def test_half_the_persons_are_known_and_the_others_asked_for(path):
    train, test = (only(Contacts(path, split)) for split in ("train", "test"))
    known = train.source.graph.labelled
    assert known.sum() == 6
    assert (test.source.graph.labelled == ~known).all()
    shown = test.source.sample(None).categories[:, 0]
    assert [bool(name) for name in shown] == known.tolist()


def test_weights_are_contacts_when_not_shuffled(path):
    graph = only(Contacts(path, "train")).source.graph
    assert sorted(graph.edge_weight.tolist()) == sorted([*range(1, 13)] * 2)


def test_weights_are_roots_of_contacts_when_the_power_is_a_half(path):
    graph = only(Contacts(path, "train", power=0.5)).source.graph
    np.testing.assert_allclose(sorted(graph.edge_weight**2), sorted([*range(1, 13)] * 2), 1e-6)


def test_power_is_refused_when_not_positive(path):
    with pytest.raises(ValueError, match="power must be above 0, got 0"):
        Contacts(path, "train", power=0)


def test_shuffled_weights_are_the_same_in_all_splits(path):
    splits = [only(Contacts(path, s, shuffle_weights=True)) for s in ("train", "test")]
    first, second = (example.source.graph.edge_weight for example in splits)
    assert first.tolist() == second.tolist()
    plain = only(Contacts(path, "train")).source.graph
    assert first.tolist() != plain.edge_weight.tolist()
    assert sorted(first) == sorted(plain.edge_weight)


def test_both_directions_keep_one_weight_when_shuffled():
    index = np.array([[0, 1, 2, 1, 3, 2], [1, 0, 1, 2, 2, 3]])
    weights = np.array([1, 1, 2, 2, 3, 3], dtype=np.float32)
    for seed in range(5):
        found = shuffle_weights(Graph(4, index, edge_weight=weights), seed)
        assert found[::2].tolist() == found[1::2].tolist()
        assert sorted(found) == [1, 1, 2, 2, 3, 3]


def test_origin_is_named_when_the_file_is_missing(tmp_path):
    with pytest.raises(DataError, match="there is no such file; the data is at https://github"):
        only(Contacts(str(tmp_path / "none.csv"), "train"))
