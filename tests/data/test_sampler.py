from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from torch.utils.data import BatchSampler, DataLoader

from seqattn.data.sampler import _GOLDEN, TokenBatchSampler, _cut, _mix

BUDGET = 12
MIXED = [3 + i * i % 7 for i in range(1000)]  # plans of 557 to 560 micro-batches
lengths_lists = st.lists(st.integers(0, BUDGET), max_size=60)


def indices(batches):
    return [[index for index, _ in batch] for batch in batches]


def ranks(lengths, world_size, **arguments):
    return [
        TokenBatchSampler(lengths, BUDGET, rank=rank, world_size=world_size, **arguments)
        for rank in range(world_size)
    ]


# --- what an epoch holds -----------------------------------------------------------------------


@given(lengths_lists, st.integers(), st.integers(0, 9), st.integers(1, 5), st.booleans())
def test_every_example_counts_once_when_ranks_share(lengths, seed, epoch, world_size, shuffle):
    shares = []
    for sampler in ranks(lengths, world_size, seed=seed, shuffle=shuffle):
        sampler.set_epoch(epoch)
        shares.append(list(sampler))
    seen = Counter(index for share in shares for batch in indices(share) for index in batch)
    assert seen == Counter(range(len(lengths)))
    assert {len(share) for share in shares} == {len(shares[0])} == {len(sampler)}


@given(lengths_lists, st.integers(1, 5), st.booleans())
def test_only_the_last_round_is_filled_when_ranks_share(lengths, world_size, shuffle):
    shares = [list(sampler) for sampler in ranks(lengths, world_size, shuffle=shuffle)]
    rounds = [batch for together in zip(*shares, strict=True) for batch in together]
    whole = TokenBatchSampler(lengths, BUDGET, shuffle=shuffle).batches(0)
    filling = -len(whole) % world_size
    assert rounds == whole + [[]] * filling
    assert all(whole)


@given(lengths_lists, st.integers(0, 30), st.booleans())
def test_budget_is_kept_when_lengths_vary(lengths, epoch, shuffle):
    for batch in indices(TokenBatchSampler(lengths, BUDGET, shuffle=shuffle).batches(epoch)):
        assert sum(lengths[index] for index in batch) <= BUDGET
        assert len(batch) <= BUDGET


@given(lengths_lists, st.integers(), st.lists(st.integers(0, 1000), max_size=8))
def test_every_epoch_has_as_many_batches_when_lengths_vary(lengths, seed, epochs):
    sampler = TokenBatchSampler(lengths, BUDGET, seed=seed, shuffle=True)
    assert {len(sampler.batches(epoch)) for epoch in epochs} <= {len(sampler)}


def test_every_epoch_has_as_many_batches_when_plans_differ():
    sampler = TokenBatchSampler(MIXED, BUDGET, shuffle=True)
    planned = [len(sampler._cut_shuffled(epoch).spans) for epoch in range(40)]
    assert min(planned) < len(sampler) < max(planned)  # both remedies are needed
    for epoch in range(40):
        batches = indices(sampler.batches(epoch))
        assert len(batches) == len(sampler)
        assert sorted(index for batch in batches for index in batch) == list(range(1000))


def test_batches_are_nearly_full_when_examples_are_short():
    sampler = TokenBatchSampler([1, 2, 3, 4] * 500, 100, shuffle=True)
    assert 50 <= len(sampler) <= 52  # 5000 tokens


def test_batches_hold_similar_lengths_when_shuffled():
    lengths = [1 + i % 100 for i in range(4000)]
    batches = indices(TokenBatchSampler(lengths, 400, shuffle=True).batches(0))
    spreads = [np.ptp([lengths[index] for index in batch]) for batch in batches]
    assert np.mean(spreads) < 10


def test_batch_of_empty_examples_is_bounded_when_they_cost_nothing():
    batches = TokenBatchSampler([0] * 25, 10, shuffle=True).batches(0)
    assert sorted(map(len, batches)) == [5, 10, 10]


def test_no_batch_comes_when_there_is_no_example():
    assert list(TokenBatchSampler([], 4, shuffle=True, world_size=2)) == []


# --- order and draws ---------------------------------------------------------------------------


def test_evaluation_is_longest_first_when_not_shuffled():
    sampler = TokenBatchSampler([1, 5, 3, 5], 6, shuffle=False)
    assert list(sampler) == [[(1, None)], [(3, None)], [(2, None), (0, None)]]


def test_overlong_example_goes_alone_when_not_shuffled():
    assert indices(TokenBatchSampler([1, 9, 2, 8], 4, shuffle=False)) == [[1], [3], [2, 0]]


@given(st.integers(), st.integers(0, 100))
def test_plan_is_the_same_when_made_again(seed, epoch):
    first, second = (TokenBatchSampler(MIXED[:80], BUDGET, seed=seed, shuffle=True) for _ in "ab")
    first.set_epoch(epoch)
    assert list(first) == list(first) == second.batches(epoch)


def test_plan_and_draws_differ_when_epoch_or_seed_differ():
    one, other = (TokenBatchSampler(MIXED, BUDGET, seed=seed, shuffle=True) for seed in (1, 2))
    plans = [one.batches(0), one.batches(1), other.batches(0)]
    orders = {tuple(index for batch in plan for index, _ in batch) for plan in plans}
    assert len(orders) == 3
    draws = {draw for plan in plans for batch in plan for _, draw in batch}
    assert len(draws) == 3000
    assert all(0 <= draw < 2**63 for draw in draws)


def test_draw_of_an_example_stays_when_lengths_change():
    first = TokenBatchSampler([1, 2, 3], 6, seed=5, shuffle=True).batches(3)
    second = TokenBatchSampler([6, 6, 6], 6, seed=5, shuffle=True).batches(3)
    assert sorted(sum(first, [])) == sorted(sum(second, []))


def test_random_words_are_splitmix64_when_mixed():
    # The published sequence for the seed 1234567 (rosettacode.org, "Splitmix64").
    words = _mix(np.uint64(1234567) + _GOLDEN * np.arange(1, 4, dtype=np.uint64))
    assert words.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.lists(st.integers(1, 20), max_size=30), st.integers(1, 12))
def test_cut_is_greedy_when_compared_with_a_loop(costs, budget):
    spans, start, total = [], 0, 0
    for position, cost in enumerate(costs):
        if position > start and total + cost > budget:
            spans.append((start, position))
            start, total = position, 0
        total += cost
    expected = [*spans, (start, len(costs))] if costs else []
    assert _cut(np.array(costs, dtype=np.int64), budget) == expected


# --- resume ------------------------------------------------------------------------------------


@given(lengths_lists, st.integers(0, 5), st.integers(1, 3), st.booleans(), st.data())
def test_rest_is_the_same_when_resumed(lengths, epoch, world_size, shuffle, data):
    for sampler in ranks(lengths, world_size, shuffle=shuffle):
        sampler.set_epoch(epoch)
        full = list(sampler)
        position = data.draw(st.integers(0, len(full)))
        sampler.resume(epoch, position)
        assert list(sampler) == list(sampler) == full[position:]


@given(lengths_lists, st.integers(1, 4), st.integers(1, 4), st.data())
def test_rest_is_the_same_when_the_number_of_ranks_changes(lengths, before, after, data):
    whole = TokenBatchSampler(lengths, BUDGET, shuffle=True).batches(2)
    rounds = data.draw(st.integers(0, len(whole) // (before * after)))
    done = rounds * before * after
    shares = []
    for sampler in ranks(lengths, after, shuffle=True):
        sampler.resume(2, done // after)
        shares.append(list(sampler))
    rest = [batch for together in zip(*shares, strict=True) for batch in together]
    assert [batch for batch in rest if batch] == whole[done:]


def test_position_is_forgotten_when_the_epoch_changes():
    sampler = TokenBatchSampler(MIXED, BUDGET, shuffle=True)
    sampler.resume(1, 7)
    sampler.set_epoch(1)
    assert list(sampler) == sampler.batches(1)[7:]
    sampler.set_epoch(2)
    assert list(sampler) == sampler.batches(2)


def test_epoch_is_read_with_the_first_batch_when_iterated():
    sampler = TokenBatchSampler(MIXED, BUDGET, shuffle=True)
    early = iter(sampler)
    sampler.resume(3, 5)
    assert list(early) == sampler.batches(3)[5:]


class Training(RuleBasedStateMachine):
    """Steps, checkpoints, kills and epochs in any order give the straight run's micro-batches."""

    def __init__(self) -> None:
        super().__init__()
        self.straight = TokenBatchSampler(MIXED[:40], BUDGET, seed=3, shuffle=True)
        self.seen: list[list[tuple[int, int | None]]] = []
        self.saved = (0, 0)
        self.start(0, 0)

    def start(self, epoch: int, position: int) -> None:
        self.sampler = TokenBatchSampler(MIXED[:40], BUDGET, seed=3, shuffle=True)
        self.sampler.resume(epoch, position)
        self.iterator = iter(self.sampler)
        self.epoch, self.done = epoch, position
        del self.seen[epoch * len(self.straight) + position :]

    @precondition(lambda self: self.done < len(self.straight))
    @rule()
    def step(self) -> None:
        self.seen.append(next(self.iterator))
        self.done += 1

    @rule()
    def fetch_ahead(self) -> None:
        iter(self.sampler)  # a loader with workers asks twice

    @rule()
    def save(self) -> None:
        self.saved = (self.epoch, self.done)

    @rule()
    def kill(self) -> None:
        self.start(*self.saved)
        self.sampler.set_epoch(self.epoch)  # as Lightning does

    @precondition(lambda self: self.done == len(self.straight))
    @rule()
    def end_epoch(self) -> None:
        assert next(self.iterator, None) is None
        self.epoch, self.done = self.epoch + 1, 0
        self.sampler.set_epoch(self.epoch)
        self.iterator = iter(self.sampler)

    @invariant()
    def nothing_is_lost_or_repeated(self) -> None:
        epochs = range(self.epoch + 1)
        straight = [batch for epoch in epochs for batch in self.straight.batches(epoch)]
        assert self.seen == straight[: len(self.seen)]
        assert len(self.seen) == self.epoch * len(self.straight) + self.done


TestTraining = Training.TestCase


# --- what PyTorch and Lightning see ------------------------------------------------------------


def test_sampler_is_itself_when_lightning_looks_for_one():
    sampler = TokenBatchSampler([1], 1, shuffle=True)
    assert sampler.sampler is sampler
    assert not isinstance(sampler, BatchSampler)
    assert not hasattr(sampler, "batch_size")
    assert not hasattr(sampler, "drop_last")


def test_loader_yields_the_batches_when_it_has_workers():
    class Identity:
        def __getitem__(self, member):
            return member

    sampler = TokenBatchSampler([3, 4, 5, 6], 8, shuffle=True)
    loader = DataLoader(Identity(), batch_sampler=sampler, num_workers=1, collate_fn=list)
    sampler.resume(1, 1)
    assert len(loader) == len(sampler)
    assert list(loader) == sampler.batches(1)[1:]


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_tokens": 0}, "batch_tokens must be at least 1, got 0"),
        ({"lengths": [1, -2]}, "lengths must not be negative, got -2 at index 1"),
        ({"lengths": [[1]]}, r"lengths must be a flat list, got shape \(1, 1\)"),
        ({"lengths": [1, 5]}, "lengths must be at most batch_tokens = 4 .* got 5 at index 1"),
        ({"rank": 2, "world_size": 2}, "rank must lie in 0 … world_size - 1 = 1, got 2"),
    ],
)
def test_argument_is_refused_when_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        TokenBatchSampler(**{"lengths": [1], "batch_tokens": 4, "shuffle": True} | arguments)


def test_position_is_refused_when_the_epoch_is_shorter():
    with pytest.raises(ValueError, match=r"position must lie in 0 … 1, got 2"):
        TokenBatchSampler([1], 4, shuffle=True).resume(0, 2)
