from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from seqattn import AudioClip, DataError
from seqattn.data.readers.audio_files import list_sound_files

NAMES = ["b/x.WAV", "a.flac", "b/c/y.ogg", "b/notes.txt", ".z.wav", "__MACOSX/a.flac", ".git/q.wav"]


def touch(root: Path, names: Sequence[str]) -> str:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return str(root)


def pack(path: Path, names: Sequence[str]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return str(path)


def test_a_folder_gives_its_sound_files_by_name(tmp_path: Path) -> None:
    assert list_sound_files(touch(tmp_path, NAMES)) == [
        (PurePosixPath(name), str(tmp_path / name)) for name in ("a.flac", "b/c/y.ogg", "b/x.WAV")
    ]


def test_an_archive_gives_its_sound_files_by_name(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", NAMES)
    assert list_sound_files(path) == [
        (PurePosixPath(name), AudioClip(path, member=name))
        for name in ("a.flac", "b/c/y.ogg", "b/x.WAV")
    ]


def test_a_place_without_sound_is_refused(tmp_path: Path) -> None:
    path = touch(tmp_path, ["a.txt"])
    with pytest.raises(DataError, match=r"must hold a sound file \(.wav, .*, got none of 1 names"):
        list_sound_files(path)


def test_a_missing_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: the folder or zip archive must exist"):
        list_sound_files(str(tmp_path / "gone"))


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"sound")
    with pytest.raises(DataError, match=r"a\.zip: it must be a folder or a zip archive: "):
        list_sound_files(str(path))
