import pytest

import seqattn.data
from seqattn.recorded import Recorded, class_path, resolve

READERS = [
    "Arrays",
    "Commands",
    "Conll",
    "Conllu",
    "IdxImages",
    "Inflections",
    "LabelledLines",
    "Limit",
    "Lines",
    "ParallelFiles",
    "Pronunciations",
    "Split",
    "Table",
    "TimeSeries",
]


@pytest.mark.parametrize("name", ["Reader", *READERS])
def test_public_name_is_the_class_path_when_a_reader_is_recorded(name):
    cls = getattr(seqattn.data, name)
    assert issubclass(cls, Recorded)
    assert class_path(cls) == f"seqattn.data.{name}"
    assert resolve(f"seqattn.data.{name}") is cls


def test_names_are_listed_when_not_imported_yet():
    assert set(seqattn.data.__all__) <= set(dir(seqattn.data))


def test_unknown_name_is_refused_when_asked_for():
    with pytest.raises(AttributeError, match="module 'seqattn.data' has no attribute 'Nothing'"):
        _ = seqattn.data.Nothing
