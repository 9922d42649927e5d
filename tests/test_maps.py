"""Attention maps of a head: which layers and heads, what labels, and nothing else touched."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import seqattn
from seqattn import Encoder, Example
from seqattn.attention.patterns import Edges
from seqattn.batch import SequenceBatch
from tests.heads.small_heads import build_on, encoder, frontend, tagged, tagger

RAW: list[Any] = [["the", "cat"], [], ["old", "mat", "sat", "on", "a"], ["red"]]


def head(**slots: Any) -> Any:
    made = encoder(**slots)
    return build_on(seqattn.TokenLabeling(frontend(), made, warmup_steps=0), tagged())


def linked(index: torch.Tensor, weight: torch.Tensor | None = None) -> Any:
    """A head whose front-end gives each sequence of four words these edges."""

    class Linked(seqattn.TextFrontEnd):
        def forward(self, batch: SequenceBatch) -> SequenceBatch:
            shifts = batch.offsets[:-1].tolist()
            return (
                super()
                .forward(batch)
                .replace(
                    edge_index=torch.cat([index + shift for shift in shifts], dim=1),
                    edge_weight=None if weight is None else weight.repeat(len(shifts)),
                )
            )

    made = encoder(pattern=Edges(), edge_weight="multiply", position="none")
    front = Linked(character_dim=0, dropout=0.0)
    return build_on(seqattn.TokenLabeling(front, made, warmup_steps=0), tagged())


def test_rows_sum_to_one_and_tokens_name_the_axes() -> None:
    found = seqattn.attention_maps(head(), RAW)
    assert len(found) == len(RAW)
    for raw, one in zip(RAW, found, strict=True):
        assert one.row_labels == one.column_labels == tuple(raw)
        assert one.weights.shape == (2, 2, len(raw), len(raw))
        assert (one.layers, one.heads) == ((0, 1), (0, 1))
        assert one.contributions is None
        assert one.contribution_norms is None
        assert one.edge_index is None
        torch.testing.assert_close(one.weights.sum(-1), torch.ones(2, 2, len(raw)))


def test_no_sources_give_no_maps() -> None:
    assert seqattn.attention_maps(head(), []) == []


def test_later_positions_weigh_nothing_under_a_causal_pattern() -> None:
    for one in seqattn.attention_maps(head(pattern="causal"), RAW):
        assert not one.weights.triu(1).any()


def test_maps_do_not_depend_on_the_other_sources() -> None:
    model = head()
    for batch_tokens in (None, 1, 7):
        found = seqattn.attention_maps(model, RAW, batch_tokens=batch_tokens)
        for raw, one in zip(RAW, found, strict=True):
            (alone,) = seqattn.attention_maps(model, [raw])
            torch.testing.assert_close(one.weights, alone.weights, rtol=0, atol=1e-6)


def test_chosen_layers_and_heads_come_in_their_order() -> None:
    model = head()
    every = seqattn.attention_maps(model, RAW, contributions=True)
    some = seqattn.attention_maps(model, RAW, layers=[-1, 0], heads=[1], contributions=True)
    for whole, part in zip(every, some, strict=True):
        assert (part.layers, part.heads) == ((1, 0), (1,))
        torch.testing.assert_close(part.weights, whole.weights[[1, 0]][:, [1]])
        assert part.contributions is not None
        assert whole.contributions is not None
        torch.testing.assert_close(part.contributions, whole.contributions[[1, 0]][:, [1]])


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_contributions_and_bias_add_up_to_what_the_layer_adds(norm: Any) -> None:
    model = head(norm=norm).eval()
    with torch.no_grad():
        model.encoder.layers[0].mixer.project_out.bias.fill_(0.3)
    raw = RAW[2]
    (found,) = seqattn.attention_maps(model, [raw], layers=[0], contributions=True)
    layer = model.encoder.layers[0]
    inputs = model.frontend(model.collate([Example(raw)]))
    with torch.no_grad():
        x = inputs.values
        layout = model.encoder._layout(inputs.packing, x, None, None)
        update = layer.mixer(layer.mixer_norm(x) if norm == "pre" else x, layout)
    assert found.contributions is not None
    torch.testing.assert_close(found.contributions[0].sum(0) + 0.3, update, rtol=0, atol=1e-5)
    norms = found.contribution_norms
    assert norms is not None
    assert norms.shape == (1, 2, 5)
    torch.testing.assert_close(norms.square(), found.contributions.square().sum(-1))


def test_a_position_reads_along_its_edges_only() -> None:
    index = torch.tensor([[0, 1, 2], [1, 2, 0]])
    raw = ["the", "old", "cat", "sat"]
    found = seqattn.attention_maps(linked(index), [raw, raw])
    allowed = torch.eye(4, dtype=torch.bool)
    allowed[index[1], index[0]] = True
    for one in found:
        assert one.edge_index is not None
        assert one.edge_index.tolist() == index.tolist()
        assert ((one.weights > 0) == allowed).all()
        torch.testing.assert_close(one.weights.sum(-1), torch.ones(2, 2, 4))


def test_a_weight_of_zero_is_not_read() -> None:
    model = linked(torch.tensor([[0, 1], [1, 2]]), torch.tensor([0.0, 2.0]))
    (found,) = seqattn.attention_maps(model, [["the", "old", "cat", "sat"]])
    assert not found.weights[:, :, 1, 0].any()
    assert (found.weights[:, :, 2, 1] > 0).all()


def test_a_front_end_may_name_its_positions() -> None:
    model = head()
    model.frontend.position_labels = lambda raw: [word.upper() for word in raw]
    assert seqattn.attention_maps(model, [["a", "mat"]])[0].row_labels == ("A", "MAT")


def test_positions_are_numbered_when_their_names_do_not_fit() -> None:
    model = head()
    model.frontend.position_labels = lambda raw: ["one name"]
    assert seqattn.attention_maps(model, [["a", "mat"]])[0].row_labels == ("0", "1")


def test_the_model_computes_bit_for_bit_the_same_with_and_without_the_tap() -> None:
    model = head(pattern=["causal", seqattn.Window(1, 1)])
    batch = model.collate([Example(raw) for raw in RAW])
    model.eval()
    with torch.no_grad():
        before = model(batch).logits
        seqattn.attention_maps(model, RAW, contributions=True)
        after = model(batch).logits
    assert torch.equal(before, after)
    assert not any(module._forward_hooks for module in model.encoder.modules())


def test_the_layers_keep_their_kernel_while_tapped(monkeypatch: pytest.MonkeyPatch) -> None:
    import seqattn.attention.multihead as multihead

    used: list[tuple[str, torch.Tensor]] = []
    run = multihead.run_attention

    def spy(*arguments: Any) -> torch.Tensor:
        out = run(*arguments)
        used.append((arguments[-1], out))
        return out

    monkeypatch.setattr(multihead, "run_attention", spy)
    model = head()
    seqattn.hidden_states(model, RAW[2:3])
    plain, used = used, []
    seqattn.attention_maps(model, RAW[2:3])
    assert [name for name, _ in used] == ["auto", "auto"]
    assert all(torch.equal(one, two) for (_, one), (_, two) in zip(plain, used, strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_random_state_are_as_before(training: bool) -> None:
    model = head(dropout=0.5, attention_dropout=0.5).train(training)
    state = torch.random.get_rng_state()
    one, two = (seqattn.attention_maps(model, RAW[2:3])[0] for _ in range(2))
    assert torch.equal(one.weights, two.weights)
    assert model.training is training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_hooks_are_gone_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = head()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("stop")

    monkeypatch.setattr(model.encoder.layers[1].mixer, "forward", fail)
    with pytest.raises(OSError, match="stop"):
        seqattn.attention_maps(model, RAW)
    assert not any(module._forward_hooks for module in model.encoder.modules())


def test_layers_without_attention_are_left_out() -> None:
    model = head(mixer=["convolution", "attention"])
    assert [one.layers for one in seqattn.attention_maps(model, RAW[:1])] == [(1,)]


@pytest.mark.parametrize(
    ("slots", "choice", "kind", "rule"),
    [
        ({}, {"layers": [2]}, IndexError, r"layers must lie in -2 … 1, got 2"),
        ({}, {"heads": [-3]}, IndexError, r"heads must lie in -2 … 1, got -3"),
        ({}, {"heads": []}, ValueError, r"heads must name at least one.*got \[\]"),
        ({}, {"layers": [1, -1]}, ValueError, r"none twice, got \[1, -1\]"),
        (
            {"mixer": ["attention", "recurrent"]},
            {"layers": [1]},
            ValueError,
            r"layers must name layers with attention \(0\), got 1, whose mixer is 'recurrent'",
        ),
        ({"mixer": "none"}, {}, ValueError, "need a layer with attention, got mixers 'none', 'no"),
    ],
)
def test_a_wrong_choice_is_refused(slots: Any, choice: Any, kind: Any, rule: str) -> None:
    with pytest.raises(kind, match=rule):
        seqattn.attention_maps(head(**slots), RAW, **choice)


def test_one_string_and_a_head_without_vocabulary_are_refused() -> None:
    with pytest.raises(TypeError, match="raw must be a list"):
        seqattn.attention_maps(head(), "the cat")
    with pytest.raises(RuntimeError, match="must be fitted or loaded"):
        seqattn.attention_maps(tagger(), RAW)


def test_the_encoder_may_be_used_without_a_head() -> None:
    chosen, heads = seqattn.maps.choose_heads(Encoder(8, 3, 4), [-1], None)
    assert (list(chosen), heads) == ([2], (0, 1, 2, 3))
