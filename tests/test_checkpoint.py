"""Checkpoints: whole, broken, foreign, malicious; resume, and weights taken from another."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

import seqattn
from seqattn import (
    AudioFrontEnd,
    Encoder,
    Example,
    FeatureFrontEnd,
    FrontEnd,
    GraphFrontEnd,
    PatchFrontEnd,
    SequenceClassification,
    TextFrontEnd,
    TokenLabeling,
)
from seqattn.checkpoint import FORMAT, SavedHead
from seqattn.frontends.audio_augmentation import AudioAugmentation
from tests.heads.small_heads import (
    build_on,
    classifier,
    encoder,
    frontend,
    labelled,
    language_model,
    loader,
    tagged,
    tagger,
    trainer,
)

ROOT = Path(__file__).parents[1]


def save(head: Any, examples: Any, path: Path) -> str:
    """Fit for an epoch, write a checkpoint, return its path."""
    runner = trainer()
    runner.fit(head, loader(head, examples))
    runner.save_checkpoint(path)
    return str(path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save(tagger(), tagged(), tmp_path_factory.mktemp("run") / "tagger.ckpt")


def rewritten(checkpoint: str, path: Path, **changes: Any) -> str:
    """A copy of a checkpoint with another `seqattn` block."""
    content = torch.load(checkpoint, weights_only=True)
    content["seqattn"].update(changes)
    torch.save(content, path)
    return str(path)


# --- loading ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "examples", "raw"),
    [
        (tagger, tagged(), [["old", "cat"], ["new"], []]),
        (classifier, labelled(), ["a cat", ""]),
        (lambda: classifier(objective="regression"), [Example("a", 1.0), Example("b", 3.0)], ["a"]),
        (language_model, [Example("abc"), Example("cab")], ["ab", ""]),
        (lambda: language_model(objective="masked"), [Example("abc"), Example("cab")], ["ab"]),
    ],
)
def test_a_loaded_head_predicts_what_the_saved_one_did(
    make: Any, examples: Any, raw: Any, tmp_path: Path
) -> None:
    head = make()
    path = save(head, examples, tmp_path / "x.ckpt")
    loaded = seqattn.load(path)
    assert type(loaded) is type(head)
    assert not loaded.training
    assert loaded.predict(raw) == head.predict(raw)


def test_every_checkpoint_holds_plain_data_only(checkpoint: str) -> None:
    content = torch.load(checkpoint, weights_only=True)
    block = content["seqattn"]
    assert json.loads(json.dumps(block)) == block
    assert block["format"] == FORMAT
    assert block["spec"]["class_path"] == "seqattn.TokenLabeling"
    assert block["vectorizers"]["target"]["labels"] == ["ADJ", "ADP", "DET", "NOUN", "VERB"]


def test_a_fresh_process_predicts_without_data_or_yaml(checkpoint: str) -> None:
    raw = [["old", "cat"], ["unheard"], []]
    script = f"import json, seqattn; print(json.dumps(seqattn.load({checkpoint!r}).predict({raw})))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(checkpoint).parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert json.loads(done.stdout) == seqattn.load(checkpoint).predict(raw)


def test_load_from_checkpoint_gives_a_head_of_its_class(checkpoint: str) -> None:
    head = TokenLabeling.load_from_checkpoint(checkpoint)
    assert isinstance(head, TokenLabeling)
    with pytest.raises(TypeError, match="must hold a SequenceClassification, got"):
        SequenceClassification.load_from_checkpoint(checkpoint)


def test_a_loaded_head_is_tested_without_training_data(checkpoint: str) -> None:
    head = seqattn.load(checkpoint)
    found = trainer().test(head, loader(head, tagged()), verbose=False)[0]
    assert set(found) == {"test/loss", "test/accuracy", "test/macro_f1"}


def test_a_head_without_vocabulary_is_not_tested() -> None:
    head = tagger()
    with pytest.raises(ValueError, match="can only be fitted: load a checkpoint with seqattn.load"):
        trainer().test(head, loader(head, tagged()), verbose=False)


def test_a_built_head_is_not_restored(checkpoint: str) -> None:
    head = seqattn.load(checkpoint)
    with pytest.raises(RuntimeError, match="a head must be restored before it is built"):
        head.restore_vectorizers(head.vectorizer_states())


def test_a_head_is_built_once_only() -> None:
    head = build_on(tagger(), tagged())
    output = head.output
    head.configure_model()
    assert head.output is output


def test_a_task_is_refused_when_the_checkpoint_has_one_head(checkpoint: str) -> None:
    with pytest.raises(ValueError, match="task is for checkpoints of several tasks, got 'tags'"):
        seqattn.load(checkpoint, task="tags")


# --- broken, foreign and malicious files --------------------------------------------------------


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="must be a file, got '.*none.ckpt'"):
        seqattn.load(tmp_path / "none.ckpt")


def test_a_truncated_checkpoint_is_refused_wherever_it_was_cut(
    checkpoint: str, tmp_path: Path
) -> None:
    content = Path(checkpoint).read_bytes()
    path = tmp_path / "cut.ckpt"
    for cut in [0, 1, 2, 3, 30, *range(100, len(content), len(content) // 60), len(content) - 1]:
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match="must be a whole file, got .*cut.ckpt'") as caught:
            seqattn.load(path)
        assert "\n" not in str(caught.value)


class Canary:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_plain_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    path, canary = tmp_path / "evil.ckpt", tmp_path / "canary"
    path.write_bytes(pickle.dumps({"seqattn": Canary(canary)}, protocol))
    with pytest.raises(ValueError, match="evil.ckpt': it is no checkpoint of torch"):
        seqattn.load(path)
    assert not canary.exists()


def test_a_checkpoint_with_code_is_refused_and_not_run(checkpoint: str, tmp_path: Path) -> None:
    path, canary = tmp_path / "evil.ckpt", tmp_path / "canary"
    rewritten(checkpoint, path, extra=Canary(canary))
    rule = r"must hold plain data only, got .*evil.ckpt', which holds the object \w+.system and"
    with pytest.raises(ValueError, match=rule) as caught:
        seqattn.load(path)
    assert "weights_only" not in str(caught.value)
    assert not canary.exists()


@pytest.mark.parametrize(
    "content", [{"state_dict": {}}, torch.zeros(3), [1, 2], {"seqattn": "x"}, {"seqattn": None}]
)
def test_a_foreign_checkpoint_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="other.ckpt must be a checkpoint of seqattn"):
        seqattn.load(tmp_path / "other.ckpt")


@pytest.mark.parametrize("name", ["spec", "vectorizers"])
def test_a_broken_block_is_refused(checkpoint: str, tmp_path: Path, name: str) -> None:
    path = rewritten(checkpoint, tmp_path / "odd.ckpt", **{name: 3})
    with pytest.raises(ValueError, match=f"odd.ckpt must hold {name}, got int"):
        seqattn.load(path)


def test_a_newer_format_is_refused(checkpoint: str, tmp_path: Path) -> None:
    path = rewritten(checkpoint, tmp_path / "new.ckpt", format=FORMAT + 1)
    rule = f"must have format {FORMAT} or older, got {FORMAT + 1}.*newer seqattn"
    with pytest.raises(ValueError, match=rule):
        seqattn.load(path)


def test_a_class_nobody_trusts_is_named_and_not_imported(checkpoint: str, tmp_path: Path) -> None:
    spec = torch.load(checkpoint, weights_only=True)["seqattn"]["spec"]
    path = rewritten(
        checkpoint, tmp_path / "x.ckpt", spec={**spec, "class_path": "antigravity.Head"}
    )
    with pytest.raises(ValueError, match=r"'antigravity.Head'.*pass trust=\['antigravity'\]"):
        seqattn.load(path)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("path", ["os.system", "subprocess.Popen", "torch.nn.Linear"])
def test_a_class_that_is_no_part_is_refused(checkpoint: str, tmp_path: Path, path: str) -> None:
    spec = torch.load(checkpoint, weights_only=True)["seqattn"]["spec"]
    file = rewritten(checkpoint, tmp_path / "x.ckpt", spec={**spec, "class_path": path})
    with pytest.raises(ValueError, match=path.rpartition(".")[2]):
        seqattn.load(file)


def test_weights_that_do_not_fit_are_refused(checkpoint: str, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"]["output.bias"] = torch.zeros(99)
    torch.save(content, tmp_path / "x.ckpt")
    rule = (
        r"the weights in .*x.ckpt must fit its model, "
        r"got output.bias of shape \(99,\) in the file and \(5,\) in the model"
    )
    with pytest.raises(ValueError, match=rule):
        seqattn.load(tmp_path / "x.ckpt")


def test_a_checkpoint_without_weights_is_refused_by_the_trainer(
    checkpoint: str, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "state_dict": {}}, tmp_path / "x.ckpt")
    head = seqattn.load(checkpoint)
    with pytest.raises(ValueError, match="the weights in the checkpoint must fit its model"):
        trainer().test(head, loader(head, tagged()), ckpt_path=tmp_path / "x.ckpt", verbose=False)


@pytest.mark.parametrize("bit", [0, 5])
def test_a_flipped_bit_is_refused_or_changes_nothing(
    checkpoint: str, tmp_path: Path, bit: int
) -> None:
    content = Path(checkpoint).read_bytes()
    whole = SavedHead.read(checkpoint)
    path = tmp_path / "flipped.ckpt"
    refused = 0
    for place in [
        *range(0, len(content), len(content) // 150),
        *range(len(content) - 60, len(content)),
    ]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        try:
            found = SavedHead.read(path)
        except ValueError as error:
            assert "must be a whole file" in str(error)  # noqa: PT017
            refused += 1
            continue
        assert (found.spec, found.vectorizers) == (whole.spec, whole.vectorizers)
        assert all(torch.equal(found.weights[name], w) for name, w in whole.weights.items())
    assert refused > 100


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"vectorizers": {}}, "must hold the state of the source vectorizer, got none"),
        ({"vectorizers": {"source": {}}}, "the state of the source vectorizer must be whole"),
        ({"spec": {"class_path": "seqattn.TokenLabeling"}}, "must hold a spec with init_args"),
        ({"spec": {"class_path": "seqattn.TokenLabeling", "init_args": 3}}, "spec with init_args"),
    ],
)
def test_a_damaged_block_is_refused(
    checkpoint: str, tmp_path: Path, changes: Any, rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        seqattn.load(rewritten(checkpoint, tmp_path / "x.ckpt", **changes))


def test_a_block_without_labels_is_refused(checkpoint: str, tmp_path: Path) -> None:
    block = torch.load(checkpoint, weights_only=True)["seqattn"]
    vectorizers = {"source": block["vectorizers"]["source"]}
    path = rewritten(checkpoint, tmp_path / "x.ckpt", vectorizers=vectorizers)
    with pytest.raises(ValueError, match="the state of the target vectorizer must be whole"):
        seqattn.load(path)
    head = seqattn.load(checkpoint)
    with pytest.raises(ValueError, match="the target vocabulary must be that of the checkpoint"):
        trainer().test(head, loader(head, tagged()), ckpt_path=path, verbose=False)


def test_an_unknown_argument_is_refused_by_name(checkpoint: str, tmp_path: Path) -> None:
    spec = torch.load(checkpoint, weights_only=True)["seqattn"]["spec"]
    spec["init_args"]["colour"] = "red"
    path = rewritten(checkpoint, tmp_path / "x.ckpt", spec=spec)
    rule = "init_args must be arguments of seqattn.TokenLabeling, got .*unexpected .*'colour'"
    with pytest.raises(ValueError, match=rule):
        seqattn.load(path)


HEAD = """
from seqattn import TokenLabeling

class Loud(TokenLabeling):
    def decode(self, output, batch):
        return [[label + "!" for label in labels] for labels in super().decode(output, batch)]
"""


def test_a_users_head_is_loaded_when_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loud_head.py").write_text(HEAD)
    monkeypatch.syspath_prepend(tmp_path)
    import loud_head  # type: ignore[import-not-found]

    path = save(loud_head.Loud(frontend(), encoder()), tagged(), tmp_path / "x.ckpt")
    expected = seqattn.load(path).predict([["old"]])
    assert expected[0][0].endswith("!")
    monkeypatch.delitem(sys.modules, "loud_head")
    with pytest.raises(ValueError, match=r"got 'loud_head.Loud': .*trust=\['loud_head'\]"):
        seqattn.load(path)
    assert "loud_head" not in sys.modules
    assert seqattn.load(path, trust=["loud_head"]).predict([["old"]]) == expected
    monkeypatch.delitem(sys.modules, "loud_head")
    assert seqattn.load(path, trust="loud_head.Loud").predict([["old"]]) == expected


# --- another architecture, another vocabulary ---------------------------------------------------


def test_another_architecture_is_refused_by_its_keys_and_values(checkpoint: str) -> None:
    saved = SavedHead.read(checkpoint)
    other = TokenLabeling(frontend(token_length=9), encoder(depth=3, dropout=0.4), layer="mix")
    with pytest.raises(ValueError, match="the model must be that of the checkpoint") as caught:
        saved.require_same_architecture(other.spec)
    for difference in (
        "model.encoder.depth: 3 (checkpoint: 2)",
        "model.frontend.token_length: 9 (checkpoint: 6)",
        "model.layer: 'mix' (checkpoint: 'last')",
    ):
        assert difference in str(caught.value)
    assert "dropout" not in str(caught.value)


def test_training_arguments_may_differ(checkpoint: str) -> None:
    head = TokenLabeling(
        frontend(word_dropout=0.3, dropout=0.2),
        encoder(dropout=0.4),
        learning_rate=0.5,
        schedule="constant",
        warmup_steps=7,
        class_weights="balanced",
        label_smoothing=0.1,
    )
    saved = SavedHead.read(checkpoint)
    assert saved.spec != head.spec
    saved.require_same_architecture(head.spec)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FeatureFrontEnd(), FeatureFrontEnd(noise=0.1, time_mask=0.2)),
        (PatchFrontEnd(), PatchFrontEnd(shift=2)),
        (
            AudioFrontEnd(),
            AudioFrontEnd(speeds=[0.9, 1.0], time_masks=2, frequency_masks=1, corrupt="skip"),
        ),
    ],
)
def test_augmentation_may_differ(one: FrontEnd, other: FrontEnd) -> None:
    spec, changed = TokenLabeling(one, encoder()).spec, TokenLabeling(other, encoder()).spec
    assert spec != changed
    SavedHead("a.ckpt", spec, {}, {}).require_same_architecture(changed)


def test_every_augmentation_and_dropout_may_differ() -> None:
    names = set(inspect.signature(AudioAugmentation).parameters)
    for kind in (AudioFrontEnd, FeatureFrontEnd, GraphFrontEnd, PatchFrontEnd, TextFrontEnd):
        names |= {name for name in inspect.signature(kind).parameters if name.endswith("dropout")}
    assert "feature_dropout" in names
    for name in names:
        one, other = ({"frontend": {"class_path": "A", "init_args": {name: n}}} for n in (0, 1))
        SavedHead("a.ckpt", one, {}, {}).require_same_architecture(other)


def test_another_class_is_refused(checkpoint: str) -> None:
    with pytest.raises(ValueError, match="model.class_path: 'seqattn.SequenceClassification'"):
        SavedHead.read(checkpoint).require_same_architecture(classifier().spec)


def test_another_vocabulary_is_refused_when_resuming(checkpoint: str) -> None:
    other = [Example(["other", "words"], ["DET", "ADJ"], "0")]
    head = tagger()
    with pytest.raises(ValueError, match="the source vocabulary must be that of .*got another"):
        trainer(max_epochs=2).fit(head, loader(head, other), ckpt_path=checkpoint)


# --- resume and averages ------------------------------------------------------------------------


def deep(**arguments: Any) -> TokenLabeling:
    """A head that draws random numbers wherever it can."""
    return TokenLabeling(
        TextFrontEnd(character_dim=4, dropout=0.2, word_dropout=0.2),
        Encoder(16, 2, 2, dropout=0.3, attention_dropout=0.1),
        warmup_steps=2,
        **arguments,
    )


@pytest.mark.parametrize("accumulate", [1, 2])
def test_resumed_training_ends_with_the_very_same_weights(tmp_path: Path, accumulate: int) -> None:
    def run(epochs: int, ckpt_path: str | None = None) -> tuple[TokenLabeling, Any]:
        lightning.pytorch.seed_everything(5)
        head = deep(schedule="constant", learning_rate=0.01)
        runner = trainer(max_epochs=epochs, accumulate_grad_batches=accumulate, log_every_n_steps=1)
        runner.fit(head, loader(head, tagged()), ckpt_path=ckpt_path)
        return head, runner

    straight, _ = run(2)
    half, runner = run(1)
    runner.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = run(2, str(tmp_path / "half.ckpt"))
    for name, weight in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weight), name
    assert not torch.equal(half.output.weight, straight.output.weight)


def test_averaged_weights_are_saved_and_loaded(tmp_path: Path) -> None:
    head = tagger(learning_rate=0.05)
    average = EMAWeightAveraging(decay=0.5)
    saver = ModelCheckpoint(dirpath=tmp_path, filename="ema")
    runner = trainer(callbacks=[average, saver], max_epochs=2, enable_checkpointing=True)
    runner.fit(head, loader(head, tagged()), loader(head, tagged()))
    path = tmp_path / "ema.ckpt"
    content = torch.load(path, weights_only=True)
    raw = content["current_model_state"]
    assert not torch.equal(content["state_dict"]["output.weight"], raw["output.weight"])
    loaded = seqattn.load(path)
    assert torch.equal(loaded.state_dict()["output.weight"], content["state_dict"]["output.weight"])
    assert len(loaded.predict([["old", "cat"]])[0]) == 2
