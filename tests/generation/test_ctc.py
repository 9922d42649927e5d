from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqattn import DataError
from seqattn.generation.ctc import (
    AlignedSymbol,
    ctc_align,
    ctc_beam,
    ctc_greedy,
    require_ctc_lengths,
)


def random_frames(seed: int, frames: int, size: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(frames, size, generator=generator, dtype=torch.float64)
    return logits.log_softmax(-1)


def spell(path: tuple[int, ...], blank: int = 0) -> tuple[int, ...]:
    joined = [symbol for symbol, _ in itertools.groupby(path)]
    return tuple(symbol for symbol in joined if symbol != blank)


def paths(log_probs: Tensor) -> dict[tuple[int, ...], float]:
    """The log-probability of every path."""
    rows = log_probs.tolist()
    return {
        path: sum(row[symbol] for row, symbol in zip(rows, path, strict=True))
        for path in itertools.product(range(log_probs.shape[1]), repeat=len(rows))
    }


def sums(log_probs: Tensor, blank: int = 0) -> list[tuple[float, list[int]]]:
    """The log-probability of every sequence, over all paths that spell it, the best first."""
    found: dict[tuple[int, ...], list[float]] = {}
    for path, score in paths(log_probs).items():
        found.setdefault(spell(path, blank), []).append(score)
    totals = [
        (float(torch.tensor(scores, dtype=torch.float64).logsumexp(0)), list(text))
        for text, scores in found.items()
    ]
    return sorted(totals, key=lambda pair: -pair[0])


def written(*ids: int, size: int = 4) -> Tensor:
    """Frames that are nearly sure of these ids."""
    return (8.0 * torch.nn.functional.one_hot(torch.tensor(ids), size)).log_softmax(-1)


def test_greedy_joins_repeats_and_removes_blanks() -> None:
    frames = torch.cat([written(0, 1, 1, 0, 1, 2, 2, 0), written(2), written(0, 0)])
    found = ctc_greedy(frames, [8, 0, 1, 2])
    assert [h.symbols for [h] in found] == [[1, 1, 2], [], [2], []]
    assert found[0][0].score == pytest.approx(8 * float(written(1)[0, 1]))
    assert found[1][0].score == 0


def test_blank_may_be_any_id() -> None:
    frames = written(3, 0, 0, 3, 0, 3)
    assert ctc_greedy(frames, [6], blank=3)[0][0].symbols == [0, 0]
    assert ctc_beam(frames, [6], blank=3, width=4)[0][0].symbols == [0, 0]
    assert [a.first for a in ctc_align(frames, [6], [[0, 0]], blank=3)[0]] == [1, 4]


@given(st.integers(0, 10_000), st.integers(0, 4), st.sampled_from([0, 2]))
def test_a_wide_enough_beam_sums_all_paths(seed: int, frames: int, blank: int) -> None:
    log_probs = random_frames(seed, frames, 3)
    expected = sums(log_probs, blank)
    found = ctc_beam(log_probs, [frames], blank, width=64, n_best=64)[0]
    assert [h.symbols for h in found] == [text for _, text in expected]
    assert [h.score for h in found] == pytest.approx([score for score, _ in expected])


@given(st.integers(0, 10_000), st.lists(st.integers(0, 9), max_size=5))
def test_a_sequence_alone_gives_what_it_gives_in_a_batch(seed: int, lengths: list[int]) -> None:
    log_probs = random_frames(seed, sum(lengths))
    together = ctc_beam(log_probs, lengths, width=4, n_best=3)
    pieces = log_probs.split(lengths) if lengths else []
    alone = [ctc_beam(piece, [len(piece)], width=4, n_best=3)[0] for piece in pieces]
    for one, other in zip(together, alone, strict=True):
        assert [h.symbols for h in one] == [h.symbols for h in other]
        assert [h.score for h in one] == pytest.approx([h.score for h in other])


@given(st.integers(0, 10_000), st.integers(1, 8))
def test_a_narrow_beam_gives_distinct_texts_with_at_most_their_probability(
    seed: int, width: int
) -> None:
    log_probs = random_frames(seed, 5, 3)
    expected = {tuple(text): score for score, text in sums(log_probs)}
    found = ctc_beam(log_probs, [5], width=width, n_best=width)[0]
    assert len({tuple(h.symbols) for h in found}) == len(found)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    assert all(h.score <= expected[tuple(h.symbols)] + 1e-9 for h in found)


def test_the_beam_finds_what_the_best_path_does_not() -> None:
    # Each frame: blank 0.4, 1 and 2 have 0.3. The best path is blank; of 9 paths 3 spell "1".
    frames = torch.tensor([[0.4, 0.3, 0.3]] * 2, dtype=torch.float64).log()
    assert ctc_greedy(frames, [2])[0][0].symbols == []
    best = ctc_beam(frames, [2], width=3)[0][0]
    assert best.symbols in ([1], [2])
    assert best.score == pytest.approx(float(torch.tensor(2 * 0.4 * 0.3 + 0.09).log()))


@given(st.integers(0, 10_000), st.lists(st.integers(1, 2), max_size=3), st.integers(0, 6))
def test_an_alignment_is_the_best_path_that_spells_the_target(
    seed: int, target: list[int], frames: int
) -> None:
    log_probs = random_frames(seed, frames, 3)
    spelling = {p: s for p, s in paths(log_probs).items() if spell(p) == tuple(target)}
    if not spelling:
        with pytest.raises(DataError, match="must not be longer than its frames"):
            ctc_align(log_probs, [frames], [target])
        return
    best = max(spelling, key=lambda path: spelling[path])
    found = ctc_align(log_probs, [frames], [target])[0]
    path = [0] * frames
    for aligned in found:
        for frame in range(aligned.first, aligned.last + 1):
            path[frame] = aligned.symbol
    assert tuple(path) == best
    assert [aligned.symbol for aligned in found] == target


def test_an_alignment_has_frames_and_confidence_by_hand() -> None:
    frames = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]).log()
    found = ctc_align(torch.cat([frames, frames]), [4, 4], [[1], [1, 1]])
    assert found[0] == [AlignedSymbol(1, 1, 2, pytest.approx(0.7))]
    # blank 1 blank 1: .9 .8 .4 .3 = .0864; 1 blank blank 1: .1 .2 .4 .3; 1 blank 1 blank: .0084
    assert found[1] == [
        AlignedSymbol(1, 1, 1, pytest.approx(0.8)),
        AlignedSymbol(1, 3, 3, pytest.approx(0.3)),
    ]


def test_nothing_is_aligned_when_the_target_is_empty() -> None:
    assert ctc_align(written(1, 2), [0, 2], [[], []]) == [[], []]


def test_a_target_longer_than_its_frames_is_refused_with_its_key() -> None:
    rule = (
        "example 'b': a target must not be longer than its frames, each repeated symbol counted "
        "twice, got 3 symbols and 1 repeated for 3 frames"
    )
    with pytest.raises(DataError, match=rule):
        require_ctc_lengths([4, 3], [[1, 1, 2], [1, 1, 2]], ["a", "b"])
    require_ctc_lengths([4, 0], [[1, 1, 2], []])


def test_a_target_without_any_path_is_refused_with_its_key() -> None:
    frames = written(1, 2)
    frames[:, 1] = -torch.inf
    with pytest.raises(DataError, match="example 'x': a target must have a path of probability"):
        ctc_align(frames, [2], [[1]], keys=["x"])


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda x: ctc_greedy(x[0], [1]), r"log_probs must have shape \(T, V\), got \(4,\)"),
        (lambda x: ctc_greedy(x, [1]), "lengths must add up to T = 2, got 1"),
        (lambda x: ctc_greedy(x, [2], blank=4), "blank must lie in 0 … 3, got 4"),
        (lambda x: ctc_beam(x, [2], width=0), "width must be at least 1, got 0"),
        (lambda x: ctc_beam(x, [2], width=1, n_best=2), "n_best must lie in 1 … width = 1, got 2"),
        (lambda x: ctc_align(x, [2], []), r"targets must be one per length \(1\), got 0"),
    ],
)
def test_bad_arguments_are_refused(call: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        call(written(1, 2))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_names_frame_and_sequence(value: float) -> None:
    frames = written(1, 2, 3, 1)
    frames[3, 2] = value
    rule = "log_probs must be finite, got NaN or inf at frame 1"
    for decode in (
        ctc_greedy,
        lambda *rest, keys=None: ctc_beam(*rest, width=2, keys=keys),
        lambda *rest, keys=None: ctc_align(*rest, [[1], [], [2]], keys=keys),
    ):
        with pytest.raises(DataError, match=f"'2': {rule}"):
            decode(frames, [2, 0, 2])
        with pytest.raises(DataError, match=f"'c': {rule}"):
            decode(frames, [2, 0, 2], keys=["a", "b", "c"])
