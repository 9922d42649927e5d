from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqattn import DataError, Example, Graph
from seqattn.data import Fold, NodeSplit, Reader
from seqattn.recorded import build

LABELS = st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=40)


class OneGraph(Reader):
    """A graph without edges, and whatever is given as its target."""

    def __init__(self, labels, nodes=None):
        self.labels = labels
        self.nodes = len(labels) if nodes is None else nodes

    def read(self):
        yield Example(Graph(self.nodes, np.empty((2, 0), np.int64)), self.labels, "one")


class Labelled(Reader):
    def __init__(self, labels):
        self.labels = labels

    def read(self):
        return (Example(n, label, key=str(n)) for n, label in enumerate(self.labels))


def nodes_of(reader):
    (example,) = reader.read()
    chosen = np.flatnonzero(example.source.labelled)
    assert [label is not None for label in example.target] == example.source.labelled.tolist()
    return set(chosen.tolist())


@given(seed=st.integers(0, 2**32), labels=LABELS)
def test_parts_label_every_labelled_node_once_when_of_one_seed(seed, labels):
    found = []
    for split in ("train", "val", "test"):
        try:
            found.append(nodes_of(NodeSplit(OneGraph(labels), split, 0.5, 0.25, seed=seed)))
        except DataError:  # a part of few nodes may be empty
            found.append(set())
    assert set.union(*found) == {n for n, label in enumerate(labels) if label is not None}
    assert sum(map(len, found)) == len(set.union(*found))


@pytest.mark.parametrize("seed", range(5))
def test_each_part_has_the_labels_in_their_shares_when_split(seed):
    labels = ["a"] * 40 + ["b"] * 20
    counts = {
        split: Counter(labels[n] for n in nodes_of(NodeSplit(OneGraph(labels), split, seed=seed)))
        for split in ("train", "val", "test")
    }
    assert counts == {
        "train": {"a": 20, "b": 10},
        "val": {"a": 4, "b": 2},
        "test": {"a": 16, "b": 8},
    }


def test_sizes_are_counts_when_they_are_whole_numbers():
    labels = ["a"] * 10
    assert len(nodes_of(NodeSplit(OneGraph(labels), "train", 3, 2))) == 3
    assert len(nodes_of(NodeSplit(OneGraph(labels), "test", 3, 2))) == 5


def test_nodes_differ_when_the_seed_does():
    labels = ["a"] * 50
    first, second = (nodes_of(NodeSplit(OneGraph(labels), "train", seed=s)) for s in (0, 1))
    assert first != second


def test_empty_part_is_an_error_when_the_sizes_leave_no_node():
    rule = "val must hold a labelled node, got none of 4 with train 0.5 and val 0.0"
    with pytest.raises(DataError, match=rule):
        list(NodeSplit(OneGraph(["a"] * 4), "val", 0.5, 0.0).read())


def test_source_is_refused_when_it_is_no_graph():
    with pytest.raises(DataError, match=r"'0': the source must be a seqattn.Graph, got int"):
        list(NodeSplit(Labelled(["a"]), "train").read())


@pytest.mark.parametrize("labels", [["a"], "a", None])
def test_target_is_refused_when_there_is_not_one_label_per_node(labels):
    with pytest.raises(DataError, match="a label or None for each of 2 nodes, got"):
        list(NodeSplit(OneGraph(labels, nodes=2), "train").read())


@pytest.mark.parametrize(
    ("arguments", "error", "rule"),
    [
        (("all",), ValueError, "split must be train, val or test, got 'all'"),
        (("train", "half"), TypeError, "train must be a count .* or a fraction .*, got 'half'"),
        (("train", -1), ValueError, "train must be a count or a fraction up to 1.*, got -1"),
        (("train", 0.5, 1.5), ValueError, "val must be a count or a fraction up to 1.*, got 1.5"),
        (("train", 0.7, 0.5), ValueError, "must be at most 1 together, got 0.7 and 0.5"),
    ],
)
def test_arguments_are_refused_when_out_of_range(arguments, error, rule):
    with pytest.raises(error, match=rule):
        NodeSplit(OneGraph(["a"]), *arguments)


@given(seed=st.integers(0, 2**32), total=st.integers(5, 60), folds=st.integers(3, 5))
def test_every_example_is_in_one_test_fold_when_all_folds_are_read(seed, total, folds):
    reader = Labelled(["ab"[n % 2] for n in range(total)])
    tests = []
    for fold in range(folds):
        parts = [
            [example.source for example in Fold(reader, split, fold, folds, seed=seed).read()]
            for split in ("train", "val", "test")
        ]
        assert sorted(sum(parts, [])) == list(range(total))
        assert all(part == sorted(part) for part in parts)
        tests += parts[2]
    assert sorted(tests) == list(range(total))


def test_val_is_the_next_test_fold_when_folds_go_round():
    reader = Labelled(list("aabbccddee"))
    val = [e.source for e in Fold(reader, "val", 4, 5).read()]
    assert val == [e.source for e in Fold(reader, "test", 0, 5).read()]


@pytest.mark.parametrize("label", ["a", ["x", "y"]])
def test_folds_have_the_labels_in_their_shares_when_labels_are_rare(label):
    reader = Labelled([label] * 10 + ["b"] * 40)
    for fold in range(5):
        targets = [example.target for example in Fold(reader, "test", fold, 5).read()]
        assert targets.count(label) == 2
        assert len(targets) == 10


def test_folds_take_numbers_when_targets_are_for_regression():
    reader = Labelled([n / 7 for n in range(30)])
    assert len(list(Fold(reader, "test", 0).read())) == 3


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (("all",), "split must be train, val or test, got 'all'"),
        (("train", 0, 2), "folds must be at least 3, for train, val and test, got 2"),
        (("train", 10), r"fold must lie in 0 … 9, got 10"),
    ],
)
def test_fold_is_refused_when_there_is_none_such(arguments, rule):
    with pytest.raises(ValueError, match=rule):
        Fold(Labelled(["a"]), *arguments)


def test_folds_are_refused_when_there_are_more_than_examples():
    with pytest.raises(DataError, match="an example for each of 10 folds, got 3"):
        list(Fold(Labelled(["a"] * 3), "train").read())


def test_split_and_fold_are_made_again_when_their_specs_are_built():
    for reader in (NodeSplit(OneGraph(["a"]), "val", 3, seed=2), Fold(Labelled(["a"]), "val", 1)):
        assert build(reader.spec).spec == reader.spec
