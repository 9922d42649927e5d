import pytest

from seqattn import DataError
from seqattn.data import NodeEdgeTables

NODES = "name,kind,size,class\nann,x,1.5,a\nbob,y,2,\ncy,x,-1,b\n"
EDGES = "source,target,w,length,how\nann,bob,0.5,3,sees\ncy,cy,2,4,knows\n"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture
def tables(tmp_path):
    def make(nodes=NODES, edges=EDGES, **options):
        paths = (write(tmp_path / "nodes.csv", nodes), write(tmp_path / "edges.csv", edges))
        return NodeEdgeTables(*paths, node="name", **options)

    return make


def test_columns_become_parts_of_the_graph_when_named(tables):
    reader = tables(
        label="class",
        features=["size"],
        categories=["kind"],
        weight="w",
        edge_features=["length"],
        edge_categories=["how"],
    )
    (example,) = reader.read()
    graph = example.source
    assert graph.names == ("ann", "bob", "cy")
    assert graph.features.tolist() == [[1.5], [2], [-1]]
    assert graph.categories.tolist() == [["x"], ["y"], ["x"]]
    assert graph.edge_index.tolist() == [[0, 2, 1], [1, 2, 0]]
    assert graph.edge_weight.tolist() == [0.5, 2, 0.5]
    assert graph.edge_attr.tolist() == [[3], [4], [3]]
    assert graph.edge_categories.tolist() == [["sees"], ["knows"], ["sees"]]
    assert example.target == ["a", None, "b"]
    assert graph.labelled.tolist() == [True, False, True]
    assert example.key == "nodes.csv"


def test_graph_is_bare_when_no_column_is_named(tables):
    (example,) = tables(undirected=False).read()
    graph = example.source
    assert graph.edge_index.tolist() == [[0, 2], [1, 2]]
    assert (graph.features, graph.categories, graph.edge_weight, graph.edge_attr) == (None,) * 4
    assert (graph.edge_categories, graph.labelled, example.target) == (None,) * 3


def test_tabs_separate_cells_when_the_name_says_so(tmp_path):
    nodes = write(tmp_path / "n.tsv", "node\na,b\n")
    edges = write(tmp_path / "e.tsv", "source\ttarget\na,b\ta,b\n")
    (example,) = NodeEdgeTables(nodes, edges).read()
    assert example.source.names == ("a,b",)
    assert example.source.edge_index.tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("files", "options", "rule"),
    [
        ({"nodes": "name\na\na\n"}, {}, "nodes.csv:3: a node must have one row, got 'a' again"),
        ({"nodes": "name\n"}, {}, "nodes.csv: the file must hold at least one example, got none"),
        ({"nodes": "id\na\n"}, {}, "'name'"),
        (
            {"edges": "source,target\nann,eve\n"},
            {},
            "edges.csv:2: column 'target' must name a node .*, got 'eve'",
        ),
        (
            {},
            {"features": ["kind"]},
            "nodes.csv:2: column 'kind' must be a finite number in 32 bits, got 'x'",
        ),
        (
            {"edges": "source,target,w\nann,bob,inf\n"},
            {"weight": "w"},
            "edges.csv:2: column 'w' must be a finite number in 32 bits, got 'inf'",
        ),
        (
            {"edges": "source,target,w\nann,bob,1e39\n"},
            {"weight": "w"},
            "edges.csv:2: column 'w' must be a finite number in 32 bits, got '1e39'",
        ),
    ],
)
def test_tables_are_refused_when_a_row_breaks_a_rule(tables, files, options, rule):
    with pytest.raises(DataError, match=rule):
        list(tables(**files, **options).read())


def test_ends_are_refused_when_they_are_not_two():
    with pytest.raises(ValueError, match=r"ends must name two columns.*, got \['a'\]"):
        NodeEdgeTables("n.csv", "e.csv", ends=["a"])
