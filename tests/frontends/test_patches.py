import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import seqattn
from seqattn import DataError, Encoder, Example, PatchFrontEnd, SequenceClassification
from seqattn.batch import SequenceBatch
from seqattn.collate import Collator
from seqattn.frontends.patches import PatchVectorizer
from seqattn.recorded import build
from tests.heads.small_heads import loader, trainer

ROOT = Path(__file__).parents[2]
DIM = 8
# Two pixels of 0 and two of 1: mean 1/2, deviation 1/2, so that a pixel p becomes 2 p - 1.
HALVES = np.array([[0, 255], [255, 0]], dtype=np.uint8)


def like_halves(*shape: int) -> Any:
    """Pixels 0 and 255 by turns."""
    return np.resize(np.array([0, 255], dtype=np.uint8), shape)


def fitted(
    patch: int | list[int] = 2, sources: Any = None, *, shift: int = 0, size: tuple[int, ...] = ()
) -> PatchVectorizer:
    """Fit on pictures of that size whose pixels p become 2 p - 1."""
    vectorizer = PatchVectorizer(patch, shift=shift)
    vectorizer.fit([like_halves(*(size or (4, 6)))] if sources is None else sources)
    return vectorizer


def cells(vectorizer: PatchVectorizer, raw: Any, draw: int | None = None) -> Any:
    """Return pixels (L, P), as they were before they were standardised, and places (L, axes)."""
    values = vectorizer(raw, draw).values.numpy()
    count = vectorizer.pixels
    return (values[:, :count] + 1) / 2, values[:, count:]


def made(patch: int | list[int] = 2, size: tuple[int, ...] = (4, 6), **settings: Any) -> Any:
    frontend = PatchFrontEnd(patch, **settings)
    frontend.vectorizer.fit([like_halves(*size)])
    frontend.build(DIM)
    return frontend.eval()


def pack(frontend: PatchFrontEnd, raws: list[Any]) -> SequenceBatch:
    return Collator(frontend.vectorizer)([Example(raw) for raw in raws])


def bars(count: int = 12) -> list[Example]:
    """Noisy pictures of a line across or along, anywhere."""
    random = np.random.default_rng(0)
    examples = []
    for number in range(count):
        picture = random.integers(0, 50, (8, 8)).astype(np.uint8)
        at = random.integers(8)
        picture[(at, slice(None)) if number % 2 else (slice(None), at)] = 250
        examples.append(Example(picture, "across" if number % 2 else "along", f"train:{number}"))
    return examples


# --- vectorizer ---------------------------------------------------------------------------------


def test_patches_come_row_by_row_with_their_places() -> None:
    image = np.arange(24.0).reshape(4, 6)
    found, places = cells(fitted(2), image)
    np.testing.assert_allclose(
        found,
        [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
        + [[12, 13, 18, 19], [14, 15, 20, 21], [16, 17, 22, 23]],
    )
    assert places.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


def test_patch_may_have_two_sides_and_channels_stay_together() -> None:
    image = np.arange(24.0).reshape(2, 4, 3)  # (H, W, C)
    found, places = cells(fitted([1, 2], size=(2, 4, 3)), image)
    np.testing.assert_allclose(found, np.arange(24.0).reshape(4, 6))
    assert places.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize("channels", [(), (3,)])
def test_tubes_come_frame_by_frame(channels: tuple[int, ...]) -> None:
    size = (4, 2, 6, *channels)
    video = np.random.default_rng(0).random(size)
    found, places = cells(fitted([2, 2, 3], size=size), video)
    expected = [
        video[2 * t : 2 * t + 2, 0:2, 3 * x : 3 * x + 3].ravel() for t in range(2) for x in range(2)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert places.tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1]]


def test_last_pixels_are_repeated_when_a_patch_does_not_divide() -> None:
    image = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    found, places = cells(fitted(2), image)
    np.testing.assert_allclose(found, [[1, 2, 4, 5], [3, 3, 6, 6], [7, 8, 7, 8], [9, 9, 9, 9]])
    assert places.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_bytes_become_fractions_and_channels_are_standardised_by_training() -> None:
    colours = np.stack([HALVES, np.full_like(HALVES, 51)], axis=2)  # 51 / 255 = 0.2
    vectorizer = fitted(1, [colours])
    state = vectorizer.state()
    assert state["grid"] == [2, 2]
    assert state["mean"] == pytest.approx([0.5, 0.2])
    assert state["deviation"] == pytest.approx([0.5, 1.0])
    pixels = vectorizer(np.full((1, 1, 2), 102, dtype=np.uint8)).values[0, :2]
    assert pixels.tolist() == pytest.approx([(0.4 - 0.5) / 0.5, 0.4 - 0.2])
    assert torch.equal(vectorizer(colours / 255).values, vectorizer(colours).values)


@pytest.mark.parametrize("kind", ["tensor", "file"])
def test_source_may_be_a_tensor_or_a_file(kind: str, tmp_path: Path) -> None:
    image = like_halves(4, 5)
    np.savez(tmp_path / "image.npz", image)
    raw = torch.tensor(image) if kind == "tensor" else str(tmp_path / "image.npz")
    vectorizer = fitted()
    assert torch.equal(vectorizer(raw).values, vectorizer(image).values)
    assert vectorizer.length(raw) == 6


@pytest.mark.parametrize(
    ("patch", "size"), [(2, (3, 5)), ([1, 4], (4, 6, 1)), ([2, 2, 2], (3, 3, 3))]
)
def test_length_is_that_of_the_rows(patch: Any, size: tuple[int, ...]) -> None:
    vectorizer = fitted(patch, size=size)
    assert vectorizer.length(like_halves(*size)) == len(vectorizer(like_halves(*size)).values)


def test_grid_is_that_of_the_largest_training_source() -> None:
    vectorizer = fitted(2, [like_halves(2, 9), like_halves(5, 4)])
    assert vectorizer.state()["grid"] == [3, 5]
    assert vectorizer.length(like_halves(6, 10)) == 15


@pytest.mark.parametrize(
    ("patch", "raw", "rule"),
    [
        (2, np.zeros(4), r"shape \(H, W\), channels last or none.*\[2, 2\].*got \(4,\)"),
        (2, np.zeros((2, 4, 4, 1)), r"shape \(H, W\), .* got \(2, 4, 4, 1\)"),
        (2, np.zeros((0, 4)), r"and a pixel, got \(0, 4\)"),
        ([2, 2, 2], np.zeros((4, 4)), r"shape \(frames, H, W\), .*\[2, 2, 2\].* got \(4, 4\)"),
        (2, np.zeros((4, 6, 3)), "1 channels, got 3"),
        (2, np.zeros((4, 7)), r"at most \[2, 3\] patches of \[2, 2\], as in training, got \[2, 4"),
    ],
)
def test_source_is_refused_when_of_another_shape(patch: Any, raw: Any, rule: str) -> None:
    vectorizer = fitted(patch, size=(4, 6) if patch == 2 else (4, 4, 6))
    for call in (vectorizer, vectorizer.length):
        with pytest.raises(ValueError, match=f"an array must have .*{rule}"):
            call(raw)


@pytest.mark.parametrize(
    ("shape", "place"),
    [((4, 6), "row 0, column 0, channel 0"), ((1, 4, 6), "frame 0, row 0, column 0, channel 0")],
)
def test_source_is_refused_when_not_finite(shape: tuple[int, ...], place: str) -> None:
    vectorizer = fitted([1, 2, 2] if len(shape) == 3 else 2, size=shape)
    raw = np.zeros(shape)
    raw.flat[0] = float("nan")
    with pytest.raises(
        DataError, match=f"'x': values must be finite in float32, got nan at {place}"
    ):
        Collator(vectorizer)([Example(raw, key="x")])


@pytest.mark.parametrize("dtype", ["int64", "uint16"])
def test_source_is_refused_when_its_integers_have_no_known_range(dtype: str) -> None:
    with pytest.raises(TypeError, match=f"pixels must be uint8 or floats, got dtype {dtype}"):
        fitted()(np.zeros((4, 6), dtype=dtype))


def test_training_source_is_named_when_refused() -> None:
    with pytest.raises(DataError, match=r"1 channels, got 3 \(training source 1, counted from 0"):
        fitted(2, [like_halves(4, 4), like_halves(4, 4, 3)])


def test_fit_is_refused_when_there_is_no_source() -> None:
    with pytest.raises(ValueError, match="training sources must hold a position, got none"):
        fitted(2, [])


@pytest.mark.parametrize(
    "patch", [0, [2], [2, 0], [1, 2, 3, 4], [], 2.5, True, [2, 2.0], "22", None]
)
def test_patch_is_refused_when_not_one_to_three_sizes(patch: Any) -> None:
    with pytest.raises(ValueError, match="patch must be one, two or three whole sizes .*, got "):
        PatchFrontEnd(patch)


@pytest.mark.parametrize(
    ("patch", "shape"),
    [
        (4, (3, 32, 32)),
        (4, (1, 8, 8)),
        ([2, 4, 4], (16, 3, 32, 32)),
        ([2, 4, 4], (3, 16, 32, 32)),
    ],
)
def test_channels_are_refused_when_they_are_not_last(patch: Any, shape: tuple[int, ...]) -> None:
    for raw in (torch.zeros(shape), np.zeros(shape)):
        with pytest.raises(ValueError, match=r"channels last, got \(.*\), which looks like chan"):
            PatchVectorizer(patch).fit([raw])


def test_many_channels_are_taken_when_they_are_last() -> None:
    vectorizer = fitted(4, [torch.rand(8, 12, 13)])
    assert vectorizer.pixels == 4 * 4 * 13


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"shift": -1}, "shift must be a whole number of pixels, at least 0, got -1"),
        ({"shift": 2.5}, r"shift must be a whole number of pixels, at least 0, got 2\.5"),
        ({"shift": True}, "shift must be a whole number of pixels, at least 0, got True"),
        ({"dropout": -1.0}, "dropout probability .* got -1.0"),
    ],
)
def test_argument_is_refused_when_out_of_range(settings: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        PatchFrontEnd(**settings)


def test_shift_moves_the_picture_and_repeats_its_edge() -> None:
    image = np.random.default_rng(0).random((4, 5))
    vectorizer = fitted(1, size=(4, 5), shift=2)
    shifted = {
        (down, right): np.array(
            [
                [image[np.clip(y - down, 0, 3), np.clip(x - right, 0, 4)] for x in range(5)]
                for y in range(4)
            ]
        )
        for down in range(-2, 3)
        for right in range(-2, 3)
    }
    seen = set()
    for draw in range(300):
        found = cells(vectorizer, image, draw)[0].reshape(4, 5)
        seen |= {move for move, other in shifted.items() if np.allclose(found, other, atol=1e-6)}
    assert seen == set(shifted)


def test_all_frames_are_shifted_alike() -> None:
    frame = np.random.default_rng(0).random((4, 4))
    vectorizer = fitted([1, 4, 4], size=(3, 4, 4), shift=1)
    found = cells(vectorizer, np.stack([frame] * 3), draw=5)[0]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    assert not np.allclose(found[0], frame.ravel())


def test_shift_is_a_function_of_the_draw_alone() -> None:
    vectorizer, image = fitted(shift=2), np.random.default_rng(0).random((4, 6))
    before = torch.random.get_rng_state()
    assert torch.equal(vectorizer(image, 9).values, vectorizer(image, 9).values)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(vectorizer(image).values, fitted()(image).values)


def test_state_survives_json_and_pickle() -> None:
    vectorizer, image = fitted(), np.random.default_rng(0).random((3, 6))
    other = PatchVectorizer(2)
    assert not other.is_fitted
    other.load_state(json.loads(json.dumps(vectorizer.state())))
    assert other.is_fitted
    for copy in (other, pickle.loads(pickle.dumps(vectorizer))):
        assert torch.equal(copy(image).values, vectorizer(image).values)


@pytest.mark.parametrize(("size", "adopted"), [((4, 6), True), ((4, 8), False), ((4, 6, 3), False)])
def test_state_is_adopted_when_grid_and_channels_are_the_same(
    size: tuple[int, ...], adopted: bool
) -> None:
    vectorizer = PatchVectorizer(2)
    vectorizer.adopt(fitted().state(), [np.zeros(size)])
    assert vectorizer.has_vocabulary_of(fitted().state()) == adopted
    assert vectorizer.length(np.zeros(size)) == size[0] * size[1] // 4


# --- front-end ----------------------------------------------------------------------------------


def test_forward_adds_the_vectors_of_pixels_row_and_column(device: torch.device) -> None:
    frontend = made().to(device)
    batch = pack(frontend, [like_halves(4, 6), like_halves(2, 4)]).to(device)
    out = frontend(batch)
    rows, columns = (table.weight for table in frontend.places)
    expected = (
        batch.values[:, :4] @ frontend.projection.weight.T
        + frontend.projection.bias
        + rows[[0, 0, 0, 1, 1, 1, 0, 0]]
        + columns[[0, 1, 2, 0, 1, 2, 0, 1]]
    )
    torch.testing.assert_close(out.values, expected, rtol=1e-5, atol=1e-6)
    assert out.offsets is batch.offsets
    out.values.sum().backward()
    assert all(parameter.grad is not None for parameter in frontend.parameters())


def test_forward_normalises_when_asked() -> None:
    frontend = made(embedding_norm=True)
    values = frontend(pack(frontend, [like_halves(4, 6)])).values
    torch.testing.assert_close(values.mean(1), torch.zeros(6), rtol=0, atol=1e-6)


def test_forward_takes_an_empty_batch_and_other_types() -> None:
    frontend = made([2, 2, 2], (4, 4, 4))
    nothing = frontend(pack(frontend, [])).values
    nothing.sum().backward()
    assert nothing.shape == (0, DIM)
    assert all(parameter.grad is not None for parameter in frontend.parameters())
    batch = pack(frontend, [like_halves(4, 4, 4)])
    assert frontend.double()(batch).values.dtype == torch.float64


def test_places_of_a_large_grid_survive_narrow_types() -> None:
    frontend = made(1, (1, 300)).bfloat16()  # which counts to 256
    batch = pack(frontend, [np.zeros((1, 300), dtype=np.uint8)])
    values = frontend(batch).values
    moved = values - frontend.projection(batch.values[:, :1].bfloat16())
    expected = frontend.places[0].weight[0] + frontend.places[1].weight
    torch.testing.assert_close(moved, expected, rtol=0.1, atol=0.05)


def test_patches_are_named_by_their_places() -> None:
    frontend = made()
    assert frontend.position_labels(like_halves(3, 4)) == ["0,0", "0,1", "1,0", "1,1"]


@pytest.mark.parametrize("patch", [4, [2, 3], [1, 2, 2]])
def test_front_end_is_made_again_from_its_spec(patch: Any) -> None:
    frontend = PatchFrontEnd(patch, shift=1)
    again = build(frontend.spec)
    assert frontend.spec["class_path"] == "seqattn.PatchFrontEnd"
    assert again.spec == frontend.spec
    assert again.vectorizer.patch == frontend.vectorizer.patch
    assert again.keeps_positions


# --- with a head --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    head = SequenceClassification(
        PatchFrontEnd(4, shift=1, dropout=0.0),
        Encoder(16, 1, 2, position="none", dropout=0.0),
        learning_rate=2e-2,
        warmup_steps=0,
        dropout=0.0,
    )
    runner = trainer(max_epochs=25)
    runner.fit(head, loader(head, bars(), batch_size=6))
    path = tmp_path_factory.mktemp("run") / "bars.ckpt"
    runner.save_checkpoint(path)
    return str(path)


def test_label_per_image_is_learned_and_predicted_in_a_fresh_process(
    checkpoint: str, tmp_path: Path
) -> None:
    examples = bars()
    np.savez(tmp_path / "all.npz", *[example.source for example in examples])
    script = (
        "import json, numpy, seqattn\n"
        f"arrays = numpy.load({str(tmp_path / 'all.npz')!r})\n"
        f"head = seqattn.load({checkpoint!r})\n"
        "print(json.dumps(head.predict([arrays[name] for name in arrays])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    found = json.loads(done.stdout)
    assert found == seqattn.load(checkpoint).predict([example.source for example in examples])
    right = [p["label"] == e.target for p, e in zip(found, examples, strict=True)]
    assert sum(right) >= 11


def test_hidden_states_have_a_row_per_patch(checkpoint: str) -> None:
    head = seqattn.load(checkpoint)
    found = seqattn.hidden_states(head, [bars()[0].source, np.zeros((4, 8))])
    assert [tuple(states.shape) for states in found] == [(2, 4, 16), (2, 2, 16)]


def test_attention_maps_name_the_patches(checkpoint: str) -> None:
    found = seqattn.attention_maps(seqattn.load(checkpoint), [bars()[0].source])[0]
    assert found.row_labels == ("0,0", "0,1", "1,0", "1,1")
