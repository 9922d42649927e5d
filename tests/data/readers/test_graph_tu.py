import zipfile

import pytest

from seqattn import DataError
from seqattn.data import TuZip

FILES = {  # two graphs, a path of three nodes and a single edge, and a third without edges
    "A": "1, 2\n2, 1\n4, 5\n5, 4\n2, 3\n3, 2\n",
    "graph_indicator": "1\n1\n1\n2\n2\n3\n",
    "graph_labels": "+1\n-1\n+1\n",
    "node_labels": "0\n1\n0\n2\n2\n0\n",
    "node_attributes": "0.5, 1\n1, 2\n2, 3\n3, 4\n4, 5\n5, 6\n",
    "edge_labels": "0\n0\n1\n1\n2\n2\n",
    "edge_attributes": "1.5, 7\n1.5, 8\n2.5, 9\n2.5, 10\n3.5, 11\n3.5, 12\n",
}


def pack(tmp_path, files):
    path = tmp_path / "TINY.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for part, text in files.items():
            archive.writestr(f"TINY//TINY_{part}.txt", text)
        archive.writestr("TINY//README.txt", "what it is")
    return str(path)


def unpack(tmp_path, files):
    (tmp_path / "TINY").mkdir()
    for part, text in files.items():
        (tmp_path / "TINY" / f"TINY_{part}.txt").write_text(text)
    return str(tmp_path)


@pytest.mark.parametrize("lay_out", [pack, unpack])
def test_graphs_have_their_own_nodes_and_edges_when_read(tmp_path, lay_out):
    examples = list(TuZip(lay_out(tmp_path, FILES)).read())
    assert [example.key for example in examples] == ["TINY:1", "TINY:2", "TINY:3"]
    assert [example.target for example in examples] == ["1", "-1", "1"]
    assert [example.source.num_nodes for example in examples] == [3, 2, 1]
    first, second, third = (example.source for example in examples)
    assert first.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert second.edge_index.tolist() == [[0, 1], [1, 0]]
    assert third.edge_index.shape == (2, 0)
    assert first.categories.tolist() == [[0], [1], [0]]
    assert second.features.tolist() == [[3, 4], [4, 5]]
    assert first.edge_categories.tolist() == [[0], [0], [2], [2]]
    assert second.edge_attr.tolist() == [[2.5, 9], [2.5, 10]]
    assert first.edge_weight is None


def test_column_is_the_weight_when_it_is_named(tmp_path):
    first = next(TuZip(pack(tmp_path, FILES), weight=0).read()).source
    assert first.edge_weight.tolist() == [1.5, 1.5, 3.5, 3.5]
    assert first.edge_attr.tolist() == [[7], [8], [11], [12]]


def test_no_attribute_is_left_when_the_only_column_is_the_weight(tmp_path):
    files = {**FILES, "edge_attributes": "1\n1\n2\n2\n3\n3\n"}
    first = next(TuZip(pack(tmp_path, files), weight=0).read()).source
    assert first.edge_weight.tolist() == [1, 1, 3, 3]
    assert first.edge_attr is None


def test_optional_files_are_none_when_they_are_not_there(tmp_path):
    files = {part: FILES[part] for part in ("A", "graph_indicator", "graph_labels")}
    graph = next(TuZip(pack(tmp_path, files)).read()).source
    assert (graph.features, graph.categories, graph.edge_attr, graph.edge_categories) == (None,) * 4


def test_graphs_have_no_edge_when_the_list_is_empty(tmp_path):
    files = {"A": "", "graph_indicator": "1\n2\n", "graph_labels": "0\n1\n"}
    graphs = [example.source for example in TuZip(pack(tmp_path, files)).read()]
    assert [graph.num_nodes for graph in graphs] == [1, 1]


@pytest.mark.parametrize(
    ("part", "text", "rule"),
    [
        ("A", "1, 2\n1, x\n", r"TINY_A.txt:2: a line must hold 2 whole numbers, got '1, x'"),
        ("A", "1, 2\n1\n", r"TINY_A.txt:2: a line must hold 2 whole numbers, got '1'"),
        ("A", "1\n2\n", r"TINY_A.txt:1: a line must hold two nodes"),
        ("A", "1, 2\n3, 4\n", r"A.txt:2: an edge must join two nodes of one graph, got \[3, 4\]"),
        ("A", "0, 1\n", r"A.txt:1: an edge must join two nodes of one graph, got \[0, 1\]"),
        ("A", "1, 9\n", r"A.txt:1: an edge must join two nodes of one graph, got \[1, 9\]"),
        (
            "graph_indicator",
            "1\n2\n1\n1\n1\n1\n",
            r"indicator.txt:3: graphs must be numbered from 1 to 3, in order, got 1",
        ),
        ("graph_indicator", "1\n4\n", r"indicator.txt:2: .* from 1 to 3, in order, got 4"),
        ("node_labels", "0\n", r"node_labels.txt: there must be 6 lines, got 1"),
        ("node_attributes", "0\n" * 5, r"node_attributes.txt: there must be 6 lines, got 5"),
        (
            "edge_attributes",
            "0\nnan\n" + "0\n" * 4,
            r"edge_attributes.txt:2: numbers must be finite in 32 bits, got \[nan\]",
        ),
        (
            "edge_attributes",
            "0\n" * 5 + "1e39\n",
            r"edge_attributes.txt:6: numbers must be finite in 32 bits, got \[1e\+39\]",
        ),
    ],
)
def test_file_is_refused_when_a_line_breaks_a_rule(tmp_path, part, text, rule):
    with pytest.raises(DataError, match=rule):
        list(TuZip(pack(tmp_path, {**FILES, part: text})).read())


@pytest.mark.parametrize(
    ("missing", "rule"),
    [
        ("graph_indicator", "there must be one NAME_graph_indicator.txt, got none"),
        ("graph_labels", "there must be a file TINY_graph_labels.txt, got none"),
    ],
)
def test_zip_is_refused_when_a_file_is_missing(tmp_path, missing, rule):
    files = {part: text for part, text in FILES.items() if part != missing}
    with pytest.raises(DataError, match=rule):
        list(TuZip(pack(tmp_path, files)).read())


def test_weight_is_refused_when_there_is_no_such_column(tmp_path):
    with pytest.raises(DataError, match="weight must be one of 2 columns .*, got 2"):
        list(TuZip(pack(tmp_path, FILES), weight=2).read())
    files = {part: text for part, text in FILES.items() if part != "edge_attributes"}
    with pytest.raises(DataError, match="weight must be one of 0 columns .*, got 0"):
        list(TuZip(pack(tmp_path, files), weight=0).read())


def test_path_is_refused_when_it_is_missing_or_no_zip(tmp_path):
    path = tmp_path / "a.zip"
    with pytest.raises(DataError, match="a.zip: the file must exist"):
        list(TuZip(str(path)).read())
    path.write_bytes(b"garbage")
    with pytest.raises(DataError, match="a.zip: the file must be a zip"):
        list(TuZip(str(path)).read())
