import torch

from seqattn.attention import spans as module
from seqattn.attention.spans import Span, Spans
from seqattn.packing import Packing


def test_blocks_are_cut_where_their_scores_would_be_too_many(monkeypatch):
    monkeypatch.setattr(module, "_TOGETHER", 2 * 2 * 5**2)  # two sequences of 5 with two heads
    packing = Packing.from_lengths([5, 4, 5, 2, 30])

    found = Spans.of(packing, 2)

    assert found.spans == (
        Span(group=0, first=0, size=1, length=30),  # one sequence is never cut
        Span(group=1, first=0, size=2, length=5),
        Span(group=1, first=2, size=1, length=5),
        Span(group=2, first=0, size=1, length=2),
    )
    assert found.areas == [1800, 100, 50, 8]
    assert Spans.of(packing, 2) is found


def test_cuts_are_views_of_all_that_was_cut(monkeypatch):
    monkeypatch.setattr(module, "_TOGETHER", 1)
    spans = Spans.of(Packing.from_lengths([3, 3, 1]), 2)
    rows, scores = torch.randn(14, 4), torch.randn(38)

    assert [part.shape for part in spans.rows(rows)] == [(2, 3, 4), (2, 3, 4), (2, 1, 4)]
    assert torch.equal(torch.cat([part.flatten(0, 1) for part in spans.rows(rows)]), rows)
    assert [part.shape for part in spans.scores(scores)] == [(2, 3, 3), (2, 3, 3), (2, 1, 1)]
    assert torch.equal(torch.cat([part.flatten() for part in spans.scores(scores)]), scores)


def test_terms_of_the_edges_are_cut_head_by_head():
    spans = Spans.of(Packing.from_lengths([2, 2, 1]), 3)
    shared, own = torch.randn(1, 9), torch.randn(3, 9)

    assert [part.shape for part in spans.terms(shared)] == [(2, 1, 2, 2), (1, 1, 1, 1)]
    first, last = spans.terms(own)
    assert torch.equal(first[1, 2], own[2, 4:8].view(2, 2))
    assert torch.equal(last[0, :, 0, 0], own[:, 8])
    assert spans.terms(None) == [None, None]


def test_room_for_scores_is_shared_by_all_spans():
    spans = Spans.of(Packing.from_lengths([4, 4, 1]), 2)
    large, small = spans.scratch(torch.empty(0, dtype=torch.float64))
    assert (large.shape, small.shape) == ((4, 4, 4), (2, 1, 1))
    assert large.dtype == torch.float64
    assert large.data_ptr() == small.data_ptr()
