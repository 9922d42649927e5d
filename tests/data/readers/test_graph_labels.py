import numpy as np
import pytest

from seqattn import DataError, Example, Graph
from seqattn.data import NodeSplit, Reader, ShownLabels

LABELS = ["a", "b"] * 10


class Nodes(Reader):
    def __init__(self, labels, categories=False):
        self.labels = labels
        self.categories = categories

    def read(self):
        count = len(self.labels)
        kinds = np.arange(count)[:, None] if self.categories else None
        yield Example(Graph(count, np.empty((2, 0), np.int64), categories=kinds), self.labels, "g")


def shown(split, categories=False):
    nodes = Nodes(LABELS, categories)
    train = NodeSplit(nodes, "train", 10, 4)
    (example,) = ShownLabels(NodeSplit(nodes, split, 10, 4), train).read()
    (known,) = train.read()
    return example, known.source.labelled


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_all_training_labels_are_shown_and_no_others_when_there_is_no_draw(split):
    example, known = shown(split)
    graph = example.source.sample(None)
    names = [label if keep else "" for label, keep in zip(LABELS, known, strict=True)]
    assert graph.categories[:, 0].tolist() == names
    assert graph.labelled.sum() == {"train": 10, "val": 4, "test": 6}[split]


def test_no_node_shows_its_own_label_when_it_is_to_be_told():
    example, known = shown("train")
    counts = []
    for draw in range(50):
        graph = example.source.sample(draw)
        is_shown = graph.categories[:, 0] != ""
        assert not (is_shown & graph.labelled).any()
        assert (is_shown | graph.labelled).tolist() == known.tolist()
        counts.append(is_shown.sum())
    assert 4 < np.mean(counts) < 6  # of ten, each shown with probability 1/2


def test_draw_decides_what_is_shown_when_sampled_again():
    source = shown("train")[0].source
    first, again, other = (source.sample(draw).labelled.tolist() for draw in (3, 3, 4))
    assert first == again != other


def test_label_is_the_last_category_when_nodes_have_others():
    example, _ = shown("train", categories=True)
    graph = example.source.sample(None)
    assert graph.categories[:, 0].tolist() == list(range(20))
    assert set(graph.categories[:, 1]) == {"a", "b", ""}
    assert example.source.num_nodes == 20


def test_all_nodes_but_the_shown_are_labelled_when_the_reader_labels_all():
    (example,) = ShownLabels(Nodes(LABELS), NodeSplit(Nodes(LABELS), "train", 10, 4)).read()
    graph = example.source.sample(1)
    assert (graph.labelled == (graph.categories[:, 0] == "")).all()


@pytest.mark.parametrize("part", [0.0, 1.0])
def test_share_is_refused_when_it_shows_or_hides_all(part):
    with pytest.raises(ValueError, match=f"shown must lie between 0 and 1, got {part}"):
        ShownLabels(Nodes(LABELS), Nodes(LABELS), part)


def test_readers_are_refused_when_their_graphs_differ():
    rule = "'g': train must give the same graphs as reader, got 3 nodes for 20"
    with pytest.raises(DataError, match=rule):
        list(ShownLabels(Nodes(LABELS), Nodes(LABELS[:3])).read())
