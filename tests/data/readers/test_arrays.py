from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqattn import DataError, Example
from seqattn.callbacks.array_archive import ArrayArchive
from seqattn.data import Arrays, Reader, Table
from seqattn.recorded import build

ROWS = {"a:1": np.array([[1.0, 2.0]]), "b": np.array([[3.0, 4.0], [5.0, 6.0]])}


def archive(path: Path, arrays: dict[str, Any] = ROWS) -> str:
    """Write an archive as `predict` does; any string is a key."""
    writer = ArrayArchive(path)
    for key, array in arrays.items():
        writer.write(key, array)
    writer.close()
    return str(path)


class Labels(Reader):
    """Targets of keys."""

    def __init__(self, labels: dict[str, str]) -> None:
        self.labels = labels

    def read(self) -> Any:
        return (Example(None, label, key) for key, label in self.labels.items())


def test_every_array_is_a_source_of_its_key(tmp_path: Path) -> None:
    found = list(Arrays(archive(tmp_path / "x.npz")).read())
    assert [example.key for example in found] == ["a:1", "b"]
    assert [example.target for example in found] == [None, None]
    for example in found:
        np.testing.assert_array_equal(example.source, ROWS[example.key])


def test_targets_are_found_by_key_in_any_order(tmp_path: Path) -> None:
    targets = Labels({"b": "two", "unused": "none", "a:1": "one"})
    found = list(Arrays(archive(tmp_path / "x.npz"), targets).read())
    assert [(example.key, example.target) for example in found] == [("a:1", "one"), ("b", "two")]


def test_targets_may_come_from_a_table(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("key,label\nb,two\na:1,one\n")
    table = Table(str(tmp_path / "labels.csv"), source="key", target="label", key="key")
    found = Arrays(archive(tmp_path / "x.npz"), table).read()
    assert [example.target for example in found] == ["one", "two"]


@pytest.mark.parametrize("layer", [0, -1])
def test_one_layer_is_taken_when_asked(layer: int, tmp_path: Path) -> None:
    layers = np.arange(12.0).reshape(2, 3, 2)
    path = archive(tmp_path / "x.npz", {"a": layers})
    (example,) = Arrays(path, layer=layer).read()
    np.testing.assert_array_equal(example.source, layers[layer])
    (whole,) = Arrays(path).read()
    assert whole.source.shape == (2, 3, 2)


@pytest.mark.parametrize("array", [np.zeros((2, 3)), np.zeros((2, 3, 4))])
def test_array_is_refused_when_it_has_not_the_layer(array: Any, tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", {"a": array})
    rule = r"x\.npz: .*\(layers, L, F\) and the layer 2, got \(.*\) for 'a'"
    with pytest.raises(DataError, match=rule):
        list(Arrays(path, layer=2).read())


def test_array_is_refused_when_it_has_no_target(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.npz: .*target of its key, got none for 'b'"):
        list(Arrays(archive(tmp_path / "x.npz"), Labels({"a:1": "one"})).read())


def test_archive_is_refused_when_absent_or_without_arrays(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.npz: the file must exist, got no such file"):
        list(Arrays("absent.npz").read())
    with pytest.raises(DataError, match=r"x\.npz: the file must hold at least one example"):
        list(Arrays(archive(tmp_path / "x.npz", {})).read())


def test_file_is_refused_when_it_is_one_array(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", ROWS["b"])
    with pytest.raises(DataError, match=r"x\.npy: the file must be an \.npz archive, got one arr"):
        list(Arrays(str(tmp_path / "x.npy")).read())


@pytest.mark.parametrize("damage", ["cut", "garbage", "objects", "flipped"])
def test_file_is_refused_when_damaged(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    content = bytearray(Path(archive(path)).read_bytes())
    if damage == "objects":
        np.savez(path, a=np.array([{}], dtype=object))
    elif damage == "garbage":
        path.write_bytes(b"no archive at all")
    elif damage == "cut":
        path.write_bytes(content[:-30])
    else:
        content[content.index(ROWS["b"].tobytes())] ^= 1
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.npz: the file must be a whole \.npz archive of numb"):
        list(Arrays(str(path)).read())


def test_reader_is_made_again_from_its_spec() -> None:
    reader = Arrays("x.npz", Labels({"a": "one"}), layer=-1)
    assert build(reader.spec).spec == reader.spec
