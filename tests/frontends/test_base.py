from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqattn import Encoder, FrontEnd, Packing, SequenceBatch
from seqattn.recorded import build
from seqattn.vectorizer import Vectorized, Vectorizer

DIM = 8


class Rows(Vectorizer):
    """Rows of numbers, as they come."""

    is_fitted = True

    def fit(self, sources: Iterable[Any]) -> None: ...

    def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
        return Vectorized(torch.as_tensor(raw))

    def empty(self) -> Tensor:
        return torch.empty(0, 2)

    def length(self, raw: Any) -> int:
        return len(raw)

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None: ...


class PairMeans(FrontEnd):
    """Halves every sequence, as audio does: a frame is the mean of two, the last may be alone."""

    def __init__(self, features: int = 2) -> None:
        super().__init__()
        self.features = features
        self.vectorizer = Rows()

    def build(self, dim: int) -> None:
        self.project = nn.Linear(self.features, dim, bias=False)

    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        lengths = [(length + 1) // 2 for length in batch.packing.lengths]
        packing = Packing.from_lengths(lengths).to(batch.values.device)
        frame = packing.offsets[batch.sequence_ids] + batch.positions // 2  # (T,)
        sums = batch.values.new_zeros(packing.total, self.features)
        sums = sums.index_add(0, frame, batch.values)  # (T', F)
        sizes = sums.new_zeros(packing.total).index_add(0, frame, torch.ones_like(frame).to(sums))
        first = batch.offsets[packing.sequence_ids] + 2 * packing.positions  # (T',)
        return batch.replace(
            values=self.project(sums / sizes[:, None]),
            offsets=packing.offsets,
            packing=packing,
            targets=batch.targets[first],
            labelled=batch.labelled[first],
        )


class Nodes(FrontEnd):
    """Nodes of graphs, which have no order."""

    def __init__(self) -> None:
        super().__init__()
        self.vectorizer = Rows()

    def build(self, dim: int) -> None:
        self.project = nn.Linear(2, dim)

    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        unordered = batch.packing.with_positions(torch.zeros_like(batch.positions))
        return batch.replace(values=self.project(batch.values), packing=unordered)


def made(frontend: FrontEnd, device: torch.device | str = "cpu") -> FrontEnd:
    frontend.build(DIM)
    return frontend.to(device)


def audio_batch() -> SequenceBatch:
    return SequenceBatch(
        values=torch.arange(16.0).view(8, 2),
        offsets=torch.tensor([0, 5, 5, 8]),
        targets=torch.tensor([0, 1, 2, 3, 4, 5, 6, 7]),
        labelled=torch.tensor([True, True, False, True, True, False, True, True]),
        keys=("a", "b", "c"),
    )


def encode(encoder: Encoder, batch: SequenceBatch) -> Tensor:
    return encoder(batch.values, batch.offsets, packing=batch.packing)


@pytest.mark.parametrize("method", ["build", "forward"])
def test_front_end_is_refused_when_a_method_is_missing(method: str) -> None:
    methods = {"build": PairMeans.build, "forward": PairMeans.forward}
    del methods[method]
    unfinished = type("Unfinished", (FrontEnd,), methods)
    with pytest.raises(TypeError, match=f"abstract .*{method}"):
        unfinished()


def test_front_end_is_a_recorded_module() -> None:
    frontend = made(PairMeans(features=3))
    again = build(frontend.spec)
    assert isinstance(again, PairMeans)
    assert again.features == 3
    assert [tuple(p.shape) for p in frontend.parameters()] == [(DIM, 3)]


def test_everything_follows_when_sequences_are_shortened() -> None:
    frontend = made(PairMeans())
    short = frontend(audio_batch())
    means = torch.tensor([[1.0, 2.0], [5.0, 6.0], [8.0, 9.0], [11.0, 12.0], [14.0, 15.0]])
    torch.testing.assert_close(short.values, frontend.project(means))
    assert short.offsets.tolist() == [0, 3, 3, 5]
    assert short.lengths.tolist() == list(short.packing.lengths) == [3, 0, 2]
    assert short.positions.tolist() == [0, 1, 2, 0, 1]
    assert short.targets.tolist() == [0, 2, 4, 5, 7]
    assert short.labelled.tolist() == [True, False, True, False, True]
    assert short.keys == ("a", "b", "c")


def test_encoder_takes_shortened_sequences_each_by_itself(device: torch.device) -> None:
    frontend, encoder = made(PairMeans(), device), Encoder(DIM, 2, 2).to(device).eval()
    batch = audio_batch()
    together = encode(encoder, frontend(batch.to(device)))
    alone = []
    for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True):
        own = SequenceBatch(
            batch.values[start:end],
            torch.tensor([0, end - start]),
            targets=batch.targets[start:end],
            labelled=batch.labelled[start:end],
        )
        alone.append(encode(encoder, frontend(own.to(device))))
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-6, rtol=0)


def test_shortening_reads_nothing_back_from_the_device() -> None:
    frontend, encoder = made(PairMeans(), "meta"), Encoder(DIM, 1, 2).to("meta")
    out = encode(encoder, frontend(audio_batch().to("meta")))
    assert out.shape == (5, DIM)


def graph_batch(order: Tensor) -> SequenceBatch:
    """Two graphs of 4 and 3 nodes, their nodes listed in another order."""
    nodes = torch.randn(7, 2, generator=torch.Generator().manual_seed(1))
    edge_index = torch.tensor([[0, 1, 2, 5], [1, 2, 3, 6]])
    return SequenceBatch(
        nodes[order],
        torch.tensor([0, 4, 7]),
        edge_index=order.argsort()[edge_index],
        edge_weight=torch.tensor([0.5, 1.0, 2.0, 3.0]),
    )


IN_ORDER = torch.arange(7)
SHUFFLED = torch.tensor([2, 0, 3, 1, 6, 4, 5])


@pytest.mark.parametrize("position", ["none", "rotary", "alibi", "learned", "sinusoidal"])
def test_outputs_follow_the_nodes_when_these_have_no_order(
    position: Any, device: torch.device
) -> None:
    frontend = made(Nodes(), device)
    encoder = Encoder(DIM, 2, 2, position=position).to(device).eval()
    out = encode(encoder, frontend(graph_batch(IN_ORDER).to(device)))
    shuffled = encode(encoder, frontend(graph_batch(SHUFFLED).to(device)))
    torch.testing.assert_close(shuffled, out[SHUFFLED], atol=1e-6, rtol=0)


@pytest.mark.parametrize("position", ["rotary", "alibi", "learned", "sinusoidal"])
def test_same_encoder_sees_the_order_when_there_is_one(position: Any) -> None:
    # ALiBi looks both ways alike, so only an asymmetric shuffle shows.
    frontend = made(Nodes())
    encoder = Encoder(DIM, 2, 2, position=position).eval()
    out, shuffled = (
        encoder(frontend(batch).values, batch.offsets)
        for batch in (graph_batch(IN_ORDER), graph_batch(SHUFFLED))
    )
    assert (shuffled - out[SHUFFLED]).abs().max() > 1e-4


@pytest.mark.parametrize("position", ["rotary", "alibi"])
def test_positions_vanish_when_all_are_zero(position: Any) -> None:
    encoder = Encoder(DIM, 2, 2, position=position).eval()
    plain = Encoder(DIM, 2, 2, position="none").eval()
    plain.load_state_dict(encoder.state_dict())
    batch = made(Nodes())(graph_batch(IN_ORDER))
    torch.testing.assert_close(encode(encoder, batch), encode(plain, batch), atol=1e-6, rtol=0)


def test_edges_travel_with_the_nodes() -> None:
    batch = graph_batch(SHUFFLED)
    out = made(Nodes())(batch)
    assert out.edge_index is batch.edge_index
    assert out.edge_weight is batch.edge_weight
    assert not out.packing.in_order
    assert out.positions.tolist() == [0] * 7


def test_encoder_given_positions_equals_encoder_given_their_packing() -> None:
    batch = made(Nodes())(graph_batch(IN_ORDER))
    encoder = Encoder(DIM, 2, 2, position="rotary").eval()
    given = encoder(batch.values, batch.offsets, positions=batch.positions)
    torch.testing.assert_close(given, encode(encoder, batch), atol=0, rtol=0)
