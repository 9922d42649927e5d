import pytest
import torch
from torch import nn

from seqattn.attention.layout import Layout
from seqattn.attention.multihead import MultiHeadAttention, alibi_slopes
from seqattn.attention.patterns import Causal, Full
from seqattn.attention.reference import attend
from seqattn.packing import Packing

LENGTHS = (4, 2, 3)


def make_input():
    torch.manual_seed(0)
    x = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
    return x, Layout(Packing.from_lengths(LENGTHS))


def test_attention_equals_torch_multihead_attention_with_copied_weights():
    theirs = nn.MultiheadAttention(6, 2, batch_first=True).double()
    ours = MultiHeadAttention(6, 2, pattern=Full()).double()
    with torch.no_grad():
        nn.init.normal_(theirs.in_proj_bias)
        ours.project_in.weight.copy_(theirs.in_proj_weight)
        ours.project_in.bias.copy_(theirs.in_proj_bias)
    ours.project_out.load_state_dict(theirs.out_proj.state_dict())
    x, layout = make_input()
    padded = nn.utils.rnn.pad_sequence(x.split(LENGTHS), batch_first=True)
    padding = torch.arange(4) >= torch.tensor(LENGTHS)[:, None]

    wanted = theirs(padded, padded, padded, key_padding_mask=padding)[0][~padding]
    out = ours(x, layout)

    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-12)
    probe = torch.randn_like(out)
    (grad,) = torch.autograd.grad((out * probe).sum(), x, retain_graph=True)
    (other,) = torch.autograd.grad((wanted * probe).sum(), x)
    torch.testing.assert_close(grad, other, rtol=0, atol=1e-12)


def test_heads_contributions_add_up_to_the_update():
    attention = MultiHeadAttention(6, 3, pattern=Full(), head_dim=2, value_dim=4).double()
    nn.init.normal_(attention.project_in.bias)
    x, layout = make_input()
    weight, bias = attention.project_in.weight, attention.project_in.bias
    up = attention.project_out.weight.unflatten(1, (3, 4))  # (D, H, K_value)

    updates = []
    for own in x.split(LENGTHS):
        total = attention.project_out.bias.expand(len(own), -1)
        for head in range(3):
            query, key = (
                own @ weight[start + 2 * head : start + 2 * head + 2].T
                + bias[start + 2 * head : start + 2 * head + 2]
                for start in (0, 6)
            )
            down = weight[12 + 4 * head : 16 + 4 * head]
            _, weights = attend(query, key, own)
            through = weights @ (own @ down.T + bias[12 + 4 * head : 16 + 4 * head])
            total = total + through @ up[:, head].T
        updates.append(total)

    torch.testing.assert_close(attention(x, layout), torch.cat(updates), rtol=0, atol=1e-12)


def test_alibi_slopes_are_the_published_geometric_sequence():
    assert alibi_slopes(8).tolist() == [2.0**-k for k in range(1, 9)]


def test_slopes_are_exact_after_a_cast_there_and_back():
    attention = MultiHeadAttention(6, 3, pattern=Full(), position="alibi")
    attention = attention.bfloat16().float()
    torch.testing.assert_close(attention.slopes, alibi_slopes(3), rtol=0, atol=0)


def test_slopes_are_there_when_a_model_leaves_the_meta_device():
    with torch.device("meta"):
        attention = MultiHeadAttention(6, 3, pattern=Full(), position="alibi")
    attention = attention.to_empty(device="cpu")
    torch.testing.assert_close(attention.slopes, alibi_slopes(3), rtol=0, atol=0)


def test_rotary_refuses_an_odd_head_dim():
    with pytest.raises(ValueError, match="head_dim must be even with rotary positions, got 3"):
        MultiHeadAttention(6, 2, pattern=Causal(), position="rotary")


def test_heads_must_divide_dim():
    with pytest.raises(ValueError, match="heads must divide dim unless head_dim is given, got 4"):
        MultiHeadAttention(6, 4, pattern=Full())
