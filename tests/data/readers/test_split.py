import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqattn import DataError, Example
from seqattn.data import Limit, Reader, Split
from seqattn.recorded import build


class Numbers(Reader):
    def __init__(self, count):
        self.count = count

    def read(self):
        return (Example(number, key=str(number)) for number in range(self.count))


def sources(reader):
    return [example.source for example in reader.read()]


@given(total=st.integers(2, 60), seed=st.integers(0, 2**32), data=st.data())
def test_parts_are_disjoint_ordered_and_complete_when_of_one_seed(total, seed, data):
    held_out = data.draw(st.integers(1, total - 1))
    reader = Numbers(total)
    train = sources(Split(reader, "train", held_out, seed=seed))
    rest = sources(Split(reader, "held_out", held_out, seed=seed))
    assert len(rest) == held_out
    assert train == sorted(train)
    assert rest == sorted(rest)
    assert sorted(train + rest) == list(range(total))


@pytest.mark.parametrize(("held_out", "count"), [(0.25, 5), (0.01, 1), (5, 5)])
def test_held_out_is_a_fraction_or_a_count_when_float_or_int(held_out, count):
    assert len(sources(Split(Numbers(20), "held_out", held_out))) == count


def test_part_is_the_same_when_read_again_and_another_when_the_seed_differs():
    split = Split(Numbers(100), "held_out", 20, seed=1)
    assert sources(split) == sources(split)
    assert sources(split) != sources(Split(Numbers(100), "held_out", 20, seed=2))


@given(seed=st.integers(0, 2**32), small=st.integers(1, 40), large=st.integers(1, 40))
def test_smaller_sample_is_part_of_the_larger_when_of_one_seed(seed, small, large):
    small, large = sorted((small, large))
    few, many = (sources(Limit(Numbers(40), size, seed=seed)) for size in (small, large))
    assert len(few) == small
    assert set(few) <= set(many)
    assert many == sorted(many)


@pytest.mark.parametrize(("size", "count"), [(0.01, 3), (0.1, 30), (1.0, 300), (7, 7)])
def test_size_is_a_fraction_or_a_count_when_float_or_int(size, count):
    assert len(sources(Limit(Numbers(300), size))) == count


def test_limit_stays_within_the_split_when_it_wraps_one():
    train = Split(Numbers(50), "train", 10, seed=3)
    assert set(sources(Limit(train, 0.5, seed=3))) < set(sources(train))


@pytest.mark.parametrize("held_out", [4, 1.0])
def test_split_is_refused_when_it_leaves_nothing_to_train_on(held_out):
    with pytest.raises(DataError, match="must leave an example to train on, got .* of 4 examples"):
        sources(Split(Numbers(4), "train", held_out))


def test_limit_is_refused_when_there_are_fewer_examples():
    with pytest.raises(DataError, match="size must be at most 4, got 5"):
        sources(Limit(Numbers(4), 5))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "as a count must be at least 1, got 0"),
        (-2, "as a count must be at least 1, got -2"),
        (0.0, "as a fraction must be above 0 and at most 1, got 0.0"),
        (1.5, "as a fraction must be above 0 and at most 1, got 1.5"),
        (float("nan"), "as a fraction must be above 0 and at most 1, got nan"),
    ],
)
def test_size_is_refused_when_out_of_range(size, message):
    with pytest.raises(ValueError, match=f"size {message}"):
        Limit(Numbers(4), size)
    with pytest.raises(ValueError, match=f"held_out {message}"):
        Split(Numbers(4), "train", size)


@pytest.mark.parametrize("size", [True, "10"])
def test_size_is_refused_when_of_another_type(size):
    with pytest.raises(TypeError, match=r"size must be a count \(int\) or a fraction \(float\)"):
        Limit(Numbers(4), size)


def test_part_is_refused_when_unknown():
    with pytest.raises(ValueError, match="part must be train or held_out, got 'dev'"):
        Split(Numbers(4), "dev")


def test_readers_are_made_again_when_built_from_a_nested_spec():
    reader = Limit(Split(Numbers(30), "held_out", 0.5), 3, seed=2)
    again = build(reader.spec)
    assert again.spec == reader.spec
    assert sources(again) == sources(reader)
