import pytest
import torch
from hypothesis import given, settings
from packed_oracle import LENGTHS, assert_same_function, packed_reference, random_heads

from seqattn.attention.multihead import alibi_slopes
from seqattn.attention.padded import padded_attention
from seqattn.attention.patterns import Full, Window
from seqattn.attention.window import window_attention
from seqattn.packing import Packing

WINDOWS = [Window(0, 0), Window(3, 0), Window(0, 2), Window(2, 20), Window(30, 5)]


def window_id(window):
    return f"{window.left}-{window.right}"


@pytest.mark.parametrize("window", WINDOWS, ids=window_id)
@pytest.mark.parametrize("term", ["none", "alibi", "additive"])
@settings(max_examples=5, deadline=None)
@given(lengths=LENGTHS)
def test_window_attention_equals_the_reference(window, term, lengths):
    query, key, value = random_heads(lengths)
    slopes = alibi_slopes(2).double() if term == "alibi" else None
    vector = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    own_vector = vector if term == "additive" else None
    packing = Packing.from_lengths(lengths)

    out = window_attention(
        query,
        key,
        value,
        packing,
        pattern=window,
        scale=0.5,
        slopes=slopes,
        score_vector=own_vector,
    )

    expected = packed_reference(
        query,
        key,
        value,
        lengths,
        pattern=window,
        slopes=slopes,
        score_vector=own_vector,
    )
    assert_same_function(out, expected, (query, key, value, vector))


def test_window_attention_equals_the_reference_without_gradients():
    lengths = [20, 3, 0, 41]
    heads = tuple(x.detach() for x in random_heads(lengths))
    window = Window(4, 2)

    out = window_attention(*heads, Packing.from_lengths(lengths), pattern=window, scale=0.5)

    torch.testing.assert_close(out, packed_reference(*heads, lengths, pattern=window))


def test_window_attention_reads_given_positions_with_alibi():
    lengths = [4, 3]
    heads = random_heads(lengths)
    positions = torch.tensor([5, 0, 2, 2, 9, 1, 1])
    slopes = alibi_slopes(2).double()
    packing = Packing.from_lengths(lengths).with_positions(positions)
    window = Window(1, 1)

    out = window_attention(*heads, packing, pattern=window, scale=0.5, slopes=slopes)

    wanted = packed_reference(*heads, lengths, pattern=window, slopes=slopes, positions=positions)
    assert_same_function(out, wanted, heads)


def test_window_as_wide_as_the_sequence_equals_full():
    lengths = [9, 4, 1]
    heads = random_heads(lengths)
    packing = Packing.from_lengths(lengths)

    out = window_attention(*heads, packing, pattern=Window(9, 9), scale=0.5)

    expected = padded_attention(*heads, packing, pattern=Full(), scale=0.5)
    assert_same_function(out, expected, heads)


def test_memory_grows_with_the_length_and_not_with_its_square():
    def saved(length):
        heads = [torch.randn(length, 2, 4, requires_grad=True) for _ in range(3)]
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x: (sizes.append(x.numel()), x)[1], lambda x: x
        ):
            packing = Packing.from_lengths([length])
            window_attention(*heads, packing, pattern=Window(16, 16), scale=0.5)
        return sum(sizes)

    assert saved(4096) <= 4.2 * saved(1024)


def test_window_attention_passes_gradcheck():
    packing = Packing.from_lengths([3, 2])

    def function(query, key, value):
        return window_attention(query, key, value, packing, pattern=Window(1, 0), scale=0.5)

    assert torch.autograd.gradcheck(function, random_heads([3, 2], head_dim=2, value_dim=2))
