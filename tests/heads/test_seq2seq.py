"""A sequence from a sequence with a decoder: training, evaluation and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection, SumMetric

import seqattn
from seqattn import Example, Graph, GraphFrontEnd, Seq2Seq
from seqattn.checkpoint import SavedHead
from seqattn.errors import DataError
from seqattn.heads.teacher import TeacherForcing
from seqattn.heads.writing import DecoderStepper
from seqattn.metrics import ErrorRate
from seqattn.metrics.sequences import ExactMatch
from tests.heads.small_heads import build_on, encoder, frontend, loader, trainer
from tests.heads.small_seq2seq import TEXTS, decoder, pairs, train, unbuilt, writer


def end_of(head: Any) -> int:
    found = head.target_vectorizer.end_id
    assert isinstance(found, int)
    return found


# --- training -----------------------------------------------------------------------------------


def test_head_learns_to_write_backwards() -> None:
    head = writer()
    train(head, pairs(), 80)
    assert head.predict(list(TEXTS)) == [text[::-1] for text in TEXTS]
    assert head.predict(list(TEXTS), width=3) == [text[::-1] for text in TEXTS]


def test_loss_is_the_mean_cross_entropy_of_symbols_and_end() -> None:
    head = writer()
    batch = head.collate(pairs())
    output = head(batch)
    ids = {text: head.target_vectorizer.encode(text[::-1]) for text in TEXTS}
    wanted = torch.tensor([number for text in TEXTS for number in (*ids[text], end_of(head))])
    assert output.offsets.tolist() == [0, 3, 5, 9, 10, 14]
    loss = head.loss(output, output.batch)
    log_probs = output.logits.log_softmax(-1)
    torch.testing.assert_close(loss.values, -log_probs[torch.arange(14), wanted])
    assert loss.weight.tolist() == [1.0] * 14


def test_label_smoothing_spreads_over_all_symbols() -> None:
    head = writer(label_smoothing=0.1)
    output = head(head.collate(pairs()))
    log_probs = output.logits.log_softmax(-1)
    gold = -log_probs[torch.arange(14), output.extras["targets"]]
    wanted = 0.9 * gold - 0.1 * log_probs.mean(-1)
    torch.testing.assert_close(head.loss(output, output.batch).values, wanted)


@pytest.mark.parametrize(
    "slots",
    [
        {},
        {"norm": "post", "position": "learned", "embedding_norm": True},
        {"mixer": "recurrent", "position": "none"},
        {"memory_layers": "mix"},
        {"memory_layers": "same_depth"},
        {"memory_layers": [0, -1]},
    ],
)
def test_teacher_forcing_equals_steps(slots: dict[str, Any]) -> None:
    head = writer(decoder(**slots)).eval().double()
    output = head(head.collate(pairs()[:1]))
    vectorizer = head.target_vectorizer
    taught = TeacherForcing.of(head.collate(pairs()[:1]), vectorizer.begin_id, vectorizer.end_id)
    layers = output.extras.get("layers")
    memory = output.hidden if layers is None else list(layers)
    state = head.decoder.start(memory, output.batch.offsets)
    stepper = DecoderStepper(head.decoder, head.target_embedding, head.output, state)
    stepped = torch.cat([stepper.step(symbol[None]) for symbol in taught.inputs])
    torch.testing.assert_close(stepped, output.logits, atol=1e-12, rtol=0)


def test_sequences_do_not_depend_on_batch_mates() -> None:
    head = writer().eval().double()
    together = head(head.collate(pairs())).logits
    alone = torch.cat([head(head.collate([pair])).logits for pair in pairs()])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)


def test_embedding_is_the_output_layer_when_tied() -> None:
    tied, untied = writer(), writer(tie=False)
    assert tied.output.weight is tied.target_embedding.table
    assert untied.output.weight is not untied.target_embedding.table


def test_mix_of_layers_is_learned() -> None:
    head = writer(decoder(memory_layers="mix"))
    before = [parameter.clone() for parameter in head.decoder.mixes.parameters()]
    train(head, pairs(), 2)
    after = list(head.decoder.mixes.parameters())
    assert not any(torch.equal(*both) for both in zip(before, after, strict=True))


def test_empty_batch_has_no_loss_and_a_gradient() -> None:
    head = writer()
    loss = head.step(head.collate([]), "train")
    assert loss.values.shape == (0,)
    loss.sums()[0].backward()
    head.step(head.collate([]), "val")


def test_begin_and_end_may_be_one_symbol() -> None:
    head = writer(one_boundary=True)
    vectorizer = head.target_vectorizer
    assert vectorizer.begin_id == vectorizer.end_id
    train(head, pairs()[:2], 30)
    assert head.predict(["ab", "c"], width=2) == ["ba", "c"]


# --- what does not count ------------------------------------------------------------------------


def test_unseen_symbol_weighs_nothing_and_is_wrong() -> None:
    head = writer().eval()
    batch = head.collate([Example("ab", "zb", "new")])
    output = head(batch)
    assert output.extras["targets"].tolist()[0] == -1
    assert head.loss(output, output.batch).weight.tolist() == [0.0, 1.0, 1.0]
    head.step(batch, "test")
    found = head.metrics["test_metrics"].compute()
    assert found["exact_match"] == 0
    assert found["token_error_rate"] >= 0.5
    assert int(head.unseen["test_unseen"].compute()) == 1


def test_unseen_symbol_is_refused_with_its_key_when_asked_for() -> None:
    head = writer(unseen_labels="error")
    with pytest.raises(DataError, match="'new': a target's symbols must be those of .* got 'z'"):
        head.collate([Example("ab", "bz", "new")])


def test_special_symbols_are_never_written() -> None:
    head = writer(decode_examples=0)
    with torch.no_grad():
        head.output.bias[:5] = 100.0
        head.output.bias[end_of(head)] = 0.0
    found = head.predict(["ab", "c"], width=4, n_best=4, max_length=4)
    symbols = {symbol for ranked in found for one in ranked for symbol in one["output"]}
    assert symbols <= set("abc")


def test_skipped_sequences_count_in_no_loss_and_no_metric() -> None:
    head = writer().eval()
    batch = head.collate(pairs()[:2])
    skipped = batch.replace(labelled=torch.tensor([True, True, False]))
    loss = head.step(skipped, "test")
    assert loss.weight.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]
    found = {name: metric.compute() for name, metric in head.metrics["test_metrics"].items()}
    alone = writer().eval()
    alone.load_state_dict(head.state_dict())
    alone.step(alone.collate(pairs()[:1]), "test")
    for name, metric in alone.metrics["test_metrics"].items():
        torch.testing.assert_close(found[name], metric.compute(), equal_nan=True)


def test_batch_without_targets_has_no_loss() -> None:
    head = writer()
    batch = head.collate([Example("ab")])
    output = head(batch)
    assert output.logits.shape == (0, head.num_labels)
    with pytest.raises(ValueError, match="needs a target sequence for every source, got none"):
        TeacherForcing.of(batch, 1, 2)


# --- odd input ----------------------------------------------------------------------------------


def test_empty_sources_and_unknown_characters_are_written_for() -> None:
    head = writer()
    train(head, [*pairs()[:2], Example("", "", "empty")], 30)
    found = head.predict(["", "äöü", "ab"])
    assert found[0] == ""
    assert set(found[1]) <= set("abc")
    assert found == [head.predict([text])[0] for text in ("", "äöü", "ab")]


def test_empty_target_has_the_loss_of_its_end_and_counts_in_every_metric() -> None:
    names = ["exact_match", "token_error_rate", "character_error_rate", "bleu", "chrf", "rougeL"]
    head = writer(metrics=names).eval()
    batch = head.collate([Example("ab", "", "empty")])
    output = head(batch)
    assert output.extras["targets"].tolist() == [end_of(head)]
    assert bool(head.loss(output, output.batch).values.isfinite().all())
    with torch.no_grad():
        head.output.bias[end_of(head)] = 100.0
    assert head.predict(["ab"]) == [""]
    head.step(batch, "test")
    found = head.metrics["test_metrics"].compute()
    assert float(found["exact_match"]) == 1
    assert float(found["gap"]) == 0


def test_source_longer_than_the_position_table_is_refused_with_its_key() -> None:
    own = encoder(position="learned", max_length=4)
    head = build_on(
        Seq2Seq(frontend(units="character"), own, decoder(), target_units="character"), pairs()
    )
    with pytest.raises(DataError, match="'0': length must be at most .* max_length = 4.* got 5"):
        head.predict(["abcab"])


def test_target_longer_than_the_position_table_is_refused_with_its_key() -> None:
    head = writer(decoder(position="learned", max_length=4))
    assert len(head.collate([Example("a", "abc")]).targets.values) == 3
    with pytest.raises(DataError, match="'long': the target must have fewer symbols .* 4, got 4"):
        head.collate([Example("a", "abca", "long")])


def test_writing_ends_where_the_position_table_does() -> None:
    head = writer(decoder(position="learned", max_length=4), max_length=50)
    with torch.no_grad():
        head.output.bias[end_of(head)] = -100.0
    (ranked,) = head.predict(["ab"], n_best=1)
    assert len(ranked[0]["output"]) == 4
    assert not ranked[0]["finished"]


def test_target_of_another_kind_is_refused() -> None:
    with pytest.raises(DataError, match="'0': the target must be a string or a list of tokens"):
        writer().collate([Example("a", 5)])


def test_edges_do_not_matter_to_a_pattern_that_ignores_them() -> None:
    nodes = np.arange(3, dtype=np.float32)[:, None]
    joined = Graph(3, np.array([[0, 1], [1, 2]]), features=nodes)
    apart = Graph(3, np.empty((2, 0), dtype=np.int64), features=nodes)
    made = Seq2Seq(GraphFrontEnd(dropout=0.0), encoder(position="none"), decoder(), warmup_steps=0)
    head = build_on(made, [Example(joined, "a b"), Example(apart, "b")]).eval()
    one, other = (head(head.collate([Example(graph, "a b")])) for graph in (joined, apart))
    assert one.batch.edge_index is not None
    torch.testing.assert_close(one.logits, other.logits)


# --- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"made": decoder(dim=8)}, "dim must be the same .* got 16 and 8"),
        (
            {"made": decoder(autoregressive=False, pattern="full")},
            "needs a decoder with autoregressive=True, got False",
        ),
        (
            {"made": decoder(memory_layers="mix"), "layer": 1},
            r"layer must be 'last' .*memory_layers='mix'.* got 1",
        ),
        ({"target_units": "byte"}, "target_units must be one of 'word', .* got 'byte'"),
        ({"unseen_labels": "skip"}, "unseen_labels must be one of 'wrong', 'error', got 'skip'"),
        ({"decode_examples": -1}, "decode_examples must be a whole number from 0 on, got -1"),
        ({"metrics": ["blue"]}, "metrics must be some of exact_match, .* got 'blue'"),
        (
            {"metrics": ["bleu"], "decode_examples": 0},
            r"metrics need decode_examples above 0, got \['bleu'\] and 0",
        ),
        ({"monitor": "chrf"}, "monitor must be one of loss, accuracy, exact_match.* got 'chrf'"),
        ({"width": 0}, "width must be at least 1, got 0"),
    ],
)
def test_wrong_argument_is_refused(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        unbuilt(arguments.pop("made", None), **arguments)


def test_decoder_must_be_one() -> None:
    wrong: Any = encoder()
    with pytest.raises(TypeError, match="decoder must be a Decoder or None, got Encoder"):
        Seq2Seq(frontend(), encoder(), wrong)


@pytest.mark.parametrize(
    ("arguments", "monitor"),
    [
        ({}, ("val/token_error_rate", "min")),
        ({"metrics": ["chrf", "bleu"]}, ("val/chrf", "max")),
        ({"monitor": "exact_match"}, ("val/exact_match", "max")),
        ({"monitor": "accuracy"}, ("val/accuracy", "max")),
        ({"monitor": "gap"}, ("val/gap", "min")),
        ({"decode_examples": 0}, ("val/loss", "min")),
    ],
)
def test_any_metric_can_be_monitored(arguments: dict[str, Any], monitor: Any) -> None:
    assert unbuilt(**arguments).monitor == monitor


class Timid(Seq2Seq):
    """Measures more: one metric should rise, one fall, and one says neither."""

    def build_metrics(self) -> MetricCollection:
        measured: dict[str, Any] = {"length": ExactMatch(), "surprise": ErrorRate("word")}
        metrics = super().build_metrics()
        metrics.add_metrics({**measured, "size": SumMetric()})
        return metrics


@pytest.mark.parametrize(("name", "mode"), [("length", "max"), ("surprise", "min")])
def test_metric_that_a_subclass_adds_can_be_monitored(name: str, mode: str) -> None:
    head = Timid(frontend(), encoder(), decoder(), monitor=name)
    assert head.monitor == (f"val/{name}", mode)


@pytest.mark.parametrize("name", ["size", "lenght"])
def test_unknown_metric_or_one_without_direction_is_refused(name: str) -> None:
    rule = f"monitor must be one of loss, accuracy, exact_match, .*length, surprise, got '{name}'"
    with pytest.raises(ValueError, match=rule):
        Timid(frontend(), encoder(), decoder(), monitor=name)


# --- evaluation ---------------------------------------------------------------------------------


def test_validation_gives_loss_and_all_metrics() -> None:
    names = [
        *("exact_match", "token_error_rate", "word_error_rate", "character_error_rate"),
        *("bleu", "chrf", "rouge1", "rougeL"),
    ]
    head = unbuilt(metrics=names)
    run = trainer()
    run.fit(head, loader(head, pairs()), loader(head, pairs()))
    names += ["loss", "accuracy", "gap"]
    validated = {name: float(run.callback_metrics[f"val/{name}"]) for name in names}
    (tested,) = run.test(head, loader(head, pairs()), verbose=False)
    for name, value in validated.items():
        assert tested[f"test/{name}"] == pytest.approx(value), name


def test_metrics_are_those_of_what_predict_gives() -> None:
    head = writer()
    train(head, pairs(), 25)
    (found,) = trainer().test(head, loader(head, pairs()), verbose=False)
    written = head.predict([pair.source for pair in pairs()])
    right = [one == pair.target for one, pair in zip(written, pairs(), strict=True)]
    assert 0 < sum(right) < 5
    assert found["test/exact_match"] == pytest.approx(sum(right) / 5)


def test_a_share_of_the_validation_examples_is_written_and_all_of_a_test() -> None:
    examples = [Example("ab", "ba", f"val:{number}") for number in range(40)]
    head = unbuilt(decode_examples=10)
    seen: dict[str, list[int]] = {"val": [], "test": []}
    run = trainer(max_epochs=2)
    original = Seq2Seq.stage_values

    class Counting(Seq2Seq):
        def stage_values(self, stage: Any) -> Any:
            counts = self.metrics[f"{stage}_metrics"]["exact_match"].counts
            seen[stage].append(int(counts[1]))
            return original(self, stage)

    head.__class__ = Counting
    run.fit(head, loader(head, examples), loader(head, examples, batch_size=7))
    run.test(head, loader(head, examples), verbose=False)
    first, second = seen["val"]
    assert first == second
    assert 3 <= first <= 20
    assert seen["test"] == [40]


def test_nothing_is_written_without_decode_examples() -> None:
    head = unbuilt(decode_examples=0)
    run = trainer()
    run.fit(head, loader(head, pairs()), loader(head, pairs()))
    assert {"val/loss", "val/accuracy"} <= run.callback_metrics.keys()
    assert "val/gap" not in run.callback_metrics


# --- checkpoints --------------------------------------------------------------------------------


def saved(head: Any, path: Path) -> Path:
    run = trainer()
    run.fit(head, loader(head, pairs()))
    run.save_checkpoint(path)
    return path


def test_checkpoint_holds_the_decode_settings(tmp_path: Path) -> None:
    head = unbuilt(width=3, length_penalty=0.7, max_length=5, min_length=1)
    found = seqattn.load(saved(head, tmp_path / "a.ckpt"))
    assert found.settings == head.settings
    assert found.predict(list(TEXTS), n_best=2) == head.eval().predict(list(TEXTS), n_best=2)


def test_checkpoint_goes_on_with_other_decode_settings_and_no_other_model(tmp_path: Path) -> None:
    read = SavedHead.read(saved(unbuilt(), tmp_path / "a.ckpt"))
    read.require_same_architecture(
        unbuilt(width=5, length_penalty=1.0, max_length=9, metrics=["bleu"]).spec
    )
    with pytest.raises(ValueError, match="model.decoder.depth: 1 .checkpoint: 2"):
        read.require_same_architecture(unbuilt(decoder(depth=1)).spec)
    with pytest.raises(ValueError, match="model.decoder.max_length: 9 .checkpoint: 1024"):
        read.require_same_architecture(unbuilt(decoder(max_length=9)).spec)


def test_checkpoint_from_before_an_argument_goes_on(tmp_path: Path) -> None:
    saved_head = SavedHead.read(saved(unbuilt(), tmp_path / "a.ckpt"))
    for name in ("copy", "ctc_weight"):
        del saved_head.spec["init_args"][name]
    del saved_head.spec["init_args"]["decoder"]["init_args"]["memory_layers"]
    saved_head.require_same_architecture(unbuilt().spec)
    with pytest.raises(ValueError, match="model.copy: True .checkpoint: False"):
        saved_head.require_same_architecture(unbuilt(copy=True).spec)
    with pytest.raises(ValueError, match="memory_layers: 'mix' .checkpoint: 'last'"):
        saved_head.require_same_architecture(unbuilt(decoder(memory_layers="mix")).spec)


def test_weights_are_taken_but_those_of_other_symbols(tmp_path: Path) -> None:
    path = saved(unbuilt(), tmp_path / "a.ckpt")
    old = seqattn.load(path)
    other = [Example(text, text.replace("a", "x"), str(i)) for i, text in enumerate(TEXTS)]
    head = unbuilt(init_from=str(path))
    run = trainer(max_steps=0)
    run.fit(head, loader(head, other))
    taken, given = (one.encoder.layers[0].feedforward.expand.weight for one in (head, old))
    assert torch.equal(taken, given)
    assert head.num_labels == old.num_labels
    assert not torch.equal(head.target_embedding.table, old.target_embedding.table)
    same = unbuilt(init_from=str(path))
    run = trainer(max_steps=0)
    run.fit(same, loader(same, pairs()))
    assert torch.equal(same.target_embedding.table, old.target_embedding.table)


@pytest.mark.parametrize(("letter", "is_taken"), [("a", True), ("x", False)])
def test_what_the_encoder_says_is_taken_of_the_same_symbols_only(
    tmp_path: Path, letter: str, is_taken: bool
) -> None:
    texts = ("ab", "ba")
    path, weights = tmp_path / "a.ckpt", []
    for init_from, own in ((None, "a"), (str(path), letter)):
        head = unbuilt(ctc_weight=0.5, init_from=init_from)
        run = trainer(max_steps=0)
        run.fit(head, loader(head, [Example(text, text.replace("a", own)) for text in texts]))
        run.save_checkpoint(path)
        weights.append(head.ctc_output.weight)
    assert torch.equal(*weights) is is_taken


# --- maps ---------------------------------------------------------------------------------------


def test_cross_maps_go_from_symbols_to_the_source() -> None:
    head = writer()
    (one,) = seqattn.attention_maps(head, ["ab"], where="cross", targets=["ba"])
    assert one.row_labels == ("b", "a", "END")
    assert one.column_labels == ("a", "b")
    torch.testing.assert_close(one.weights.sum(-1), torch.ones(2, 2, 3))
