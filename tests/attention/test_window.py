import pytest
import torch
from hypothesis import example, given, settings
from memory_meter import memory_of
from packed_oracle import HEADS, LENGTHS, assert_same_function, packed_reference, random_heads

from seqattn.attention.multihead import alibi_slopes
from seqattn.attention.padded import padded_attention
from seqattn.attention.patterns import Full, Window
from seqattn.attention.window import WindowPlan, window_attention
from seqattn.packing import Packing

WINDOWS = [Window(0, 0), Window(3, 0), Window(0, 2), Window(2, 20), Window(30, 5)]


def window_id(window):
    return f"{window.left}-{window.right}"


@pytest.mark.parametrize("window", WINDOWS, ids=window_id)
@pytest.mark.parametrize("term", ["none", "alibi", "additive", "alibi additive"])
@settings(max_examples=4, deadline=None)
@given(lengths=LENGTHS, heads=HEADS)
@example(lengths=[], heads=2)
def test_window_attention_equals_the_reference(window, term, lengths, heads):
    query, key, value = random_heads(lengths, heads)
    slopes = alibi_slopes(heads).double() if "alibi" in term else None
    vector = torch.randn(heads, 4, dtype=torch.float64, requires_grad=True)
    own_vector = vector if "additive" in term else None
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


MIXED = [40, 3, 0, 9, 70, *[5] * 90, 33]


@pytest.mark.parametrize("lengths", [MIXED, [10] * 200], ids=["some", "all"])
@pytest.mark.parametrize("term", ["none", "alibi", "additive"])
def test_short_sequences_that_are_left_to_the_padded_kernel_equal_the_reference(term, lengths):
    window = Window(32, 3)
    query, key, value = random_heads(lengths)
    positions = torch.randint(0, 9, (sum(lengths),)) if term == "alibi" else None
    slopes = alibi_slopes(2).double() if term == "alibi" else None
    vector = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    own_vector = vector if term == "additive" else None
    packing = Packing.from_lengths(lengths)
    if positions is not None:
        packing = packing.with_positions(positions)
    assert WindowPlan.of(packing, window).pads_short

    terms = {"slopes": slopes, "score_vector": own_vector}
    out = window_attention(query, key, value, packing, pattern=window, scale=0.5, **terms)

    terms |= {"positions": positions}
    wanted = packed_reference(query, key, value, lengths, pattern=window, **terms)
    assert_same_function(out, wanted, (query, key, value, vector))


def window_memory(lengths, window):
    packing = Packing.from_lengths(lengths)
    heads = [torch.randn(sum(lengths), 2, 4, requires_grad=True) for _ in range(3)]

    def function(query, key, value):
        return window_attention(query, key, value, packing, pattern=window, scale=0.5)

    return memory_of(function, *heads)


def test_memory_grows_with_the_length_and_not_with_its_square():
    short, long = (window_memory([length], Window(16, 16)) for length in (1024, 4096))

    assert long.largest <= 4.1 * short.largest
    assert long.total <= 4.1 * short.total


def test_memory_grows_with_the_real_positions_when_most_sequences_are_short():
    window = Window(256, 0)
    long, mixed = window_memory([600], window), window_memory([600, *[5] * 100], window)

    assert mixed.largest <= 1.1 * long.largest
    assert mixed.total <= 1.5 * long.total


def test_memory_is_that_of_the_sequences_when_the_window_is_wider():
    narrow, wide = (window_memory([3, 1, 2], Window(n, n)) for n in (2, 20000))
    assert wide == narrow


def test_window_attention_passes_gradcheck():
    packing = Packing.from_lengths([3, 2])

    def function(query, key, value):
        return window_attention(query, key, value, packing, pattern=Window(1, 0), scale=0.5)

    assert torch.autograd.gradcheck(function, random_heads([3, 2], head_dim=2, value_dim=2))
