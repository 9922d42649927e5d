from __future__ import annotations

from pathlib import Path

import pytest

from seqattn import AudioClip, DataError, Example
from seqattn.data import AudioFolder
from tests.data.readers.test_audio_files import pack, touch

NAMES = ["yes/a.wav", "no/b.wav", "more/yes/c.wav", "no/readme.txt"]


def test_the_label_is_the_folder_of_a_file(tmp_path: Path) -> None:
    assert list(AudioFolder(touch(tmp_path, NAMES)).read()) == [
        Example(str(tmp_path / "more/yes/c.wav"), "yes", "more/yes/c.wav"),
        Example(str(tmp_path / "no/b.wav"), "no", "no/b.wav"),
        Example(str(tmp_path / "yes/a.wav"), "yes", "yes/a.wav"),
    ]


def test_an_archive_reads_as_its_folder_does(tmp_path: Path) -> None:
    path = pack(tmp_path / "all.zip", NAMES)
    found = list(AudioFolder(path).read())
    assert [example.target for example in found] == ["yes", "no", "yes"]
    assert found[1].source == AudioClip(path, member="no/b.wav")


def test_a_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    reader = AudioFolder(touch(tmp_path, ["a.wav", "yes/b.wav"]))
    with pytest.raises(DataError, match=r"in the folder of its class, got 'a\.wav' in none"):
        list(reader.read())


def test_nothing_is_opened_before_reading() -> None:
    assert AudioFolder("gone").path == "gone"
