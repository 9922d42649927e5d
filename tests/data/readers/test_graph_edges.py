import gzip

import pytest

from seqattn import DataError
from seqattn.data import ContactList, EdgeList


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def graph_of(reader):
    (example,) = reader.read()
    return example.source, example


def edges_of(graph):
    """Return the edges by their nodes' names."""
    return [(graph.names[s], graph.names[t]) for s, t in graph.edge_index.T.tolist()]


def test_edges_go_both_ways_when_undirected(tmp_path):
    graph, example = graph_of(EdgeList(write(tmp_path / "a.txt", "x y\nz z\n")))
    assert edges_of(graph) == [("x", "y"), ("z", "z"), ("y", "x")]
    assert graph.num_nodes == 3
    assert example.target is None
    assert example.key == "a.txt"


def test_edges_go_one_way_when_directed(tmp_path):
    graph, _ = graph_of(EdgeList(write(tmp_path / "a.txt", "x y\n"), undirected=False))
    assert edges_of(graph) == [("x", "y")]


def test_weights_belong_to_both_directions_when_a_third_word_is_given(tmp_path):
    graph, _ = graph_of(EdgeList(write(tmp_path / "a.txt", "# comment\nx y 0.5\n\nx z\t2\n")))
    weights = dict(zip(edges_of(graph), graph.edge_weight.tolist(), strict=True))
    assert weights == {("x", "y"): 0.5, ("y", "x"): 0.5, ("x", "z"): 2, ("z", "x"): 2}


def test_nodes_are_labelled_when_the_labels_name_them(tmp_path):
    labels = write(tmp_path / "labels.txt", "node label\n7 b\n5 a\n")
    graph, example = graph_of(EdgeList(write(tmp_path / "a.txt", "5 9\n"), labels))
    assert graph.names == ("7", "5", "9")
    assert example.target == ["b", "a", None]
    assert graph.labelled.tolist() == [True, True, False]


def test_file_is_unpacked_when_it_is_gzip(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"x y\n"))
    assert graph_of(EdgeList(str(path)))[0].num_nodes == 2


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("x y\nx\n", r"a.txt:2: a line must hold two nodes, and a weight .*, got \['x'\]"),
        ("x y\nx y 1\n", r"a.txt:2: .* a weight in all lines or none"),
        ("x y 1\nx y nan\n", r"a.txt:2: a weight must be a finite number in 32 bits, got 'nan'"),
        ("x y 1\nx y 1e39\n", r"a.txt:2: a weight must be a finite number in 32 .*, got '1e39'"),
        ("x y heavy\n", r"a.txt:1: a weight must be a finite number in 32 bits, got 'heavy'"),
    ],
)
def test_line_is_refused_when_it_is_no_edge(tmp_path, text, rule):
    with pytest.raises(DataError, match=rule):
        graph_of(EdgeList(write(tmp_path / "a.txt", text)))


@pytest.mark.parametrize("text", ["", "# nothing\n\n"])
def test_edges_are_refused_when_there_is_no_node(tmp_path, text):
    with pytest.raises(DataError, match="a.txt: the file must hold at least one edge, got none"):
        graph_of(EdgeList(write(tmp_path / "a.txt", text)))


def test_labelled_nodes_stay_alone_when_there_is_no_edge(tmp_path):
    labels = write(tmp_path / "labels.txt", "node label\n7 b\n")
    graph, example = graph_of(EdgeList(write(tmp_path / "a.txt", ""), labels))
    assert graph.edge_index.shape == (2, 0)
    assert example.target == ["b"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("node label\n1 a\n1 b\n", "labels.txt:3: a node must have one label, got 1 again"),
        ("node label\n1\n", r"labels.txt:2: a line must hold a node and its label, got \['1'\]"),
        ("node label\n", "labels.txt: the file must hold at least one label, got none"),
    ],
)
def test_labels_are_refused_when_they_are_no_table(tmp_path, text, rule):
    labels = write(tmp_path / "labels.txt", text)
    with pytest.raises(DataError, match=rule):
        graph_of(EdgeList(write(tmp_path / "a.txt", "1 2\n"), labels))


HEADINGS = "Time\tid1\tid2\tc1\tc2\n"


def test_weight_is_the_number_of_contacts_when_pairs_meet_again(tmp_path):
    text = f"{HEADINGS}20\t7\t5\t1A\t1B\n40\t5\t7\t1B\t1A\n40\t5\t9\t1B\tTeachers\n"
    graph, example = graph_of(ContactList(write(tmp_path / "c.csv", text)))
    assert graph.names == ("7", "5", "9")
    assert example.target == ["1A", "1B", "Teachers"]
    weights = dict(zip(edges_of(graph), graph.edge_weight.tolist(), strict=True))
    assert weights == {("7", "5"): 2, ("5", "7"): 2, ("5", "9"): 1, ("9", "5"): 1}
    assert graph.labelled is None


def test_first_contact_counts_when_there_are_no_headings(tmp_path):
    lines = "20\t7\t5\t1A\t1B\n40\t5\t9\t1B\t1A\n"
    graph, example = graph_of(ContactList(write(tmp_path / "c.csv", "\n" + lines)))
    same, _ = graph_of(ContactList(write(tmp_path / "h.csv", HEADINGS + lines)))
    assert graph.names == same.names == ("7", "5", "9")
    assert edges_of(graph) == edges_of(same)
    assert example.target == ["1A", "1B", "1A"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("20\t7\t5\t1A\n", r"c.csv:2: a line must hold 5 cells between tabs"),
        ("20\t7\t7\t1A\t1A\n", r"c.csv:2: a contact must be between two persons, got \['7', '7'\]"),
        (
            "20\t7\t5\t1A\t1B\n40\t7\t9\t1B\t1A\n",
            "c.csv:3: person 7 must be of one class, got '1A' and '1B'",
        ),
        ("", "c.csv: the file must hold at least one contact, got none"),
    ],
)
def test_contacts_are_refused_when_a_line_is_none(tmp_path, text, rule):
    with pytest.raises(DataError, match=rule):
        graph_of(ContactList(write(tmp_path / "c.csv", HEADINGS + text)))


@pytest.mark.parametrize("reader", [EdgeList, ContactList])
def test_file_is_named_when_it_is_missing(tmp_path, reader):
    with pytest.raises(DataError, match="none.txt: the file must exist"):
        graph_of(reader(str(tmp_path / "none.txt")))
