from pathlib import Path

import numpy as np

from seqattn.callbacks.array_archive import ArrayArchive, merge_archives


def test_parts_are_merged_in_the_order_of_the_keys(tmp_path: Path) -> None:
    arrays = {"file": np.ones((2, 3)), "a/b": np.zeros(0), "é": np.arange(4)}
    parts = [tmp_path / "0.part", tmp_path / "1.part"]
    for part, names in zip(parts, [["é", "file"], ["a/b"]], strict=True):
        archive = ArrayArchive(part)
        for name in names:
            archive.write(name, arrays[name])
        archive.close()
    merge_archives(parts, list(arrays), tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz") as found:
        assert found.files == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["all.npz"]
