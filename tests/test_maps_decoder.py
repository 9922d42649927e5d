"""Attention maps of a decoder: what is written looks at the source, and at what was written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import seqattn
from seqattn import AudioFrontEnd, Decoder, Example, Graph, GraphFrontEnd, Seq2Seq
from tests.heads.small_heads import build_on, encoder, frontend, tagger
from tests.small_writer import Writer

RAW: list[Any] = [["the", "cat"], ["old", "mat", "sat", "on", "a"], []]


def head(**slots: Any) -> Any:
    made = Decoder(16, 2, 2, dropout=0.0, **slots)
    return build_on(Writer(frontend(), encoder(), made), [Example(raw, "ab") for raw in RAW])


@pytest.mark.parametrize("score", ["dot", "additive"])
def test_cross_maps_go_from_what_is_written_to_the_source(score: Any) -> None:
    model = head(score=score, position="none")
    found = seqattn.attention_maps(model, RAW, where="cross", targets=["ba", "c", ""])
    written = [("b", "a", "END"), ("c", "END"), ("END",)]
    for raw, rows, one in zip(RAW, written, found, strict=True):
        assert one.row_labels == rows
        assert one.column_labels == tuple(raw)
        assert one.weights.shape == (2, 2, len(rows), len(raw))
        assert one.edge_index is None
        wanted = torch.ones(2, 2, len(rows)) if raw else torch.zeros(2, 2, len(rows))
        torch.testing.assert_close(one.weights.sum(-1), wanted)


def test_maps_of_the_decoder_are_causal_and_name_both_sides() -> None:
    (one,) = seqattn.attention_maps(head(), RAW[:1], where="decoder", targets=["ba"])
    assert one.row_labels == ("b", "a", "END")
    assert one.column_labels == ("BEGIN", "b", "a")
    assert not one.weights.triu(1).any()


def test_the_heads_own_prediction_is_written_when_no_target_is_given() -> None:
    model = head()
    plain = seqattn.attention_maps(model, RAW, where="cross")
    assert [one.row_labels for one in plain] == [("a", "b", "c", "END")] * 3
    model.predict = lambda raw, **settings: [[{"output": "ab", "score": 0.0}]] * len(raw)
    ranked = seqattn.attention_maps(model, RAW, where="cross")
    assert [one.row_labels for one in ranked] == [("a", "b", "END")] * 3


@torch.inference_mode()
def test_weights_are_those_of_the_layer() -> None:
    model = head()
    heard: list[Any] = []
    cross = model.decoder.layers[1].cross
    cross.register_forward_hook(lambda _, inputs, output: heard.append((inputs, output)))
    (one,) = seqattn.attention_maps(
        model, RAW[:1], layers=[-1], where="cross", targets=["ba"], contributions=True
    )
    (x, memory, _), update = heard[-1]
    query = cross.project_query(x).view(3, 2, 8).transpose(0, 1)
    key = cross.project_memory(memory)[:, :16].view(2, 2, 8).transpose(0, 1)
    weights = (query @ key.transpose(1, 2) / 8**0.5).softmax(-1)
    torch.testing.assert_close(one.weights[0], weights)
    assert one.contributions is not None
    total = one.contributions[0].sum(0) + cross.project_out.bias
    torch.testing.assert_close(total, update, rtol=0, atol=1e-5)


def test_cross_maps_need_no_attention_within_the_sequence() -> None:
    model = head(mixer="recurrent", position="none")
    (one,) = seqattn.attention_maps(model, RAW[:1], where="cross", targets=["a"])
    assert one.layers == (0, 1)
    with pytest.raises(ValueError, match="need a layer with attention, got mixers 'recurrent'"):
        seqattn.attention_maps(model, RAW[:1], where="decoder", targets=["a"])


def sound_front_end() -> tuple[Any, Any, tuple[str, ...]]:
    made = AudioFrontEnd(8000, mels=8, subsampling=4, channels=2)
    sound = (np.random.default_rng(0).normal(0, 0.1, 1000).astype(np.float32), 8000)
    return made, sound, ("0.02", "0.06", "0.10", "0.14")  # 10 ms a row, four rows a position


def graph_front_end() -> tuple[Any, Any, tuple[str, ...]]:
    nodes = np.arange(3, dtype=np.float32)[:, None]
    graph = Graph(3, np.array([[0, 1], [1, 2]]), features=nodes, names=("x", "y", "z"))
    return GraphFrontEnd(), graph, ("x", "y", "z")


@pytest.mark.parametrize("make", [sound_front_end, graph_front_end])
def test_columns_are_the_times_of_a_sound_and_the_names_of_nodes(make: Any) -> None:
    made, raw, columns = make()
    model = Seq2Seq(made, encoder(position="none"), Decoder(16, 2, 2), target_units="token")
    build_on(model, [Example(raw, "one two")])
    (one,) = seqattn.attention_maps(model, [raw], where="cross", targets=["two one"])
    assert one.row_labels == ("two", "one", "END")
    assert one.column_labels == columns


def test_maps_of_the_encoder_are_as_before() -> None:
    (one,) = seqattn.attention_maps(head(), RAW[:1])
    assert one.row_labels == one.column_labels == ("the", "cat")


@pytest.mark.parametrize(
    ("choice", "rule"),
    [
        ({"where": "source"}, "where must be one of 'encoder', .* got 'source'"),
        ({"where": "cross", "targets": ["a"]}, "targets must be one per source.* got 1 for 3"),
        ({"targets": ["a"] * 3}, "for the decoder only, got 3 for 3 sources and where='encoder'"),
    ],
)
def test_a_wrong_choice_is_refused(choice: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        seqattn.attention_maps(head(), RAW, **choice)


def test_a_head_without_a_decoder_is_refused() -> None:
    with pytest.raises(ValueError, match="where='cross' needs a head with a decoder, got TokenLab"):
        seqattn.attention_maps(tagger(), RAW, where="cross")
