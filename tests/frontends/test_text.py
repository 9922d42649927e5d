import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch.utils.data import DataLoader

from seqattn import recorded
from seqattn.batch import Example, SequenceBatch
from seqattn.collate import Collator
from seqattn.frontends.text import TextFrontEnd

UNITS = ["word", "character", "subword"]
MIXED = ["the cat sat", ["a", "b c"], ("the cat", "a")]
DIM = 8


def build(units: str = "word", sources: list[Any] | None = None, **settings: Any) -> TextFrontEnd:
    torch.manual_seed(0)
    frontend = TextFrontEnd(units, **settings)  # type: ignore[arg-type]
    frontend.vectorizer.fit(MIXED if sources is None else sources)
    frontend.build(DIM)
    return frontend.eval()


def pack(frontend: TextFrontEnd, raws: list[Any]) -> SequenceBatch:
    return Collator(frontend.vectorizer)([Example(raw) for raw in raws])


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.txt"
    path.write_text("cat 1 0 0\nsat 0 1 0\neel 0 0 1\n")
    return path


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("embedding", ["learned", "one_hot"])
def test_forward_gives_a_vector_per_position(units: str, embedding: str, device: torch.device):
    frontend = build(units, embedding=embedding, embedding_norm=True, begin=True).to(device)
    batch = pack(frontend, [*MIXED, "", []]).to(device)
    out = frontend(batch)
    out.values.sum().backward()

    assert out.values.shape == (len(batch.values), DIM)
    assert bool(torch.isfinite(out.values).all())
    assert out.offsets is batch.offsets
    assert all(p.grad is not None for p in frontend.parameters())


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("raws", [[], [""], ["", []]])
def test_forward_gives_no_vectors_when_there_are_no_positions(units: str, raws: list[Any]):
    frontend = build(units)
    out = frontend(pack(frontend, raws))
    out.values.sum().backward()

    assert out.values.shape == (0, DIM)
    assert len(out) == len(raws)


@pytest.mark.parametrize("units", UNITS)
def test_sequence_is_unchanged_whatever_lies_beside_it(units: str):
    frontend = build(units)
    alone = frontend(pack(frontend, ["the cat"])).values
    beside = frontend(pack(frontend, ["a b c", "the cat", ["sat"]]))
    start, end = beside.offsets[1:3].tolist()

    torch.testing.assert_close(beside.values[start:end], alone, atol=1e-6, rtol=0)


def test_unknown_words_differ_by_their_characters():
    frontend = build("word")
    values = frontend(pack(frontend, ["tac sac tac CAT cat"])).values

    assert torch.equal(values[0], values[2])
    assert len(torch.unique(values, dim=0)) == 4


def test_unknown_words_are_alike_without_characters():
    frontend = build("word", character_dim=0)
    values = frontend(pack(frontend, ["tac sac"])).values

    assert torch.equal(values[0], values[1])


def test_case_is_seen_when_words_are_lowercased():
    frontend = build("word", lowercase=True)
    values = frontend(pack(frontend, ["cat Cat"])).values

    assert not torch.equal(values[0], values[1])


def test_order_of_a_tokens_characters_is_seen():
    frontend = build("character")
    values = frontend(pack(frontend, [["cat", "act"]])).values

    assert not torch.allclose(values[0], values[1])


def test_sides_of_a_pair_differ():
    frontend = build("word")
    values = frontend(pack(frontend, [("cat", "cat")])).values

    assert not torch.equal(values[0], values[2])


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("embedding", ["learned", "one_hot"])
def test_symbol_embedding_is_what_a_lone_symbol_gets(units: str, embedding: str):
    frontend = build(units, ["the cat sat"], embedding=embedding, character_dim=0)
    ids = pack(frontend, ["the cat"]).values[:, 0]

    assert frontend.symbol_embedding.shape == (len(frontend.vectorizer.symbols), DIM)
    torch.testing.assert_close(
        frontend(pack(frontend, ["the cat"])).values, frontend.symbol_embedding[ids]
    )


def test_word_dropout_hides_words_but_not_characters_in_training_only():
    frontend = build("word", ["cat sat"], word_dropout=0.9, dropout=0.0)
    batch = pack(frontend, ["cat " * 500])
    frontend.train()
    seen, counts = torch.unique(frontend(batch).values, dim=0, return_counts=True)
    unknown = frontend.characters(batch.values[:1, 1:])[0]  # type: ignore[misc]

    assert sorted(counts.tolist())[0] == pytest.approx(50, abs=30)
    torch.testing.assert_close(seen[counts.argmax()], unknown)
    assert len(torch.unique(frontend.eval()(batch).values, dim=0)) == 1


def test_word_dropout_follows_torchs_generator():
    frontend = build("subword", word_dropout=0.5).train()
    batch = pack(frontend, ["the cat sat " * 20])
    outs = []
    for _ in range(2):
        torch.manual_seed(1)
        outs.append(frontend(batch).values)

    assert torch.equal(outs[0], outs[1])


@pytest.mark.parametrize("freeze", [True, False])
def test_checkpoint_with_vectors_needs_no_file(vectors: Path, freeze: bool):
    settings = {"embedding": "vectors", "vectors_path": str(vectors), "freeze_vectors": freeze}
    trained = build(**settings)
    vectors.unlink()
    loaded = TextFrontEnd(**settings)  # type: ignore[arg-type]
    loaded.vectorizer.load_state(trained.vectorizer.state())
    loaded.build(DIM)
    loaded.load_state_dict(trained.state_dict())
    raws = ["the cat eel whale"]

    assert torch.equal(
        loaded.eval()(pack(loaded, raws)).values, trained(pack(trained, raws)).values
    )


def test_vectors_stay_when_the_fitted_state_comes_back(vectors: Path):
    frontend = TextFrontEnd(embedding="vectors", vectors_path=str(vectors))
    frontend.vectorizer.fit(MIXED)
    frontend.vectorizer.load_state(frontend.vectorizer.state())
    frontend.build(DIM)

    assert bool(torch.isfinite(frontend.symbol_embedding).all())


@pytest.mark.parametrize("units", UNITS)
def test_front_end_is_made_again_from_its_specification_and_state(units: str):
    first = build(units, token_length=5, begin=True)
    second = recorded.build(first.spec)
    second.vectorizer.load_state(first.vectorizer.state())
    second.build(DIM)
    second.load_state_dict(first.state_dict())

    out = second.eval()(pack(second, MIXED)).values
    assert torch.equal(out, first(pack(first, MIXED)).values)
    assert copy.deepcopy(first).spec == first.spec


def test_loader_workers_give_the_same_batches():
    frontend = build("subword")
    examples = [Example(raw) for raw in ["the cat", "sat", "a b c", ""]]
    collator = Collator(frontend.vectorizer)
    alone = DataLoader(examples, batch_size=2, collate_fn=collator)
    worked = DataLoader(examples, batch_size=2, collate_fn=collator, num_workers=1)

    for one, other in zip(alone, worked, strict=True):
        assert torch.equal(one.values, other.values)


def test_half_precision_gives_finite_vectors_close_to_full():
    frontend = build("word")
    batch = pack(frontend, MIXED)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = frontend(batch).values
        values.sum().backward()

    torch.testing.assert_close(values.float(), frontend(batch).values, atol=0.05, rtol=0.05)


def test_command_line_reads_every_argument():
    parser = ArgumentParser()
    parser.add_subclass_arguments(TextFrontEnd, "frontend")
    path = "seqattn.frontends.text.TextFrontEnd"
    flags = ["units=subword", "vocabulary_size=300", "begin=true", "max_tokens=9", "dropout=0.2"]
    config = parser.parse_args(
        [f"--frontend={path}", *(f"--frontend.init_args.{flag}" for flag in flags)]
    )
    frontend = parser.instantiate(config).frontend

    assert frontend.spec["init_args"]["vocabulary_size"] == 300
    assert frontend.vectorizer.begin


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"units": "words"}, "units must be one of word, character, subword, got 'words'"),
        ({"embedding": "hot"}, "embedding must be one of learned, one_hot, vectors, got 'hot'"),
        ({"embedding": "vectors"}, "vectors_path must name a file .*, got None"),
        ({"vectors_path": "x"}, "vectors_path needs embedding='vectors', got 'learned'"),
        ({"freeze_vectors": False}, "freeze_vectors=False needs embedding='vectors', got 'lear"),
        (
            {"units": "subword", "embedding": "vectors", "vectors_path": "x"},
            "units must be 'word' for word vectors, got 'subword'",
        ),
        ({"vocabulary_size": 2}, "vocabulary_size must be at least 6 for units 'word', got 2"),
        ({"min_count": 0}, "min_count must be at least 1, got 0"),
        ({"token_length": 0}, "token_length must be at least 1, got 0"),
        ({"character_dim": -1}, "character_dim must be at least 0, got -1"),
        ({"word_dropout": 1.0}, "word_dropout must lie in 0 … 1, without 1, got 1.0"),
        ({"dropout": -0.1}, "dropout must lie in 0 … 1, without 1, got -0.1"),
        ({"max_tokens": 1}, "max_tokens must be at least 2, got 1"),
    ],
)
def test_arguments_are_refused_when_they_break_a_rule(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        TextFrontEnd(**settings)
