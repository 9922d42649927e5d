"""Sound files of a folder or a zip archive, in the order of their names."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from seqattn.errors import DataError
from seqattn.sound import AudioClip

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au")

SoundFile = tuple[PurePosixPath, str | AudioClip]
"""A file's name within its folder or archive, and the raw source that reads it."""


def list_sound_files(path: str) -> list[SoundFile]:
    """Return the sound files of a folder or a zip archive, at any depth, sorted by name.

    A sound file is told by its ending (:data:`SUFFIXES`, in any case). Hidden files and what
    macOS adds to archives are left out.

    Raises:
        DataError: if there is no such folder or archive, or no sound file in it.
    """
    place = Path(path)
    if place.is_dir():
        names = [PurePosixPath(p.relative_to(place).as_posix()) for p in place.rglob("*")]
        found: list[SoundFile] = [(n, str(place / n)) for n in names if _is_sound(n)]
    elif place.is_file():
        names = [PurePosixPath(name) for name in _members(path)]
        found = [(n, AudioClip(path, member=str(n))) for n in names if _is_sound(n)]
    else:
        raise DataError("the folder or zip archive must exist, got none there", path=path)
    if not found:
        raise DataError(
            f"it must hold a sound file ({', '.join(SUFFIXES)}), got none of {len(names)} names",
            path=path,
        )
    return sorted(found, key=lambda file: file[0])


def _members(path: str) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except zipfile.BadZipFile as error:
        raise DataError(f"it must be a folder or a zip archive: {error}", path=path) from None


def _is_sound(name: PurePosixPath) -> bool:
    is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.parts)
    return name.suffix.lower() in SUFFIXES and not is_hidden
