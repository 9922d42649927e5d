from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from seqattn import DataError, Example, LanguageModel
from tests.heads.small_heads import (
    build_on,
    encoder,
    fit,
    frontend,
    language_model,
    loader,
    tagger,
    trainer,
)

TEXTS = [Example(text, key=str(i)) for i, text in enumerate(["abcab", "ba", "", "cabba"])]


def model(**arguments: Any) -> Any:
    return build_on(language_model(**arguments), TEXTS).eval()


def words(**arguments: Any) -> Any:
    """A causal model over words and their characters."""
    head = LanguageModel(frontend(begin=True), encoder(pattern="causal"), **arguments)
    texts = ["the cat sat", "a cat", "the mat sat on a cat"]
    return build_on(head, [Example(text) for text in texts]).eval()


def test_causal_target_is_the_next_symbol_and_the_end_after_the_last() -> None:
    head = model()
    batch = head.collate([Example("abc"), Example("")])
    names = [head.labels[number] for number in batch.targets]
    assert names == ["a", "b", "c", "<end>", "<end>"]
    assert [head.labels[number] for number in batch.values[:, 0]] == [
        "<begin>",
        "a",
        "b",
        "c",
        "<begin>",
    ]


def test_first_symbol_is_not_predicted_without_a_begin() -> None:
    head = LanguageModel(frontend(units="character"), encoder(pattern="causal"))
    build_on(head, TEXTS)
    batch = head.collate([Example("abc"), Example("")])
    assert [head.labels[number] for number in batch.targets] == ["b", "c", "<end>"]


def uniform(head: Any) -> None:
    """Make every symbol equally likely."""
    torch.nn.init.zeros_(head.output.weight)
    torch.nn.init.zeros_(head.output.bias)


def test_perplexity_and_bits_per_character_by_hand() -> None:
    head = model()
    uniform(head)
    found = trainer().validate(head, loader(head, TEXTS), verbose=False)[0]
    size = len(head.labels)
    symbols, characters = (6 + 3 + 1 + 6), (5 + 2 + 0 + 5)  # the end is predicted, not read
    assert found["val/perplexity"] == pytest.approx(size, rel=1e-5)
    assert found["val/loss"] == pytest.approx(math.log(size), rel=1e-5)
    expected = math.log2(size) * symbols / characters
    assert found["val/bits_per_character"] == pytest.approx(expected, rel=1e-5)
    assert head.monitor == ("val/perplexity", "min")


def test_metrics_are_without_smoothing() -> None:
    head = model(label_smoothing=0.3)
    plain = model()
    plain.load_state_dict(head.state_dict())
    smooth, sharp = (
        trainer().validate(h, loader(h, TEXTS), verbose=False)[0] for h in (head, plain)
    )
    assert smooth["val/perplexity"] == pytest.approx(sharp["val/perplexity"])
    assert smooth["val/loss"] != sharp["val/loss"]


def test_one_pass_equals_every_prefix_alone() -> None:
    head = model().double()
    batch = head.collate([Example("abcab")])
    full = head(batch).logits
    for end in range(6):
        prefix = head(head.collate([Example("abcab"[:end])])).logits
        torch.testing.assert_close(full[: end + 1], prefix, rtol=0, atol=1e-12)


def masked_shares(head: Any, batch: Any) -> list[float]:
    """Parts of the positions that are predicted; of those, masked, kept, replaced."""
    symbols = batch.values[:, 0]
    hidden, predicted = head._mask(batch, symbols)
    now = hidden.values[:, 0]
    assert torch.equal(now[~predicted], symbols[~predicted])
    masked = (now == head.symbol_source.mask_id) & predicted
    kept = (now == symbols) & predicted
    count = predicted.sum()
    rest = count - masked.sum() - kept.sum()
    return [float(count / len(now)), *(float(n / count) for n in (masked.sum(), kept.sum(), rest))]


@pytest.mark.parametrize("training", [True, False])
def test_masking_has_berts_shares(training: bool) -> None:
    alphabet = "".join(chr(97 + i % 26) + chr(65 + i * 7 % 26) for i in range(200))
    texts = [Example(alphabet[i:] + alphabet[:i]) for i in range(0, 400, 4)]
    head = build_on(language_model(objective="masked"), texts).train(training)
    found = masked_shares(head, head.collate(texts))  # 40,000 positions
    size = len(head.labels)  # one draw of `size` gives the symbol itself
    expected = [0.15, 0.8, 0.1 + 0.1 / size, 0.1 - 0.1 / size]
    assert found[0] == pytest.approx(expected[0], abs=0.01)
    assert found[1:] == pytest.approx(expected[1:], abs=0.03)


def test_only_predicted_symbols_weigh_in_the_masked_loss() -> None:
    head = model(objective="masked")
    batch = head.collate(TEXTS)
    output = head(batch)
    loss = head.loss(output, batch)
    assert torch.equal(loss.weight > 0, output.extras["predicted"])
    expected = F.cross_entropy(output.logits, batch.targets, reduction="none")
    torch.testing.assert_close(loss.values, expected)


def test_masked_evaluation_is_fixed_and_independent_of_batch_mates() -> None:
    head = model(objective="masked")
    together = head._mask(head.collate(TEXTS), head.collate(TEXTS).values[:, 0])[0].values
    alone = [
        head._mask(batch, batch.values[:, 0])[0].values
        for batch in (head.collate([example]) for example in TEXTS)
    ]
    assert torch.equal(together, torch.cat(alone))


def test_masked_training_draws_anew() -> None:
    head = model(objective="masked").train()
    batch = head.collate([Example("abc" * 100)])
    one, two = (head._mask(batch, batch.values[:, 0])[1] for _ in range(2))
    assert not torch.equal(one, two)


def test_begin_is_never_to_be_predicted_by_a_masked_model() -> None:
    head = LanguageModel(frontend(units="character", begin=True), encoder(), objective="masked")
    build_on(head, TEXTS).train()
    batch = head.collate([Example("")] * 500)
    assert not head._mask(batch, batch.values[:, 0])[1].any()


def test_a_masked_model_hides_nothing_when_it_predicts() -> None:
    head = model(objective="masked")
    seen: list[Any] = []
    head.encoder.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    assert head.predict(["abc" * 20]) == ["abc" * 20]
    expected = head.frontend(head.collate([Example("abc" * 20)])).values
    torch.testing.assert_close(seen[0], expected)


def continue_slowly(head: Any, prompt: str, max_length: int, join: str = "") -> str:
    """The argmax of full passes, one for each symbol."""
    text: list[str] = []
    for _ in range(max_length):
        batch = head.collate([Example(prompt + join + join.join(text) if text else prompt)])
        best = int(head(batch).logits[-1].argmax())
        if best == head.symbol_source.end_id:
            break
        text.append(head.labels[best])
    return join.join(text)


def test_greedy_continuation_is_the_argmax_of_full_passes() -> None:
    head = model()
    with torch.no_grad():
        head.output.bias[[0, 1, 3, 4]] = -9  # special symbols have no text
    prompts = ["abc", "", "c", "abcabcab"]
    expected = [continue_slowly(head, prompt, 6) for prompt in prompts]
    assert any(expected)
    assert head.predict(prompts, max_length=6) == expected
    assert [head.predict([prompt], max_length=6)[0] for prompt in prompts] == expected


def test_continuation_reads_the_prompts_characters_when_its_words_are_unknown() -> None:
    head = words()
    with torch.no_grad():
        head.frontend.characters.kernel.mul_(8)  # let spelling matter
        head.output.bias[:5] = -9  # only words
    prompts = ["the dog", "xyzzy", "Cat Mat the"]
    expected = [continue_slowly(head, prompt, 4, " ") for prompt in prompts]
    assert head.predict(prompts, max_length=4) == expected


def test_sampling_is_the_seeds_and_its_own_sequences_matter() -> None:
    head = model()
    uniform(head)
    settings: dict[str, Any] = {"temperature": 1.0, "max_length": 12}
    prompts = ["abc", "a", "", "abc"]
    first = head.predict(prompts, seed=1, **settings)
    assert head.predict(prompts, seed=1, **settings) == first
    assert head.predict(prompts, seed=1, batch_tokens=4, **settings) == first
    assert head.predict(prompts[:1], seed=1, **settings) == first[:1]
    assert head.predict(prompts, seed=2, **settings) != first
    assert first[0] != first[3]  # the same prompt twice is two samples


def test_top_k_of_one_is_greedy() -> None:
    head = model()
    assert head.predict(["ab"], temperature=1.0, top_k=1) == head.predict(["ab"])


def only_letters(head: Any) -> Any:
    """Let a head write the end and letters only, since special symbols have no text."""
    with torch.no_grad():
        head.output.bias[[0, 1, 3, 4]] = -30
    return head


def test_beam_search_continues_prompts_of_any_lengths() -> None:
    head = only_letters(model()).double()
    prompts = ["abc", "", "c", "bca", "abcabcab"]
    settings: dict[str, Any] = {"width": 4, "max_length": 5, "n_best": 2}
    found = head.predict(prompts, **settings)
    for prompt, best in zip(prompts, found, strict=True):
        alone = head.predict([prompt], **settings)[0]
        assert [one["output"] for one in alone] == [one["output"] for one in best]
        assert [set(one) for one in best] == [{"output", "score", "finished"}] * 2
        for one in best:
            batch = head.collate([Example(prompt + one["output"])])
            log_probs = head(batch).logits.detach().log_softmax(-1)[len(prompt) :]
            ids = [*batch.values[len(prompt) + 1 :, 0].tolist(), head.symbol_source.end_id]
            steps = len(one["output"]) + one["finished"]
            expected = sum(float(log_probs[i, ids[i]]) for i in range(steps))
            assert one["score"] == pytest.approx(expected)
    assert head.predict(prompts, width=4, max_length=5) == [best[0]["output"] for best in found]


def test_beam_search_reads_the_prompts_characters_when_its_words_are_unknown() -> None:
    head = words()
    with torch.no_grad():
        head.frontend.characters.kernel.mul_(8)
        head.output.bias[:5] = -9
    prompts = ["the dog", "xyzzy", "Cat Mat the"]
    greedy = head.predict(prompts, max_length=1)
    assert head.predict(prompts, max_length=1, width=2) == greedy


def test_a_continuation_has_min_length_and_says_whether_it_ended() -> None:
    head = only_letters(model())
    with torch.no_grad():
        head.output.bias[head.symbol_source.end_id] = 30.0
    assert head.predict(["ab"], n_best=1)[0][0]["output"] == ""
    assert head.predict(["ab"], n_best=1)[0][0]["finished"]
    for width in (1, 3):
        found = head.predict(["ab"], n_best=1, width=width, min_length=2, max_length=2)[0][0]
        assert (len(found["output"]), found["finished"]) == (2, False)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"width": 2, "temperature": 1.0}, "width must be 1 with a temperature above 0, got 2"),
        ({"n_best": 2}, "n_best must lie in 1 … width = 1, got 2"),
        ({"width": 2, "n_best": 3}, "n_best must lie in 1 … width = 2, got 3"),
        ({"width": 99}, "width must be at most the vocabulary's size, 8, got 99"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        model().predict(["ab"], **settings)


def test_an_empty_prompt_is_refused_without_a_begin() -> None:
    head = LanguageModel(frontend(units="character"), encoder(pattern="causal"))
    build_on(head, TEXTS)
    with pytest.raises(DataError, match="example '1': a prompt must hold at least one symbol"):
        head.predict(["a", ""])


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="LanguageModel has no decode setting 'temprature'"):
        model().predict(["a"], temprature=1.0)


@pytest.mark.parametrize(
    ("pattern", "objective", "rule"),
    [
        ("full", "causal", "'causal' needs causal patterns in every layer, got Full in layer 0"),
        (["causal", "full"], "causal", "got Full in layer 1"),
        ("causal", "masked", "'masked' needs patterns that look both ways, got a causal one"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(pattern: Any, objective: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        LanguageModel(frontend(), encoder(pattern=pattern), objective=objective)


@pytest.mark.parametrize("layer", [0, 1, "mix"])
def test_a_causal_model_reads_the_last_layer_only(layer: Any) -> None:
    with pytest.raises(ValueError, match=f"layer must be 'last' for objective 'causal'.*{layer!r}"):
        language_model(layer=layer)


def test_tied_output_is_the_embedding_and_is_trained_once() -> None:
    head = model(tie=True)
    assert head.output.weight is head.frontend.symbol_embedding
    fit(head, TEXTS)
    assert head.output.weight is head.frontend.symbol_embedding


def test_tying_is_refused_when_there_is_no_table() -> None:
    head = LanguageModel(
        frontend(units="character", embedding="one_hot"), encoder(pattern="causal"), tie=True
    )
    with pytest.raises(ValueError, match="tie needs a learned symbol embedding"):
        build_on(head, TEXTS)


def test_a_front_end_without_symbols_is_refused() -> None:
    other = frontend()
    other.vectorizer = tagger().target_vectorizer  # type: ignore[assignment]
    with pytest.raises(ValueError, match="needs a front-end of symbols, got TextFrontEnd"):
        LanguageModel(other, encoder(pattern="causal"))


def test_it_learns_to_continue() -> None:
    head = language_model(learning_rate=0.01)
    fit(head, [Example("abcabcabc")] * 4, max_epochs=40)
    assert head.predict(["abcab"], max_length=4) == ["cabc"]


def test_an_unknown_character_is_one_character() -> None:
    head = model()
    uniform(head)
    found = trainer().validate(head, loader(head, [Example("a?")]), verbose=False)[0]
    expected = math.log2(len(head.labels)) * 3 / 2
    assert found["val/bits_per_character"] == pytest.approx(expected, rel=1e-5)
