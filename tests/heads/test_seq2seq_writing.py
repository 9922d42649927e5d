"""What a sequence head writes: settings, n-best, drawing, and outputs that do not end."""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import Any

import pytest
import torch

from seqattn.errors import DataError
from tests.heads.small_heads import loader, trainer
from tests.heads.small_seq2seq import TEXTS, pairs, train, writer


@cache
def taught() -> Any:
    """A head that knows its examples a little."""
    torch.manual_seed(0)
    head = writer()
    train(head, pairs(), 25)
    return head


@cache
def endless() -> Any:
    """A head that never ends."""
    torch.manual_seed(0)
    head = writer()
    with torch.no_grad():
        head.output.bias[head.target_vectorizer.end_id] = -1e4
    return head.eval()


def test_n_best_are_sorted_distinct_and_scored() -> None:
    for ranked in taught().predict(list(TEXTS), width=4, n_best=3):
        assert [set(one) for one in ranked] == [{"output", "score", "finished"}] * 3
        scores = [one["score"] for one in ranked]
        assert scores == sorted(scores, reverse=True)
        assert len({one["output"] for one in ranked}) == 3


def test_score_is_the_log_probability_of_the_output() -> None:
    head = taught()
    ((best,),) = head.predict(["bca"], n_best=1)
    batch = head.collate([pairs(["bca"])[0]])
    ids = [*head.target_vectorizer.encode(best["output"]), head.target_vectorizer.end_id]
    targets = head.target_vectorizer.join([torch.tensor(ids[:-1])])
    with torch.no_grad():
        log_probs = head(batch.replace(targets=targets)).logits.log_softmax(-1)
    wanted = float(log_probs[torch.arange(len(ids)), ids].sum())
    assert best["score"] == pytest.approx(wanted, abs=1e-5)
    ((penalised,),) = head.predict(["bca"], n_best=1, width=1, length_penalty=0.0)
    assert penalised == best


def test_greedy_outputs_are_those_of_full_passes() -> None:
    head = taught()
    vectorizer = head.target_vectorizer
    for text, found in zip(TEXTS, head.predict(list(TEXTS), width=1), strict=True):
        batch = head.collate([pairs([text])[0]])
        written: list[int] = []
        for _ in range(head.settings.max_length):
            target = vectorizer.join([torch.tensor(written, dtype=torch.int64)])
            with torch.no_grad():
                logits = head(batch.replace(targets=target)).logits[-1]
            logits[list(vectorizer.banned)] = -torch.inf
            if int(logits.argmax()) == vectorizer.end_id:
                break
            written.append(int(logits.argmax()))
        assert vectorizer.decode(written) == found


def test_outputs_do_not_depend_on_batch_mates() -> None:
    head = taught()
    for settings in ({}, {"width": 3}, {"temperature": 1.0, "seed": 4}):
        together = head.predict(["ab", "bca"], **settings)
        apart = head.predict(["ab", "bca"], batch_tokens=1, **settings)
        assert together == apart


def test_drawing_is_decided_by_seed_and_place() -> None:
    head = taught()
    drawn = [head.predict(["bca"] * 8, temperature=2.0, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert len(set(drawn[0])) > 1
    assert head.predict(["bca"], temperature=2.0, top_k=1, seed=9) == head.predict(["bca"])


def test_lengths_are_kept() -> None:
    head = taught()
    for width in (1, 3):
        found = head.predict(list(TEXTS), width=width, min_length=4, max_length=6)
        assert all(4 <= len(text) <= 6 for text in found)


def test_limit_grows_with_the_source() -> None:
    found = endless().predict(["ab", "abcab"], max_length=1, max_length_factor=2.0, n_best=1)
    assert [len(ranked[0]["output"]) for ranked in found] == [5, 11]


def test_penalty_favours_longer_outputs() -> None:
    head = taught()
    lengths = [
        sum(map(len, head.predict(list(TEXTS), width=8, length_penalty=penalty, max_length=12)))
        for penalty in (-4.0, 0.0, 4.0)
    ]
    assert lengths[0] <= lengths[1] <= lengths[2]
    assert lengths[0] < lengths[2]


@pytest.mark.parametrize("width", [1, 2])
def test_output_without_end_is_marked_and_warned_of_once(width: int) -> None:
    with pytest.warns(UserWarning, match="3 of 3 outputs reached max_length without END") as found:
        texts = endless().predict(["a", "b", "c"], width=width, batch_tokens=1, max_length=4)
    assert len(found) == 1
    assert [len(text) for text in texts] == [4, 4, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (ranked,) = endless().predict(["a"], width=width, n_best=1, max_length=4)
    assert ranked[0]["finished"] is False


def test_run_of_a_trainer_warns_too() -> None:
    head = endless()
    with pytest.warns(UserWarning, match="5 of 5 outputs reached max_length"):
        trainer().predict(head, loader(head, pairs()))


def test_not_even_one_symbol_is_written_where_none_may_be() -> None:
    head = writer(width=2)
    head.target_vectorizer.end_id = 7
    with torch.no_grad():
        head.output.bias.fill_(-math.inf)
        head.output.bias[7] = 0.0
    found = head.predict(["ab"], n_best=2, min_length=1)
    assert found == [[{"output": "", "score": -math.inf, "finished": False}]]


@pytest.mark.parametrize("settings", [{}, {"width": 2}, {"temperature": 1.0}])
def test_non_finite_scores_name_step_and_example(settings: dict[str, Any]) -> None:
    head = writer()
    with torch.no_grad():
        head.output.bias.fill_(math.nan)
    with pytest.raises(DataError, match="'0': logits must be finite, got nan at step 0"):
        head.predict(["ab"], **settings)
    with pytest.raises(DataError, match="'train:0': logits must be finite, got nan at step 0"):
        head.eval().step(head.collate(pairs()), "test")


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"width": 9}, "width must be at most the vocabulary's size, 8, got 9"),
        ({"width": 2, "n_best": 3}, "n_best must lie in 1 … width = 2, got 3"),
        ({"times": True}, "times need decoder=None .* got TextFrontEnd and decoder=Decoder"),
        ({"width": 2, "temperature": 1.0}, "a temperature draws one .* got 1.0 and 2"),
    ],
)
def test_wrong_setting_is_refused(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        taught().predict(["ab"], **settings)


def test_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="no decode setting 'beams'"):
        taught().predict(["ab"], beams=3)
