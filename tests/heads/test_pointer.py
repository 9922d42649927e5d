"""Copying: the mixture, what can be copied, and that writing step by step gives the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqattn
from seqattn import (
    Encoder,
    Example,
    FeatureFrontEnd,
    GraphFrontEnd,
    Seq2Seq,
    SequenceBatch,
    TextFrontEnd,
)
from seqattn.heads.pointer import Pointer
from seqattn.heads.writing import DecoderStepper
from tests.frontends.small_graphs import plain
from tests.heads.small_heads import build_on, loader, trainer
from tests.heads.small_seq2seq import decoder, reader, train, writer

WORDS = ("ab", "cd", "ef", "gh")
PAIRS = [
    Example(["x", "ab", "y"], ["ab"], "0"),
    Example(["cd", "x"], ["cd", "cd"], "1"),
    Example([], [], "2"),
    Example(["x", "y"], ["ef", "gh"], "3"),  # nothing to copy
]


def copier(frontend: Any = None, examples: Any = PAIRS, **arguments: Any) -> Any:
    """A head that copies, built on the examples."""
    torch.manual_seed(0)
    frontend = frontend or TextFrontEnd(character_dim=0, dropout=0.0)
    own = Encoder(16, 1, 2, dropout=0.0, **arguments)
    head = Seq2Seq(
        frontend, own, decoder(), target_units="token", copy=True, warmup_steps=0, max_length=6
    )
    head.dropout.p = 0.0
    return build_on(head, examples)


def test_mixture_is_that_of_the_paper() -> None:
    torch.manual_seed(1)
    pointer = Pointer(8, torch.tensor([3, -1, 1]))
    memory, written, logits = torch.randn(5, 8), torch.randn(4, 8), torch.randn(4, 6)
    symbols = pointer.symbols(torch.tensor([0, 2, 0, 1, -1]))
    assert symbols.tolist() == [3, 1, 3, -1, -1]
    source = pointer.read(memory, symbols, [3, 1, 1])  # nothing of the last two can be copied
    found = pointer(written, logits, [2, 1, 1], source)
    expected = logits.softmax(-1)
    for row in range(2):
        scores = (pointer.key(memory[:3]) @ pointer.query(written[row])) / 8**0.5
        attention, writes = scores.softmax(0), pointer.gate(written[row]).sigmoid()
        expected[row] *= writes
        for place, symbol in enumerate([3, 1, 3]):
            expected[row, symbol] += (1 - writes[0]) * attention[place]
    torch.testing.assert_close(found, expected.log())
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(4))


def test_sources_that_remain_are_those_that_are_kept() -> None:
    pointer = Pointer(4, torch.arange(3))
    source = pointer.read(torch.randn(5, 4), torch.tensor([0, 1, -1, 2, 0]), [2, 1, 2])
    kept = source.select(torch.tensor([2, 0]))
    assert kept.symbols.tolist() == [[2, 0], [0, 1]]
    torch.testing.assert_close(kept.keys, source.keys[[2, 0]])


def test_source_with_nothing_to_copy_leaves_the_decoder_as_it_is() -> None:
    pointer = Pointer(4, torch.arange(3)).double()
    written = torch.randn(1, 4, dtype=torch.float64)
    logits = torch.tensor([[60.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    for length in (0, 2):
        memory = torch.randn(length, 4, dtype=torch.float64)
        source = pointer.read(memory, torch.full((length,), -1), [length])
        found = pointer(written, logits, [1], source)
        torch.testing.assert_close(found, logits.log_softmax(-1), atol=1e-12, rtol=0)
        (gradient,) = torch.autograd.grad(-found[0, 2], logits)
        assert abs(float(gradient[0, 2]) + 1) < 1e-12


def test_gate_that_is_sure_still_learns() -> None:
    pointer = Pointer(4, torch.arange(3))
    with torch.no_grad():
        pointer.gate.weight.zero_()
        pointer.gate.bias.fill_(40.0)
    source = pointer.read(torch.randn(1, 4), torch.tensor([2]), [1])
    found = pointer(torch.randn(1, 4), torch.tensor([[60.0, 0.0, 0.0]]), [1], source)
    found[0, 2].backward()
    assert abs(float(pointer.gate.bias.grad) + 1) < 1e-3


def test_result_does_not_depend_on_batch_mates() -> None:
    head = copier().eval()
    output = head(head.collate(PAIRS))
    rows = torch.split(output.logits, output.offsets.diff().tolist())
    for example, own in zip(PAIRS, rows, strict=True):
        torch.testing.assert_close(head(head.collate([example])).logits, own)


@torch.no_grad()
def test_step_by_step_equals_one_pass() -> None:
    head = copier().eval()
    batch = head.collate(PAIRS[:2])
    output = head(batch)
    state = head.decoder.start(output.hidden, batch.offsets)
    source = head.pointer.read(output.hidden, output.extras["copied"], batch.packing.lengths)
    stepper = DecoderStepper(
        head.decoder, head.target_embedding, head.output, state, head.pointer, source
    )
    stepper.select(torch.tensor([1, 1]), torch.tensor([1]))  # two hypotheses of the second
    begin = head.target_vectorizer.begin_id
    symbol = head.target_vectorizer.symbol("cd")
    for place, given in enumerate([begin, symbol, symbol]):
        found = stepper.step(torch.full((2,), given))
        expected = output.logits[int(output.offsets[1]) + place].expand(2, -1)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"width": 3}, {"temperature": 0.5}])
def test_outputs_are_the_same_alone_and_together(settings: dict[str, Any]) -> None:
    head = copier()
    train(head, PAIRS, 20)
    raw = [example.source for example in PAIRS]
    together = head.decode(*encoded(head, PAIRS), **settings)
    alone = [head.decode(*encoded(head, [example]), **settings)[0] for example in PAIRS]
    assert together == alone
    assert len(head.predict(raw, **settings)) == len(raw)


def test_scores_are_those_of_one_pass() -> None:
    head = copier()
    train(head, PAIRS, 10)
    vectorizer = head.target_vectorizer
    output, batch = encoded(head, PAIRS)
    for place, ranked in enumerate(head.decode(output, batch, width=3, n_best=2)):
        for one in ranked:
            ids = [*vectorizer.encode(one["output"]), *[vectorizer.end_id] * one["finished"]]
            example = head.collate([PAIRS[place]])
            target = vectorizer.join([torch.tensor(ids[: len(one["output"])], dtype=torch.int64)])
            with torch.no_grad():
                rows = head(example.replace(targets=target)).logits[: len(ids)]
            expected = float(rows[torch.arange(len(ids)), ids].sum())
            assert one["score"] == pytest.approx(expected, abs=1e-4)


def encoded(head: Any, examples: list[Example]) -> tuple[Any, SequenceBatch]:
    with torch.no_grad():
        output = head.eval()(head.collate(examples))
    return output, output.batch


def test_words_seen_only_once_as_targets_are_copied() -> None:
    words = [f"w{i}" for i in range(30)]
    lists = [[words[(7 * i + j) % 30] for j in (0, 3, 11)] for i in range(12)]
    seen = [Example(["x", *some, "y"], some[:1], str(i)) for i, some in enumerate(lists)]
    vocabulary = [Example(words, words[:5], "all"), Example(words, words, "targets")]
    scores = {}
    for copy in (False, True):
        torch.manual_seed(0)
        head = Seq2Seq(
            TextFrontEnd(character_dim=0, dropout=0.0),
            Encoder(16, 1, 2, dropout=0.0),
            decoder(),
            target_units="token",
            copy=copy,
            warmup_steps=0,
            max_length=3,
        )
        build_on(head, [*seen, *vocabulary])
        train(head, seen, 120)
        fresh = [["x", words[i], words[(i + 9) % 30], words[(i + 4) % 30], "y"] for i in range(30)]
        found = head.predict(fresh)
        scores[copy] = sum(one == some[1:2] for one, some in zip(found, fresh, strict=True))
    assert scores[True] >= 2 * scores[False] + 5


def test_nodes_are_copied_by_their_last_category() -> None:
    def graph(*names: str) -> seqattn.Graph:
        table = np.array([["kind", name] for name in names], dtype=object)
        return plain(len(names), categories=table)

    examples = [Example(graph("x", "ab"), ["ab"], "0"), Example(graph("cd"), ["cd"], "1")]
    head = copier(GraphFrontEnd(degree=True, dropout=0.0), examples, position="none")
    output, _ = encoded(head, [examples[0], Example(graph("new", "cd"), ["cd"], "2")])
    symbol = head.target_vectorizer.symbol
    assert output.extras["copied"].tolist() == [-1, symbol("ab"), -1, symbol("cd")]


def test_characters_are_copied() -> None:
    head = writer(copy=True)
    output, batch = encoded(head, [Example("caz", "zac", "0")])
    copied = [head.target_vectorizer.symbol(one) for one in "ca"]
    assert output.extras["copied"].tolist() == [*copied, -1]
    assert isinstance(head.decode(output, batch)[0], str)


def test_checkpoint_copies_too(tmp_path: Path) -> None:
    head = copier()
    runner = trainer()
    runner.fit(head, loader(head, PAIRS))
    path = tmp_path / "copier.ckpt"
    runner.save_checkpoint(path)
    loaded = seqattn.load(str(path))
    raw = [example.source for example in PAIRS]
    assert loaded.pointer is not None
    assert loaded.predict(raw, n_best=2, width=2) == head.predict(raw, n_best=2, width=2)


def test_every_weight_has_a_gradient_where_nothing_can_be_copied() -> None:
    head = copier().train()
    for examples in ([], [PAIRS[2]], [PAIRS[3]]):
        head.zero_grad()
        total, _ = head.step(head.collate(examples), "train").sums()
        total.backward()
        assert all(weight.grad is not None for weight in head.pointer.parameters())
        assert all(bool(weight.grad.isfinite().all()) for weight in head.pointer.parameters())


@pytest.mark.parametrize(
    ("frontend", "source"),
    [
        (FeatureFrontEnd(), np.ones((2, 3), dtype=np.float32)),
        (GraphFrontEnd(), plain(2)),
        (TextFrontEnd(units="subword"), "a cat"),
        (TextFrontEnd(units="character", token_length=1), ["abc", "bcd"]),
        (
            GraphFrontEnd(virtual_node=True),
            plain(1, categories=np.array([["a"]], dtype=object)),
        ),
    ],
)
def test_front_end_that_spells_nothing_is_refused(frontend: Any, source: Any) -> None:
    with pytest.raises(ValueError, match="copy needs a front-end whose positions spell something"):
        copier(frontend, [Example(source, ["a"], "0")])


def test_positions_that_are_not_those_of_the_source_are_refused() -> None:
    pointer = Pointer(4, torch.arange(3))
    with pytest.raises(ValueError, match="copy needs a position .* got 2 for 3"):
        pointer.read(torch.randn(2, 4), torch.arange(3), [2])


@pytest.mark.parametrize(
    ("frontend", "units"),
    [
        (TextFrontEnd(lowercase=True, character_dim=0), "token"),
        (TextFrontEnd(min_count=9, character_dim=0), "token"),
        (TextFrontEnd(character_dim=0), "character"),
    ],
)
def test_vocabularies_without_a_common_symbol_are_refused(frontend: Any, units: Any) -> None:
    head = Seq2Seq(frontend, Encoder(16, 1, 2), decoder(), target_units=units, copy=True)
    with pytest.raises(ValueError, match="copy needs a symbol that both sources and targets have"):
        build_on(head, [Example("AB CD", "AB", "0")])


@pytest.mark.parametrize(
    "arguments",
    [
        {"one_boundary": True},
        {"label_smoothing": 0.1},
        {"layer": 0},
        {"layer": "mix"},
        {"ctc_weight": 0.3},
        {"width": 3, "length_penalty": 1.0},
    ],
)
@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
def test_copying_goes_with_all_else(arguments: dict[str, Any], precision: torch.dtype) -> None:
    head = Seq2Seq(
        TextFrontEnd(character_dim=0, begin=True, word_dropout=0.1),
        Encoder(16, 1, 2),
        decoder(),
        target_units="token",
        copy=True,
        max_length=4,
        **arguments,
    )
    examples = [Example("x ab y cd", "ab", "0"), Example("cd x", "cd ab", "1")]
    build_on(head, examples)
    if precision is torch.float64:
        head.double()
    with torch.autocast("cpu", enabled=precision is torch.bfloat16):
        total, _ = head.train().step(head.collate(examples), "train").sums()
    total.backward()
    assert bool(total.isfinite())
    assert bool(head.pointer.query.weight.grad.abs().sum() > 0)
    found = head.eval().predict([example.source for example in examples], n_best=1)
    assert all(one[0]["score"] <= 0 for one in found)


def test_copy_needs_a_decoder() -> None:
    with pytest.raises(ValueError, match="ctc_weight and copy need a decoder, got None"):
        reader(copy=True)


def test_positions_spell_nothing_unless_a_front_end_says_so() -> None:
    batch = SequenceBatch.from_list([torch.ones(2, 3), torch.ones(1, 3)])
    assert FeatureFrontEnd().spell(batch).tolist() == [-1, -1, -1]
    assert FeatureFrontEnd().spellings == []
