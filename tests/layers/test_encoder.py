import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqattn import Encoder, Packing, Window
from seqattn.recorded import build

POSITIONS = ["none", "sinusoidal", "learned", "rotary", "alibi"]
CAUSAL = ["causal", Window(2, 0)]


def make_encoder(**changes):
    torch.manual_seed(0)
    slots = {"dim": 8, "depth": 2, "heads": 2, "dropout": 0.0, **changes}
    return Encoder(**slots).double()


def pack(*lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(lengths), 8, generator=generator, dtype=torch.float64)
    return x, Packing.from_lengths(lengths).offsets


def test_encoder_returns_one_vector_per_position_in_order():
    x, offsets = pack(3, 0, 1, 5)
    assert make_encoder()(x, offsets).shape == x.shape


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("pattern", ["full", "causal", Window(1, 2)])
def test_encoder_ignores_batch_mates(position, pattern):
    encoder = make_encoder(position=position, pattern=pattern)
    x, offsets = pack(3, 5, 1)

    together = encoder(x, offsets)

    for start, end in zip(offsets.tolist(), offsets.tolist()[1:], strict=False):
        alone = encoder(x[start:end], torch.tensor([0, end - start]))
        torch.testing.assert_close(together[start:end], alone, rtol=0, atol=1e-12)


def test_encoder_without_position_is_equivariant_to_permutation():
    encoder = make_encoder(position="none")
    x, offsets = pack(4, 3)
    order = torch.tensor([2, 0, 3, 1, 6, 4, 5])

    torch.testing.assert_close(encoder(x[order], offsets), encoder(x, offsets)[order])


@pytest.mark.parametrize("position", ["sinusoidal", "learned", "rotary", "alibi"])
def test_encoder_with_position_is_not_equivariant_to_permutation(position):
    encoder = make_encoder(position=position)
    x, offsets = pack(4)
    order = torch.tensor([2, 0, 3, 1])

    assert not torch.allclose(encoder(x[order], offsets), encoder(x, offsets)[order])


@pytest.mark.parametrize("position", ["rotary", "alibi"])
def test_relative_positions_vanish_when_all_positions_are_zero(position):
    encoder, plain = make_encoder(position=position), make_encoder(position="none")
    plain.load_state_dict(encoder.state_dict())
    x, offsets = pack(4, 3)

    out = encoder(x, offsets, positions=torch.zeros(7, dtype=torch.int64))

    torch.testing.assert_close(out, plain(x, offsets))


@pytest.mark.parametrize("pattern", CAUSAL, ids=str)
@pytest.mark.parametrize("position", POSITIONS)
def test_no_output_depends_on_a_later_input_when_causal(pattern, position):
    encoder = make_encoder(pattern=pattern, position=position)
    x, offsets = pack(5, 3)
    x.requires_grad_()

    for row in (0, 2, 4):
        (grad,) = torch.autograd.grad(encoder(x, offsets)[row].sum(), x)
        assert not grad[row + 1 :].any()


@pytest.mark.parametrize("position", POSITIONS)
def test_one_causal_pass_equals_every_prefix_separately(position):
    encoder = make_encoder(pattern="causal", position=position)
    x, offsets = pack(6)
    probe = torch.randn_like(x)

    loss = (encoder(x, offsets) * probe).sum()
    wanted = torch.zeros((), dtype=torch.float64)
    for end in range(1, 7):
        last = encoder(x[:end], torch.tensor([0, end]))[-1]
        wanted = wanted + (last * probe[end - 1]).sum()

    torch.testing.assert_close(loss, wanted, rtol=0, atol=1e-12)
    grads = torch.autograd.grad(loss, list(encoder.parameters()), allow_unused=True)
    others = torch.autograd.grad(wanted, list(encoder.parameters()), allow_unused=True)
    for grad, other in zip(grads, others, strict=True):
        torch.testing.assert_close(grad, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("pattern", CAUSAL, ids=str)
@pytest.mark.parametrize("position", POSITIONS)
def test_steps_equal_the_full_pass(pattern, position):
    encoder = make_encoder(pattern=pattern, position=position, norm="post").eval()
    x, offsets = pack(20, 20)  # longer than the cache's first capacity
    state = encoder.start(2)

    steps = [encoder.step(x.view(2, 20, 8)[:, i], state) for i in range(20)]

    full = encoder(x, offsets).view(2, 20, 8)
    torch.testing.assert_close(torch.stack(steps, 1), full, rtol=0, atol=1e-12)


def test_select_reorders_the_state():
    encoder = make_encoder(pattern="causal").eval()
    x, offsets = pack(3, 3)
    state = encoder.start(2)
    rows = x.view(2, 3, 8)
    for i in range(2):
        encoder.step(rows[:, i], state)

    state.select(torch.tensor([1, 0, 1]))
    out = encoder.step(rows[[1, 0, 1], 2], state)

    full = encoder(x, offsets).view(2, 3, 8)[:, 2]
    torch.testing.assert_close(out, full[[1, 0, 1]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("pattern", ["full", Window(2, 1)], ids=str)
def test_start_refuses_a_pattern_that_looks_ahead(pattern):
    with pytest.raises(ValueError, match="only causal .* got pattern .* in layer 1"):
        make_encoder(pattern=["causal", pattern]).start(1)


def test_hidden_states_are_the_input_and_every_layer():
    encoder = make_encoder(position="sinusoidal", depth=3)
    x, offsets = pack(3, 2)

    states = encoder(x, offsets, hidden_states=True)

    assert len(states) == 4
    packing = Packing.from_offsets(offsets)
    torch.testing.assert_close(states[0], encoder.added["sinusoidal"](x, packing.positions, 3))
    torch.testing.assert_close(states[-1], encoder(x, offsets))


@pytest.mark.parametrize(("head_dim", "value_dim"), [(6, None), (None, 3), (2, 10)])
def test_head_dim_and_value_dim_are_free(head_dim, value_dim):
    encoder = make_encoder(heads=4, head_dim=head_dim, value_dim=value_dim)
    x, offsets = pack(3, 2)
    assert encoder(x, offsets).shape == x.shape


def test_heads_must_divide_dim_when_head_dim_is_not_given():
    with pytest.raises(ValueError, match="heads must divide dim unless head_dim is given, got 3"):
        make_encoder(heads=3)
    assert make_encoder(heads=3, head_dim=4).head_dim == 4


@pytest.mark.parametrize("lengths", [(), (0,), (0, 0)])
@pytest.mark.parametrize("feedforward", ["gelu", "swiglu", "none"])
def test_empty_batch_gives_zero_gradients_for_all_parameters(lengths, feedforward):
    encoder = make_encoder(feedforward=feedforward, position="learned", dropout=0.1)
    x, offsets = pack(*lengths)

    encoder(x, offsets).sum().backward()

    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_learned_table_refuses_a_longer_sequence():
    encoder = make_encoder(position="learned", max_length=4)
    x, offsets = pack(3, 5)
    with pytest.raises(ValueError, match=r"max_length=4\), got 5 positions"):
        encoder(x, offsets)


def test_learned_table_limits_the_positions_of_a_sequence():
    assert make_encoder(position="learned", max_length=4).max_positions == 4
    assert make_encoder(position="rotary", max_length=4).max_positions is None


def test_positions_are_added_once_when_several_layers_name_them():
    both = make_encoder(position="sinusoidal")
    first = make_encoder(position=["sinusoidal", "none"])
    first.load_state_dict(both.state_dict())
    x, offsets = pack(4)

    torch.testing.assert_close(both(x, offsets), first(x, offsets))


def test_slots_may_differ_by_layer():
    encoder = make_encoder(
        depth=3,
        pattern=[Window(1, 1), Window(1, 1), "full"],
        position=["rotary", "alibi", "none"],
        feedforward=["gelu", "none", "swiglu"],
        norm_kind=["layer", "rms", "layer"],
    )
    x, offsets = pack(5, 2)
    assert encoder(x, offsets).shape == x.shape


@pytest.mark.parametrize(
    ("slot", "value", "sentence"),
    [
        ("norm", "before", "norm must be one of 'pre', 'post', got 'before'"),
        ("pattern", "lower", "pattern must be .* got 'lower'"),
        ("feedforward", ["relu"], r"feedforward must have one entry per layer \(depth=2\), got 1"),
        ("depth", 0, "depth must be a whole number and at least 1, got 0"),
        ("max_length", 0, "max_length must be a whole number and at least 1, got 0"),
        ("feedforward_dim", 0, "feedforward_dim must be a whole number and at least 1, got 0"),
        ("feedforward_dim", -4, "feedforward_dim must be a whole number and at least 1, got -4"),
        ("head_dim", 0, "head_dim must be a whole number and at least 1, got 0"),
        ("value_dim", 0, "value_dim must be a whole number and at least 1, got 0"),
        ("heads", 2.0, "heads must be a whole number and at least 1, got 2.0"),
        ("dropout", float("nan"), "dropout must lie in 0 … 1, got nan"),
        ("attention_dropout", 1.5, "attention_dropout must lie in 0 … 1, got 1.5"),
        ("kernel", "fast", "kernel must be one of .* got 'fast'"),
        ("dropout", 2.0, "dropout must lie in 0 … 1, got 2.0"),
    ],
)
def test_encoder_refuses_an_unknown_value(slot, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_encoder(**{slot: value})


def test_encoder_refuses_vectors_of_another_width():
    with pytest.raises(ValueError, match=r"x must have shape \(T, D = 8\), got \(3, 7\)"):
        make_encoder()(torch.zeros(3, 7), torch.tensor([0, 3]))


def test_encoder_is_made_again_from_its_spec():
    encoder = make_encoder(pattern=["causal", Window(2, 0)], norm_kind="rms")
    again = build(encoder.spec).double()
    again.load_state_dict(encoder.state_dict())
    x, offsets = pack(4)
    torch.testing.assert_close(again(x, offsets), encoder(x, offsets))


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(0, 12), max_size=5), last=st.integers(0, 4))
def test_an_added_sequence_changes_nothing(lengths, last):
    encoder = make_encoder()
    x, offsets = pack(*lengths, last)

    out = encoder(x, offsets)[: sum(lengths)]

    alone = encoder(x[: sum(lengths)], offsets[:-1])
    torch.testing.assert_close(out, alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mixer", ["none", "attention", "convolution", "recurrent"])
@pytest.mark.parametrize("total", [4, 6])
def test_offsets_that_do_not_fit_x_are_refused(mixer, total):
    encoder = make_encoder(mixer=mixer, position="none")
    with pytest.raises(ValueError, match="offsets must end at T = 5, got"):
        encoder(pack(5)[0], torch.tensor([0, total]))
