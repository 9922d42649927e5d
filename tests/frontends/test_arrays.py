import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqattn import DataError
from seqattn.frontends.arrays import Moments, naming_source, read_array, require_finite

ROWS = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def written(path: Path, array: Any, **arrays: Any) -> Path:
    """Write a .npy file, or an .npz file of named arrays."""
    if path.suffix == ".npy":
        np.save(path, array, allow_pickle=True)
    else:
        np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", "uint8"])
def test_array_is_read_as_it_is_when_of_numbers(dtype: str) -> None:
    array = ROWS.astype(dtype)
    assert read_array(array) is array


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_tensor_is_read_as_an_array(dtype: torch.dtype) -> None:
    found = read_array(torch.tensor(ROWS, dtype=dtype))
    np.testing.assert_array_equal(found, ROWS)


def test_tensor_is_read_when_it_has_a_gradient(device: torch.device) -> None:
    tensor = torch.tensor(ROWS, device=device, requires_grad=True)
    np.testing.assert_array_equal(read_array(tensor), ROWS)


@pytest.mark.parametrize("as_text", [True, False])
def test_file_of_one_array_is_read(as_text: bool, tmp_path: Path) -> None:
    for path in (
        written(tmp_path / "a.npy", ROWS),
        written(tmp_path / "a.npz", None, states=ROWS),
    ):
        np.testing.assert_array_equal(read_array(str(path) if as_text else path), ROWS)


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        ([[1.0, 2.0]], "a source must be an array, a tensor or a path, got list"),
        (None, "a source must be an array, a tensor or a path, got NoneType"),
        (np.array([["a"]]), "an array must hold integers or floats, got dtype <U1"),
        (np.array([[1j]]), "an array must hold integers or floats, got dtype complex128"),
        (np.array([[None]]), "an array must hold integers or floats, got dtype object"),
        (torch.tensor([[True]]), "an array must hold integers or floats, got dtype bool"),
    ],
)
def test_source_is_refused_when_it_is_no_array_of_numbers(raw: Any, rule: str) -> None:
    with pytest.raises(TypeError, match=rule):
        read_array(raw)


def test_file_is_refused_when_absent() -> None:
    with pytest.raises(DataError, match=r"absent\.npy: the file must exist, got no such file"):
        read_array("absent.npy")


def test_file_is_refused_when_it_holds_several_arrays(tmp_path: Path) -> None:
    path = written(tmp_path / "two.npz", None, a=ROWS, b=ROWS)
    with pytest.raises(DataError, match=r"two\.npz: .* one array, got 2: .*seqattn\.data\.Arrays"):
        read_array(path)


@pytest.mark.parametrize("content", ["empty", "garbage", "objects", "cut", "cut archive"])
def test_file_is_refused_when_damaged(content: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    if content == "objects":
        written(path, np.array([{}], dtype=object))
    elif content == "cut":
        path.write_bytes(written(path, ROWS).read_bytes()[:-8])
    elif content == "cut archive":
        path.write_bytes(written(tmp_path / "b.npz", None, a=ROWS).read_bytes()[:-30])
    else:
        path.write_bytes(b"" if content == "empty" else b"no array at all")
    with pytest.raises(DataError, match=r"a\.npy: the file must be a whole \.npy or \.npz file: "):
        read_array(path)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_place_is_named_when_a_value_is_not_finite(wrong: float) -> None:
    array = ROWS.copy()
    array[2, 1] = wrong
    with pytest.raises(
        ValueError, match=re.escape(f"finite in float32, got {wrong} at position 2, column 1")
    ):
        require_finite(array, ("position", "column"))


def test_integers_are_finite() -> None:
    require_finite(np.array([[255]], dtype=np.uint8), ("row", "column"))


def test_largest_half_is_finite() -> None:
    require_finite(np.array([[65504]], dtype=np.float16), ("row", "column"))


@pytest.mark.parametrize("kind", [ValueError, TypeError])
def test_training_source_is_named_when_it_breaks_a_rule(kind: type[Exception]) -> None:
    with (
        pytest.raises(DataError, match=r"^too long \(training source 3, counted from 0\)$"),
        naming_source(3),
    ):
        raise kind("too long")


@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    offset=st.sampled_from([0.0, 1e6]),
    seed=st.integers(0, 9),
)
def test_moments_are_those_of_all_rows_together(
    lengths: list[int], offset: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    pieces = [random.normal(offset, 2.0, (length, 3)) for length in [*lengths, 2]]
    moments = Moments()
    for piece in pieces:
        moments.add(piece)
    mean, deviation = moments.finish()
    rows = np.concatenate(pieces)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(deviation, rows.std(0), rtol=1e-8)


def test_deviation_is_one_when_a_column_is_constant() -> None:
    moments = Moments()
    for length in (3, 7, 4):  # sums of 0.1 are rounded
        moments.add(np.full((length, 1), 0.1))
    assert moments.finish()[1] == [1.0]


def test_moments_are_refused_when_there_is_no_row() -> None:
    moments = Moments()
    moments.add(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="training sources must hold a position, got none"):
        moments.finish()
