import networkx
import numpy as np
import pytest

from tasks.les_miserables import Characters, LesMiserables


def test_graph_is_networkx_one_in_both_directions():
    (example,) = Characters().read()
    graph, known = example.source, networkx.les_miserables_graph()
    assert graph.names == tuple(known)
    names = np.array(graph.names)[graph.edge_index]
    found = dict(zip(zip(*names.tolist(), strict=True), graph.edge_weight.tolist(), strict=True))
    assert len(found) == graph.edge_index.shape[1] == 2 * known.number_of_edges()
    for first, second, weight in known.edges(data="weight"):
        assert found[first, second] == found[second, first] == weight


def test_labels_are_a_partition_of_high_modularity():
    (example,) = Characters().read()
    communities = {}
    for name, label in zip(example.source.names, example.target, strict=True):
        communities.setdefault(label, set()).add(name)
    graph = networkx.les_miserables_graph()
    # 0.56 is the best that is known of this graph (Newman and Girvan 2004 report 0.54).
    assert networkx.community.modularity(graph, communities.values()) > 0.54


def test_labels_are_the_same_when_read_again():
    first, second = (next(Characters().read()).target for _ in range(2))
    assert first == second


@pytest.mark.parametrize("seed", [0, 1])
def test_half_the_characters_are_known_and_the_others_asked_for(seed):
    parts = [next(LesMiserables(split, seed=seed).read()).source for split in ("train", "test")]
    train, test = (part.graph.labelled for part in parts)
    assert (train == ~test).all()
    assert train.sum() == 38
