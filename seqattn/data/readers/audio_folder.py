"""Sound files in a folder for each class."""

from __future__ import annotations

from collections.abc import Iterator

from seqattn.batch import Example
from seqattn.data.readers.audio_files import list_sound_files
from seqattn.data.readers.base import Reader
from seqattn.errors import DataError


class AudioFolder(Reader):
    """Reads a folder of sound for each class: a file's label is the name of the folder it is in.

    The folders may lie at any depth; the key is the file's name, its folders included. WAV, FLAC,
    OGG, Opus, MP3, AIFF and AU files are read, others are left out.

    Args:
        path: the folder of folders, or a zip archive of it.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> Iterator[Example]:
        """Yield the files, by name.

        Raises:
            DataError: if there is no such folder or archive, no sound in it, or a file is in no
                folder of a class.
        """
        for name, source in list_sound_files(self.path):
            if len(name.parts) < 2:
                raise DataError(
                    f"a sound file must be in the folder of its class, got {str(name)!r} in none",
                    path=self.path,
                )
            yield Example(source=source, target=name.parts[-2], key=str(name))
