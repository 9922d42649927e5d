import pytest

from seqattn import DataError, Example
from seqattn.data.pieces import CutExample
from tests.heads.small_sound import RATE, SampleVectorizer

LONG = Example(([0.0] * 100, RATE), "a", "long")
SHORT = Example(([0.0] * 60, RATE), "b", "short")


class Joiner:
    def join_pieces(self, pieces, predictions):
        return [(p.start, p.end, found) for p, found in zip(pieces, predictions, strict=True)]


def test_long_example_is_cut_and_joined() -> None:
    cut = CutExample.of(LONG, SampleVectorizer(), Joiner())
    assert [example.key for example in cut.examples] == ["long at 0 s", "long at 4 s"]
    assert [len(example.source[0]) for example in cut.examples] == [60, 60]
    assert [example.target for example in cut.examples] == [None, None]
    assert cut.join(Joiner(), ["x", "y"]) == [(0.0, 6.0, "x"), (4.0, 10.0, "y")]


@pytest.mark.parametrize(("example", "model"), [(SHORT, Joiner()), (LONG, object())])
def test_example_is_whole_when_it_is_short_or_no_one_joins(example, model) -> None:
    cut = CutExample.of(example, SampleVectorizer(), model)
    assert cut.examples == [example]
    assert cut.join(model, ["x"]) == "x"


def test_source_that_cannot_be_cut_is_refused_with_its_key() -> None:
    with pytest.raises(DataError, match="example 'wrong': the rate must be 10, got 8"):
        CutExample.of(Example(([0.0], 8), key="wrong"), SampleVectorizer(), Joiner())


def test_pieces_that_cannot_be_joined_are_named() -> None:
    cut = CutExample.of(LONG, SampleVectorizer(), Joiner())
    with pytest.raises(DataError, match="example 'long': .*argument 2 is shorter"):
        cut.join(Joiner(), ["x"])
