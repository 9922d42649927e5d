import dataclasses

import pytest
import torch
from packed_oracle import packed_reference, random_edges, random_heads

from seqattn.attention.edges import EdgeList
from seqattn.attention.kernels import Scoring, choose_kernel, run_attention
from seqattn.attention.masks import EdgeTerms
from seqattn.attention.multihead import alibi_slopes
from seqattn.attention.patterns import Causal, Edges, Full, Window
from seqattn.attention.varlen import (
    VARLEN_ATTN,
    varlen_attention,
    why_not_varlen,
    window_size,
)
from seqattn.packing import Packing

HALF = [torch.float16, torch.bfloat16]


def fake(device="cuda", dtype=torch.bfloat16, width=64):
    """A tensor without storage, that says which device it is on."""
    return FakeHeads(torch.device(device), dtype, width)


class FakeHeads:
    def __init__(self, device, dtype, width):
        self.device, self.dtype, self.shape = device, dtype, (10, 2, width)


def choose(pattern, lengths, *, query=None, terms=None, kernel="auto", **changes):
    query = fake("cpu", torch.float32) if query is None else query
    scoring = Scoring(pattern, 1.0, terms=terms, **changes)
    return choose_kernel(query, query, Packing.from_lengths(lengths), scoring, kernel)


def terms_of(lengths, density, *, is_pattern=True):
    packing = Packing.from_lengths(lengths)
    edges = EdgeList.from_index(random_edges(lengths, density), packing, self_loops=True)
    return EdgeTerms(edges, is_pattern)


def test_padded_is_chosen_on_a_cpu():
    assert choose(Full(), [5, 9]) == "padded"
    assert choose(Causal(), [500]) == "padded"


def test_blocks_are_chosen_when_the_sequence_is_much_longer_than_the_window():
    assert choose(Window(4, 4), [100]) == "window"
    assert choose(Window(40, 40), [100]) == "padded"


def test_blocks_are_not_chosen_when_they_hold_more_scores_than_the_padded_matrices():
    # 3 blocks of 512 x 1024 against one matrix of 1100 x 1100; then 8 against 4096 x 4096.
    assert choose(Window(512, 0), [1100, *[5] * 100]) == "padded"
    assert choose(Window(512, 0), [4096, *[5] * 100]) == "window"
    # Short blocks: 2 of 16 x 17 against 20 x 20.
    assert choose(Window(1, 0), [20]) == "padded"


def test_edge_lists_are_chosen_when_the_graph_is_sparse():
    assert choose(Edges(), [60], terms=terms_of([60], 0.03)) == "edge_list"
    assert choose(Edges(), [60], terms=terms_of([60], 0.9)) == "padded"


def test_edge_lists_are_chosen_earlier_when_the_dense_products_are_not_by_hand():
    terms = terms_of([60], 0.3)  # about three entries of the matrix for each edge
    factor = dataclasses.replace(terms, multiplier=torch.ones(2, len(terms.edges)))
    assert choose(Edges(), [60], terms=terms) == "padded"
    assert choose(Edges(), [60], terms=factor) == "edge_list"


def test_a_dense_matrix_is_chosen_when_edges_are_only_a_bias():
    terms = terms_of([60], 0.03, is_pattern=False)
    assert choose(Full(), [60], terms=terms) == "padded"


@pytest.mark.skipif(VARLEN_ATTN is None, reason="this torch has no varlen_attn")
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize(
    "pattern", [Full(), Causal(), Window(4, 4)], ids=lambda p: type(p).__name__
)
def test_varlen_is_chosen_on_a_gpu_in_half_precision(dtype, pattern):
    assert choose(pattern, [100, 3], query=fake(dtype=dtype)) == "varlen"


def test_varlen_is_not_chosen_in_single_precision_or_with_more_than_the_dot_score():
    assert choose(Full(), [9], query=fake(dtype=torch.float32)) == "padded"
    assert choose(Full(), [9], query=fake(), slopes=alibi_slopes(2)) == "padded"
    assert choose(Full(), [9], query=fake(), dropout=0.1) == "padded"
    assert choose(Edges(), [9], query=fake(), terms=terms_of([9], 0.9)) == "padded"


@pytest.mark.parametrize(
    ("query", "pattern", "is_plain", "sentence"),
    [
        (fake("cpu"), Full(), True, "needs CUDA and half precision, got cpu"),
        (fake(dtype=torch.float64), Full(), True, "got cuda and torch.float64"),
        (fake(), Edges(), True, "full, causal and window patterns, got Edges"),
        (fake(), Full(), False, "plain dot score only"),
        (fake(width=12), Full(), True, "a multiple of 8 and at most 256, got 12"),
        (fake(width=512), Full(), True, "at most 256, got 512"),
    ],
)
def test_why_not_varlen_gives_the_reason(query, pattern, is_plain, sentence):
    assert sentence in why_not_varlen(query, query, pattern, is_plain=is_plain)


def test_why_not_varlen_says_when_torch_is_too_old(monkeypatch):
    monkeypatch.setattr("seqattn.attention.varlen.VARLEN_ATTN", None)
    assert "has no varlen_attn" in why_not_varlen(fake(), fake(), Full(), is_plain=True)


def test_varlen_attention_hands_over_offsets_longest_and_window(monkeypatch):
    handed = {}

    def record(query, key, value, cu_q, cu_k, max_q, max_k, *, scale, window_size):
        handed.update(cu=(cu_q, cu_k), longest=(max_q, max_k), scale=scale, window=window_size)
        return value

    monkeypatch.setattr("seqattn.attention.varlen.VARLEN_ATTN", record)
    heads = random_heads([4, 2])
    packing = Packing.from_lengths([4, 2])

    varlen_attention(*heads, packing, pattern=Causal(), scale=0.5)

    assert handed["cu"][0].tolist() == handed["cu"][1].tolist() == [0, 4, 6]
    assert handed["cu"][0].dtype == torch.int32
    assert (handed["longest"], handed["scale"], handed["window"]) == ((4, 4), 0.5, (-1, 0))


def test_window_size_is_the_kernels_name_of_a_pattern():
    assert window_size(Full()) == (-1, -1)
    assert window_size(Causal()) == (-1, 0)
    assert window_size(Window(3, 2)) == (3, 2)


@pytest.mark.parametrize(
    ("kernel", "pattern", "sentence"),
    [
        ("varlen", Full(), "kernel='varlen' cannot compute this layer: it needs CUDA"),
        ("edge_list", Full(), "needs the pattern Edges and a batch with edges"),
        ("edge_list", Edges(), "needs the pattern Edges and a batch with edges"),
        ("window", Full(), "needs the pattern Window, got Full"),
    ],
)
def test_a_kernel_that_cannot_is_refused(kernel, pattern, sentence):
    with pytest.raises(ValueError, match=sentence):
        choose(pattern, [9], kernel=kernel)


def test_varlen_named_refuses_to_drop_attention_weights():
    with pytest.raises(ValueError, match="plain dot score only, got a bias, edges, dropout"):
        choose(Full(), [9], query=fake(), kernel="varlen", dropout=0.1)


def test_window_kernel_refuses_edges():
    with pytest.raises(ValueError, match="knows no edge weights"):
        choose(Window(1, 1), [9], terms=terms_of([9], 0.5, is_pattern=False), kernel="window")


@pytest.mark.parametrize("kernel", ["auto", "padded", "window"])
def test_every_kernel_named_gives_the_same_numbers(kernel):
    lengths = [30, 7]
    heads = random_heads(lengths)
    scoring = Scoring(Window(3, 1), 0.5)

    out = run_attention(*heads, Packing.from_lengths(lengths), scoring, kernel)

    torch.testing.assert_close(out, packed_reference(*heads, lengths, pattern=Window(3, 1)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize(
    "pattern", [Full(), Causal(), Window(5, 2)], ids=lambda p: type(p).__name__
)
def test_varlen_attention_equals_the_reference_on_a_gpu(dtype, tolerance, pattern):
    lengths = [70, 1, 33]
    exact = random_heads(lengths, head_dim=16, value_dim=16)
    heads = [x.detach().to("cuda", dtype).requires_grad_() for x in exact]
    packing = Packing.from_lengths(lengths).to("cuda")

    out = run_attention(*heads, packing, Scoring(pattern, 0.25), "varlen")
    expected = packed_reference(*exact, lengths, pattern=pattern, scale=0.25)

    torch.testing.assert_close(out.double().cpu(), expected, rtol=tolerance, atol=tolerance)
    out.sum().backward()
    expected.sum().backward()
    for mine, theirs in zip(heads, exact, strict=True):
        torch.testing.assert_close(
            mine.grad.double().cpu(), theirs.grad, rtol=10 * tolerance, atol=10 * tolerance
        )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kernel", ["padded", "edge_list", "window"])
def test_the_other_kernels_equal_the_reference_on_a_gpu(kernel):
    lengths = [20, 1, 13]
    exact = random_heads(lengths)
    heads = [x.detach().cuda() for x in exact]
    packing = Packing.from_lengths(lengths).to("cuda")
    index = random_edges(lengths, 0.3)
    terms, pattern = None, Window(5, 2)
    if kernel == "edge_list":
        edges = EdgeList.from_index(index.cuda(), packing, self_loops=True)
        terms, pattern = EdgeTerms(edges, True), Edges()

    out = run_attention(*heads, packing, Scoring(pattern, 0.5, terms=terms), kernel)

    expected = packed_reference(*exact, lengths, pattern=pattern, edge_index=index)
    torch.testing.assert_close(out.cpu(), expected)
