import sys

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, InMemoryDataset

from seqattn import DataError
from seqattn.data import NodeSplit, PygDataset
from seqattn.recorded import build

EDGES = torch.tensor([[0, 1], [1, 0]])


class Given(InMemoryDataset):
    """The graphs that a test puts here."""

    graphs = ()

    def __init__(self, size=None):
        super().__init__()
        self.data, self.slices = self.collate(list(self.graphs)[:size])


@pytest.fixture
def read(monkeypatch):
    def run(*graphs, **options):
        monkeypatch.setattr(Given, "graphs", graphs)
        return list(PygDataset(f"{__name__}.Given", **options).read())

    return run


def karate(split, **options):
    return PygDataset("torch_geometric.datasets.KarateClub", split=split, **options)


def test_mask_says_which_nodes_are_labelled_when_split():
    (example,) = karate("train").read()
    assert example.source.num_nodes == 34
    assert example.source.features.shape == (34, 34)
    assert example.source.labelled.sum() == 4  # one node of each class, says the data set
    assert sorted(filter(None, example.target)) == ["0", "1", "2", "3"]
    assert example.key == "KarateClub:0"


def test_all_nodes_are_labelled_when_not_split():
    (example,) = karate("all").read()
    assert example.source.labelled.all()
    assert len(next(NodeSplit(karate("all"), "train", 10).read()).target) == 34


def test_transforms_are_applied_in_order_when_named():
    names = ("NormalizeFeatures", "AddSelfLoops")
    transforms = {f"torch_geometric.transforms.{name}": {} for name in names}
    (plain,), (changed,) = karate("all").read(), karate("all", transforms=transforms).read()
    assert changed.source.edge_index.shape[1] == plain.source.edge_index.shape[1] + 34
    assert changed.source.features.sum(1).tolist() == [1.0] * 34


def test_missing_mask_is_an_error_that_names_the_remedy():
    rule = "'KarateClub:0': a graph must have a val_mask, got none: .* in NodeSplit"
    with pytest.raises(DataError, match=rule):
        list(karate("val").read())


def test_whole_numbers_become_categories_and_floats_features(read):
    whole = Data(x=torch.tensor([[1], [2]]), edge_index=EDGES, edge_attr=torch.tensor([3, 4]))
    floats = Data(x=torch.rand(2, 3), edge_index=EDGES, edge_attr=torch.tensor([3.0, 4.0]))
    floats.edge_weight = torch.tensor([0.5, 2.0])
    whole.y = floats.y = torch.tensor([0, 1])
    (first,), (second,) = read(whole), read(floats)
    assert first.source.categories.tolist() == [[1], [2]]
    assert first.source.edge_categories.tolist() == [[3], [4]]
    assert (first.source.features, first.source.edge_attr, first.source.edge_weight) == (None,) * 3
    assert second.source.features.tolist() == floats.x.tolist()
    assert second.source.edge_attr.tolist() == [[3], [4]]
    assert second.source.edge_weight.tolist() == [0.5, 2]


def test_isolated_nodes_are_counted_when_nothing_but_their_number_is_known(read):
    (example,) = read(Data(edge_index=EDGES, num_nodes=4, y=torch.tensor([0, 1, -1, 1])))
    assert example.source.num_nodes == 4
    assert example.target == ["0", "1", None, "1"]
    assert example.source.labelled.tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("y", "column", "target"),
    [
        (torch.tensor([3]), None, "3"),
        (torch.tensor([0.5]), None, 0.5),
        (torch.tensor([[1, 0, 1]]), None, ["0", "2"]),
        (torch.tensor([[1.0, 0.0, 0.0]]), None, ["0"]),
        (torch.tensor([[1.5, 2.5]]), 1, 2.5),
    ],
)
def test_target_of_a_graph_is_told_by_its_type(read, y, column, target):
    graphs = [Data(edge_index=EDGES, num_nodes=2, y=y)] * 2
    examples = read(*graphs, target="graph", column=column)
    assert [example.target for example in examples] == [target] * 2
    assert [example.key for example in examples] == ["Given:0", "Given:1"]


def test_column_chooses_the_mask_when_there_are_several(read):
    masks = torch.tensor([[True, False], [False, True]])
    graph = Data(edge_index=EDGES, num_nodes=2, y=torch.tensor([[0, 1], [1, 0]]), val_mask=masks)
    (example,) = read(graph, split="val", column=1)
    assert np.flatnonzero(example.source.labelled).tolist() == [1]
    assert example.target == [None, "0"]


@pytest.mark.parametrize(
    ("changes", "options", "rule"),
    [
        ({"y": None}, {}, "'Given:0': a graph must have targets y, got none"),
        ({"edge_index": None}, {}, "a graph must have an edge_index, got none"),
        ({"y": torch.rand(2)}, {}, "y must be one whole number for each of 2 nodes, got float32"),
        ({"y": torch.tensor([1])}, {}, r"for each of 2 nodes, got int64 \(1,\)"),
        (
            {"y": torch.tensor([[1.5, 0.0]])},
            {"target": "graph"},
            "several targets of a graph must be zeros and ones, .*: choose a column",
        ),
        (
            {"edge_label": torch.tensor([1])},
            {},
            "edge and link prediction is not supported: .* of nodes or of graphs, got edge_label",
        ),
    ],
)
def test_graph_is_refused_when_it_has_no_such_targets(read, changes, options, rule):
    fields = {"edge_index": EDGES, "num_nodes": 2, "y": torch.tensor([0, 1]), **changes}
    with pytest.raises(DataError, match=rule):
        read(Data(**fields), **options)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"target": "edge"}, "edge and link prediction is not supported: .*got target='edge'"),
        ({"split": "dev"}, "split must be all, train, val or test, got 'dev'"),
        ({"target": "graph", "split": "train"}, "wrap the reader in Split or Fold"),
    ],
)
def test_arguments_are_refused_when_out_of_range(options, rule):
    with pytest.raises(ValueError, match=rule):
        PygDataset("torch_geometric.datasets.KarateClub", **options)


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("antigravity.Data", "must be of torch_geometric or .* imported already, got 'antigrav"),
        ("os.system", "must name a subclass of torch_geometric.data.Dataset, got 'os.system'"),
        ("torch_geometric.seed_everything", "must name a subclass of torch_geometric.data.Dataset"),
        ("torch_geometric.datasets.Karate", "must name a subclass of torch_geometric.data.Dataset"),
        ("torch_geometric.no_such.Data", "must name a class of torch_geometric, got"),
        ("KarateClub", "must be of torch_geometric or of a module that is imported already"),
    ],
)
def test_class_is_refused_when_it_is_no_data_set(path, rule):
    with pytest.raises(ValueError, match=rule):
        list(PygDataset(path).read())
    assert "antigravity" not in sys.modules


def test_transform_is_refused_when_it_is_none():
    reader = karate("all", transforms={"torch_geometric.datasets.KarateClub": {}})
    with pytest.raises(ValueError, match="a subclass of torch_geometric.transforms.BaseTransform"):
        list(reader.read())


def test_arguments_are_named_when_the_class_does_not_take_them():
    reader = PygDataset("torch_geometric.datasets.KarateClub", {"size": 3})
    with pytest.raises(
        ValueError, match=r"arguments must be those of .*KarateClub, got \['size'\]"
    ):
        list(reader.read())


def test_extra_is_named_when_pyg_is_missing(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "torch_geometric"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(ImportError, match=r"pip install 'seqattn\[graph\]'"):
        list(karate("all").read())


class Absent:
    """Finds no torch_geometric, and says so."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch_geometric":
            raise ModuleNotFoundError("No module named 'torch_geometric'", name="torch_geometric")


def test_reader_is_made_again_when_its_spec_is_built():
    transforms = {"torch_geometric.transforms.NormalizeFeatures": {"attrs": ["x"]}}
    reader = karate("train", transforms=transforms)
    assert build(reader.spec).spec == reader.spec
