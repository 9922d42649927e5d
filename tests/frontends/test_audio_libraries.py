import os
import subprocess
import sys
from pathlib import Path

import pytest

from seqattn.frontends.audio_libraries import import_audio_library

# All broken packages are in front when the library is imported, then one of them at a time.
USE_WITH_STUBS = """
import sys
sys.path[:0] = sys.argv[1:]
import seqattn
seqattn.TextFrontEnd("character").vectorizer.fit(["text works"])
seqattn.GraphFrontEnd().vectorizer.fit([seqattn.Graph(2, [[0, 1], [1, 0]])])
del sys.path[:len(sys.argv) - 1]
for folder in sys.argv[1:]:
    sys.path.insert(0, folder)
    sys.path_importer_cache.clear()
    try:
        seqattn.AudioFrontEnd()
    except ImportError as error:
        print(error)
    sys.path.remove(folder)
    sys.path_importer_cache.clear()
"""
STUBS = {
    "soundfile": 'raise ModuleNotFoundError("No module named soundfile")',
    "torchaudio": 'raise OSError("libc10_cuda.so: cannot open shared object file")',
}


def test_broken_libraries_name_the_remedy_and_text_and_graphs_work(tmp_path: Path) -> None:
    for name, line in STUBS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text(line)
    folders = [str(tmp_path / name) for name in STUBS]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", USE_WITH_STUBS, *folders],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    missing, broken = done.stdout.splitlines()
    assert "needs the extra seqattn[audio], but torchaudio is installed and does not" in broken
    assert "libc10_cuda.so" in broken
    assert "CPU-only torch" in broken
    assert "pip install 'seqattn[audio]' 'torch<2.15' --force-reinstall" in broken
    assert "needs the extra seqattn[audio], but soundfile cannot be imported" in missing
    assert "pip install 'seqattn[audio]'" in missing


def test_libsndfile_is_named_when_soundfile_does_not_find_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "soundfile_without.py").write_text('raise OSError("sndfile library not found")')
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match=r"sndfile library not found.*libsndfile is missing"):
        import_audio_library("soundfile_without")


def test_library_is_returned_when_it_loads() -> None:
    assert import_audio_library("torchaudio.functional").__name__ == "torchaudio.functional"
