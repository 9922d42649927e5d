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
from seqattn import DataError, Encoder, Example, FeatureFrontEnd, TokenLabeling
from seqattn.batch import SequenceBatch
from seqattn.collate import Collator
from seqattn.data import Arrays
from seqattn.frontends.features import FeatureVectorizer
from seqattn.recorded import build
from tests.heads.small_heads import encoder, fit, loader, tagged, tagger, trainer

ROOT = Path(__file__).parents[2]
DIM = 8
TRAINING = [np.array([[1.0, 10.0], [3.0, 10.0]]), np.array([[5.0, 10.0], [7.0, 10.0]])]
# Mean 4 and 10; squares 9 + 1 + 1 + 9 over 4: deviation sqrt(5); the second column is constant.
MEAN, DEVIATION = [4.0, 10.0], [5**0.5, 1.0]


def fitted(sources: Any = TRAINING, **settings: float) -> FeatureVectorizer:
    vectorizer = FeatureVectorizer(**settings)
    vectorizer.fit(sources)
    return vectorizer


def made(**settings: Any) -> FeatureFrontEnd:
    frontend = FeatureFrontEnd(**settings)
    frontend.vectorizer.fit(TRAINING)
    frontend.build(DIM)
    return frontend.eval()


def pack(frontend: FeatureFrontEnd, raws: list[Any]) -> SequenceBatch:
    return Collator(frontend.vectorizer)([Example(raw) for raw in raws])


def signs(count: int = 6, length: int = 7) -> list[Example]:
    """Sequences of numbers, each position labelled by the sign of its own."""
    random = np.random.default_rng(0)
    arrays = [random.normal(size=(length, 3)) for _ in range(count)]
    return [
        Example(array, ["plus" if row[0] > 0 else "minus" for row in array], f"train:{number}")
        for number, array in enumerate(arrays)
    ]


# --- vectorizer ---------------------------------------------------------------------------------


def test_columns_are_standardised_by_training() -> None:
    vectorizer = fitted()
    assert vectorizer.state() == {"mean": MEAN, "deviation": pytest.approx(DEVIATION)}
    values = vectorizer(np.array([[4.0, 11.0], [4.0 + 5**0.5, 9.0]])).values
    torch.testing.assert_close(values, torch.tensor([[0.0, 1.0], [1.0, -1.0]]))
    assert values.dtype == torch.float32


@pytest.mark.parametrize("kind", ["array", "tensor", "file"])
def test_source_is_an_array_a_tensor_or_a_file(kind: str, tmp_path: Path) -> None:
    rows = np.array([[4.0, 10.0], [9.0, 12.0], [0.0, 0.0]], dtype=np.float32)
    np.save(tmp_path / "rows.npy", rows)
    raw = {"array": rows, "tensor": torch.tensor(rows), "file": tmp_path / "rows.npy"}[kind]
    vectorizer = fitted()
    torch.testing.assert_close(vectorizer(raw).values, vectorizer(rows).values, rtol=0, atol=0)
    assert vectorizer.length(raw) == 3


def test_sequence_may_be_empty() -> None:
    vectorizer = fitted([*TRAINING, np.zeros((0, 2))], noise=0.1, time_mask=0.5)
    assert vectorizer(np.zeros((0, 2)), draw=3).values.shape == (0, 2)
    assert vectorizer.length(np.zeros((0, 2))) == 0
    assert vectorizer.empty().shape == (0, 2)


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (np.zeros(3), r"shape \(L, F\) with a column, got \(3,\)"),
        (np.zeros(0), r"shape \(L, F\) with a column, got \(0,\)"),
        (np.zeros((3, 0)), r"shape \(L, F\) with a column, got \(3, 0\)"),
        (np.zeros((2, 3, 2)), r"shape \(L, F\) with a column, got \(2, 3, 2\)"),
        (np.zeros((3, 5)), "F = 2 columns, got 5"),
    ],
)
def test_source_is_refused_when_of_another_shape(raw: Any, rule: str) -> None:
    for call in (fitted(), fitted().length):
        with pytest.raises(ValueError, match=f"an array must have {rule}"):
            call(raw)
    with pytest.raises(DataError, match=r"an array must have .* \(training source 2, counted"):
        fitted([*TRAINING, raw])


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_source_is_refused_when_not_finite(wrong: float) -> None:
    raw = np.array([[1.0, 2.0], [1.0, wrong]])
    collate = Collator(fitted())
    with pytest.raises(
        DataError, match=f"'x': .*finite in float32, got {wrong} at position 1, column 1"
    ):
        collate([Example(raw, key="x")])
    with pytest.raises(DataError, match=r"at position 1, column 1 \(training source 0, counted"):
        fitted([raw])


def test_source_is_refused_when_too_far_from_training() -> None:
    vectorizer = fitted([np.array([[0.0], [1e-9]])])
    with pytest.raises(DataError, match=r"'x': values must be finite, got \[inf\] at position 1"):
        Collator(vectorizer)([Example(np.array([[1.0], [1e30]]), key="x")])


def test_fit_is_refused_when_there_is_no_position() -> None:
    for sources in ([], [np.zeros((0, 2))]):
        with pytest.raises(ValueError, match="training sources must hold a position, got none"):
            fitted(sources)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"noise": -0.1}, "noise must be finite and at least 0, got -0.1"),
        ({"noise": float("nan")}, "noise must be finite and at least 0, got nan"),
        ({"time_mask": 1.5}, "time_mask must lie in 0 … 1, got 1.5"),
        ({"dropout": 2.0}, "dropout probability .* got 2.0"),
    ],
)
def test_argument_is_refused_when_out_of_range(settings: dict[str, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        FeatureFrontEnd(**settings)


def test_noise_is_of_the_size_asked_for_and_a_function_of_the_draw() -> None:
    vectorizer = fitted(noise=0.5)
    raw = np.random.default_rng(0).normal(MEAN, DEVIATION, (20_000, 2))
    plain = vectorizer(raw).values
    added = vectorizer(raw, draw=2**62 + 1).values - plain
    assert added.std(0).tolist() == pytest.approx([0.5, 0.5], rel=0.03)
    assert abs(float(added.mean())) < 0.01
    again = vectorizer(raw, draw=2**62 + 1).values - plain
    torch.testing.assert_close(again, added, rtol=0, atol=0)
    assert not torch.equal(vectorizer(raw, draw=8).values - plain, added)


def test_mask_is_one_stretch_of_the_mean_of_any_allowed_length() -> None:
    vectorizer = fitted(time_mask=0.5)
    raw = np.full((8, 2), 100.0)
    widths = set()
    for draw in range(200):
        masked = (vectorizer(raw, draw=draw).values == 0).all(1)
        edges = int(masked.int().diff().abs().sum()) + int(masked[0]) + int(masked[-1])
        assert edges == (2 if masked.any() else 0)
        widths.add(int(masked.sum()))
    assert widths == {0, 1, 2, 3, 4}


def test_nothing_is_drawn_without_a_draw_and_global_state_is_left_alone() -> None:
    vectorizer = fitted(noise=1.0, time_mask=1.0)
    before = torch.random.get_rng_state()
    assert torch.equal(vectorizer(TRAINING[0]).values, fitted()(TRAINING[0]).values)
    vectorizer(TRAINING[0], draw=5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_state_survives_json_and_pickle() -> None:
    vectorizer, raw = fitted(), np.array([[0.3, 0.7]])
    other = FeatureVectorizer()
    assert not other.is_fitted
    other.load_state(json.loads(json.dumps(vectorizer.state())))
    assert other.is_fitted
    for copy in (other, pickle.loads(pickle.dumps(vectorizer))):
        assert torch.equal(copy(raw).values, vectorizer(raw).values)
        assert copy.has_vocabulary_of(vectorizer.state())


@pytest.mark.parametrize(("columns", "adopted"), [(2, True), (3, False)])
def test_statistics_are_adopted_when_the_columns_are_as_many(columns: int, adopted: bool) -> None:
    vectorizer = FeatureVectorizer()
    vectorizer.adopt(fitted().state(), [np.ones((4, columns))])
    assert vectorizer.columns == columns
    assert vectorizer.has_vocabulary_of(fitted().state()) == adopted


# --- front-end ----------------------------------------------------------------------------------


def test_forward_is_one_linear_layer(device: torch.device) -> None:
    frontend = made().to(device)
    batch = pack(frontend, [*TRAINING, np.zeros((0, 2))]).to(device)
    out = frontend(batch)
    expected = batch.values @ frontend.projection.weight.T + frontend.projection.bias
    torch.testing.assert_close(out.values, expected, rtol=1e-5, atol=1e-6)
    assert out.offsets is batch.offsets
    assert out.keys == batch.keys
    out.values.sum().backward()
    assert all(parameter.grad is not None for parameter in frontend.parameters())


def test_forward_normalises_when_asked() -> None:
    values = made(embedding_norm=True)(pack(made(), TRAINING)).values
    torch.testing.assert_close(values.mean(1), torch.zeros(4), rtol=0, atol=1e-6)


def test_forward_takes_an_empty_batch_and_other_types() -> None:
    frontend = made()
    nothing = frontend(pack(frontend, [])).values
    nothing.sum().backward()
    assert nothing.shape == (0, DIM)
    assert all(parameter.grad is not None for parameter in frontend.parameters())
    wide = frontend.double()
    assert wide(pack(frontend, TRAINING)).values.dtype == torch.float64


def test_front_end_is_made_again_from_its_spec() -> None:
    frontend = FeatureFrontEnd(noise=0.2, time_mask=0.1, dropout=0.3)
    again = build(frontend.spec)
    assert frontend.spec["class_path"] == "seqattn.FeatureFrontEnd"
    assert again.spec == frontend.spec
    assert again.vectorizer.noise == 0.2
    assert again.keeps_positions


# --- with a head --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    head = TokenLabeling(
        FeatureFrontEnd(noise=0.1, dropout=0.0),
        Encoder(16, 1, 2, dropout=0.0),
        learning_rate=3e-2,
        warmup_steps=0,
    )
    runner = trainer(max_epochs=20)
    runner.fit(head, loader(head, signs()))
    path = tmp_path_factory.mktemp("run") / "signs.ckpt"
    runner.save_checkpoint(path)
    return str(path)


def test_label_per_position_is_learned_and_predicted_in_a_fresh_process(
    checkpoint: str, tmp_path: Path
) -> None:
    examples = signs(count=3, length=5)
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
    pairs = [
        (label, right)
        for labels, example in zip(found, examples, strict=True)
        for label, right in zip(labels, example.target, strict=True)
    ]
    assert len(pairs) == 15
    assert sum(label == right for label, right in pairs) >= 12


def test_hidden_states_have_a_row_per_position(checkpoint: str) -> None:
    head = seqattn.load(checkpoint)
    raws = [example.source for example in signs()]
    found = seqattn.hidden_states(head, [*raws, np.zeros((0, 3))])
    assert [tuple(states.shape) for states in found] == [(2, 7, 16)] * 6 + [(2, 0, 16)]


def test_hidden_states_of_one_model_are_the_source_of_another(
    checkpoint: str, tmp_path: Path
) -> None:
    head = seqattn.load(checkpoint)
    examples = signs()
    states = seqattn.hidden_states(head, [e.source for e in examples], layers=[-1])
    arrays = {e.key: s.numpy() for e, s in zip(examples, states, strict=True)}
    np.savez(tmp_path / "states.npz", **arrays)
    reader = Arrays(str(tmp_path / "states.npz"), layer=-1)
    vectorizer = fitted([example.source for example in reader.read()])
    assert vectorizer.columns == 16


def test_encoder_may_come_from_another_modality(tmp_path: Path) -> None:
    runner, text = trainer(), tagger()
    runner.fit(text, loader(text, tagged()))
    runner.save_checkpoint(tmp_path / "text.ckpt")
    head = TokenLabeling(FeatureFrontEnd(), encoder(), init_from=str(tmp_path / "text.ckpt"))
    fit(head, signs(), max_steps=0)
    for name, weight in text.encoder.state_dict().items():
        assert torch.equal(head.encoder.state_dict()[name], weight), name
    assert head.labels == ["minus", "plus"]
