import copy
import pickle

import pytest

from seqattn.errors import DataError


def test_message_when_file_and_line_are_known() -> None:
    error = DataError("a row must have 10 columns, got 9", path="dev.conllu", line=17)
    assert str(error) == "dev.conllu:17: a row must have 10 columns, got 9"


def test_message_when_only_the_file_is_known() -> None:
    assert str(DataError("must not be empty", path="dev.conllu")) == "dev.conllu: must not be empty"


def test_message_when_an_example_is_at_fault() -> None:
    error = DataError("values must be finite, got nan", key="train:203")
    assert str(error) == "example 'train:203': values must be finite, got nan"


def test_message_when_nothing_is_known() -> None:
    assert str(DataError("must not be empty")) == "must not be empty"


def test_data_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        raise DataError("must not be empty")


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_fields_when_copied_between_processes(duplicate) -> None:
    error = duplicate(DataError("is wrong", path="a.txt", line=3, key="train:1"))
    assert (error.message, error.path, error.line, error.key) == ("is wrong", "a.txt", 3, "train:1")
    assert str(error) == "a.txt:3: is wrong"
