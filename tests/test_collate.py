import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from seqattn import DataError, Example, SequenceBatch
from seqattn.collate import Collator
from seqattn.vectorizer import TargetVectorizer, Vectorized, Vectorizer


class Digits(Vectorizer):
    """A string of digits; an augmentation's draw is added to each."""

    is_fitted = True

    def fit(self, sources: Iterable[Any]) -> None: ...

    def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
        return Vectorized(torch.tensor([int(digit) + (draw or 0) for digit in raw]).long())

    def empty(self) -> Tensor:
        return torch.empty(0, dtype=torch.int64)

    def length(self, raw: Any) -> int:
        return len(raw)

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None: ...


class Parity(TargetVectorizer):
    """One label per digit, which must be given."""

    is_fitted = True

    def fit(self, targets: Iterable[Any]) -> None: ...

    def __call__(self, raw: Any, source: Vectorized) -> Tensor:
        if raw is None or len(raw) != len(source.values):
            raise ValueError(f"labels must be as many as digits, got {raw!r}")
        return torch.tensor(raw, dtype=torch.int64)

    def join(self, rows: Sequence[Tensor]) -> Tensor | SequenceBatch:
        return torch.cat([torch.empty(0, dtype=torch.int64), *rows])

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None: ...


class Echo(Parity):
    """Targets that come from the source alone."""

    needs_raw = False

    def __call__(self, raw: Any, source: Vectorized) -> Tensor:
        return source.values


class Given(Digits):
    """A source that is vectorized already."""

    def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
        if isinstance(raw, Exception):
            raise raw
        return raw


EXAMPLES = [Example("123", [1, 0, 1], "train:0"), Example("40", [0, 0], "train:1")]


def test_batch_of_examples_is_packed_in_their_order() -> None:
    batch = Collator(Digits(), Parity())(EXAMPLES)
    assert batch.values.tolist() == [1, 2, 3, 4, 0]
    assert batch.offsets.tolist() == [0, 3, 5]
    assert batch.targets.tolist() == [1, 0, 1, 0, 0]
    assert batch.keys == ("train:0", "train:1")
    assert batch.packing.offsets is batch.offsets
    assert batch.edge_index is batch.labelled is None


def test_draw_reaches_the_vectorizer() -> None:
    batch = Collator(Digits())([(EXAMPLES[0], 10), (EXAMPLES[1], None)])
    assert batch.values.tolist() == [11, 12, 13, 4, 0]


def test_keys_are_numbers_when_examples_have_none() -> None:
    assert Collator(Digits())([Example("1"), Example("2", key="b")]).keys == ("0", "b")


def test_batch_when_there_is_no_example() -> None:
    batch = Collator(Digits(), Parity())([])
    assert len(batch) == 0
    assert (batch.values.dtype, len(batch.values)) == (torch.int64, 0)
    assert len(batch.targets) == 0


def test_targets_are_none_when_no_example_has_one() -> None:
    assert Collator(Digits(), Parity())([Example("12"), Example("3")]).targets is None


def test_targets_come_from_the_source_when_they_need_nothing_raw() -> None:
    assert Collator(Digits(), Echo())([Example("12"), Example("3")]).targets.tolist() == [1, 2, 3]


def test_missing_target_is_an_error_when_others_have_theirs() -> None:
    with pytest.raises(DataError, match="example 'bare': labels must be as many as digits"):
        Collator(Digits(), Parity())([EXAMPLES[0], Example("4", key="bare")])


def test_length_counts_positions_without_vectorizing() -> None:
    assert Collator(Digits()).length(Example("no digits at all")) == 16


def test_length_names_the_example_that_the_encoder_cannot_take() -> None:
    collator = Collator(Digits(), max_length=3)
    assert collator.length(Example("123", key="train:1")) == 3
    rule = "example 'train:2': length must be at most the encoder's max_length = 3, .* got 4"
    with pytest.raises(DataError, match=rule):
        collator.length(Example("1234", key="train:2"))


def test_a_draw_that_lengthens_an_example_beyond_the_encoder_is_named() -> None:
    class Stretched(Digits):
        def __call__(self, raw: Any, draw: int | None = None) -> Vectorized:
            return super().__call__(raw if draw is None else 2 * raw)

    collator = Collator(Stretched(), max_length=3)
    assert collator([Example("12", key="train:1")]).values.tolist() == [1, 2]
    with pytest.raises(DataError, match="example 'train:1': length must be at most .* got 4"):
        collator([(Example("12", key="train:1"), 7)])


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("digits must be 0 … 9"), "^example 'train:7': digits must be 0 … 9$"),
        (TypeError("must be a str"), "^example 'train:7': must be a str$"),
        (DataError("must be a digit"), "^example 'train:7': must be a digit$"),
        (DataError("is broken", path="a.txt", line=3), "^a.txt:3: is broken$"),
        (DataError("is wrong", key="inner"), "^example 'inner': is wrong$"),
    ],
)
def test_error_of_a_vectorizer_names_the_example(error: Exception, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Collator(Given())([Example(error, key="train:7")])


def test_error_names_the_number_of_an_example_without_a_key() -> None:
    with pytest.raises(DataError, match="^example '1': invalid literal for int"):
        Collator(Digits())([Example("1"), Example("x")])


def given(**fields: Any) -> Example:
    """A graph of two nodes, vectorized already."""
    return Example(Vectorized(torch.zeros(2), **fields), key="graph")


EDGE = torch.tensor([[0], [1]])


def test_edges_with_weights_and_columns_are_joined() -> None:
    node = given(edge_index=EDGE, edge_weight=torch.tensor([2.0]), edge_attr=torch.ones(1, 3))
    batch = Collator(Given())([node, node])
    assert batch.edge_index.tolist() == [[0, 2], [1, 3]]
    assert batch.edge_weight.tolist() == [2.0, 2.0]
    assert batch.edge_attr.tolist() == [[1.0] * 3] * 2


def test_duplicate_edges_are_summed() -> None:
    double = torch.tensor([[0, 0], [1, 1]])
    batch = Collator(Given())(
        [given(edge_index=double, edge_weight=torch.tensor([2, 3]), edge_attr=torch.ones(2, 1))]
    )
    assert batch.edge_index.tolist() == [[0], [1]]
    assert batch.edge_weight.tolist() == [5.0]
    assert batch.edge_attr.tolist() == [[2.0]]


@pytest.mark.parametrize("order", [1, -1])
def test_edges_are_refused_when_only_some_examples_have_them(order: int) -> None:
    bare = Example(Vectorized(torch.zeros(2)), key="bare")
    with pytest.raises(DataError, match="'bare': edges must be given for all sequences of a batch"):
        Collator(Given())([given(edge_index=EDGE), bare][::order])


def test_columns_are_refused_when_only_some_examples_have_them() -> None:
    with pytest.raises(DataError, match="example 'graph': edge_attr must be given for all"):
        Collator(Given())(
            [given(edge_index=EDGE), given(edge_index=EDGE, edge_attr=torch.ones(1, 3))]
        )


def test_labelled_is_filled_up_when_only_some_examples_say_it() -> None:
    batch = Collator(Given())([given(), given(labelled=torch.tensor([True, False]))])
    assert batch.labelled.tolist() == [True, True, True, False]


@pytest.mark.parametrize("labelled", [torch.ones(3, dtype=torch.bool), torch.ones(2)])
def test_labelled_is_refused_when_it_does_not_fit_its_example(labelled: Tensor) -> None:
    message = r"example 'graph': labelled must be bool of shape \(2,\), got torch\."
    with pytest.raises(DataError, match=message):
        Collator(Given())([given(labelled=labelled)])


def test_collator_when_pickled() -> None:
    collator = pickle.loads(pickle.dumps(Collator(Digits(), Parity())))
    assert collator(EXAMPLES).targets.tolist() == [1, 0, 1, 0, 0]


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_from_a_data_loader(workers: int) -> None:
    collator = Collator(Digits(), Parity())
    loader = DataLoader(EXAMPLES, batch_size=2, num_workers=workers, collate_fn=collator)
    (batch,) = loader
    assert batch.values.tolist() == [1, 2, 3, 4, 0]
    assert batch.packing.lengths == (3, 2)


def test_error_names_the_example_when_raised_in_a_worker() -> None:
    loader = DataLoader([Example("x", key="train:9")], num_workers=1, collate_fn=Collator(Digits()))
    with pytest.raises(DataError, match="example 'train:9': invalid literal for int"):
        list(loader)
