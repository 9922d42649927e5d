import pytest
import torch
from hypothesis import example, given, settings
from packed_oracle import HEADS, LENGTHS, assert_same_function, packed_reference, random_heads

from seqattn.attention.multihead import alibi_slopes
from seqattn.attention.padded import padded_attention
from seqattn.attention.patterns import Causal, Full, Window
from seqattn.packing import Packing

PATTERNS = [Full(), Causal(), Window(2, 1), Window(3, 0), Window(0, 0)]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("with_alibi", [False, True])
@settings(max_examples=8, deadline=None)
@given(lengths=LENGTHS, heads=HEADS)
@example(lengths=[], heads=2)
def test_padded_attention_equals_the_reference(pattern, with_alibi, lengths, heads):
    slopes = alibi_slopes(heads).double() if with_alibi else None
    parts = random_heads(lengths, heads)

    out = padded_attention(
        *parts, Packing.from_lengths(lengths), pattern=pattern, scale=0.5, slopes=slopes
    )

    assert_same_function(
        out, packed_reference(*parts, lengths, pattern=pattern, slopes=slopes), parts
    )


def test_padded_attention_equals_the_reference_when_sequences_are_long():
    lengths = [300, 260, 256]
    heads = random_heads(lengths)

    out = padded_attention(*heads, Packing.from_lengths(lengths), pattern=Causal(), scale=0.5)

    assert_same_function(out, packed_reference(*heads, lengths, pattern=Causal()), heads)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: type(p).__name__)
def test_padded_attention_equals_the_reference_without_gradients(pattern):
    lengths = [5, 4, 1, 0, 5]
    heads = tuple(x.detach() for x in random_heads(lengths))

    out = padded_attention(*heads, Packing.from_lengths(lengths), pattern=pattern, scale=0.5)

    torch.testing.assert_close(out, packed_reference(*heads, lengths, pattern=pattern))


def test_padded_attention_reads_given_positions_with_alibi():
    lengths = [4, 3]
    heads = random_heads(lengths)
    positions = torch.tensor([5, 0, 2, 2, 9, 1, 1])
    slopes = alibi_slopes(2).double()
    packing = Packing.from_lengths(lengths).with_positions(positions)

    out = padded_attention(*heads, packing, pattern=Full(), scale=0.5, slopes=slopes)

    wanted = packed_reference(*heads, lengths, pattern=Full(), slopes=slopes, positions=positions)
    assert_same_function(out, wanted, heads)


def test_padded_attention_passes_gradcheck():
    lengths = [3, 2, 1]
    packing = Packing.from_lengths(lengths)

    def function(query, key, value):
        return padded_attention(query, key, value, packing, pattern=Causal(), scale=0.5)

    assert torch.autograd.gradcheck(function, random_heads(lengths, head_dim=2, value_dim=2))


def test_padded_attention_drops_weights_at_the_given_rate():
    torch.manual_seed(0)
    length = 40
    query = torch.zeros(length, 1, 2)
    value = torch.eye(length)[:, None, :].requires_grad_()  # the output is the weights

    out = padded_attention(
        query, query, value, Packing.from_lengths([length]), pattern=Full(), scale=1.0, dropout=0.25
    )

    kept = (out != 0).double().mean().item()
    assert kept == pytest.approx(0.75, abs=0.05)
    assert out[out != 0].mean().item() == pytest.approx(1 / length / 0.75, rel=0.02)
