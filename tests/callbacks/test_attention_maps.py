"""Pictures after a validation: files, choice of examples, W&B, errors before training starts."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from seqattn import Seq2Seq, SequenceData, TextFrontEnd, TokenLabeling
from seqattn.attention.patterns import Edges
from seqattn.batch import Example, SequenceBatch
from seqattn.callbacks import AttentionMaps
from seqattn.callbacks.attention_maps import parts_to_draw
from seqattn.callbacks.attention_pictures import draw_weights
from seqattn.data import Reader
from tests.heads.small_heads import encoder, frontend, loader, tagged, tagger, trainer
from tests.heads.small_seq2seq import decoder, pairs, unbuilt

pytest.importorskip("matplotlib", reason="needs the extra 'wandb'")


def png_size(path: Path) -> tuple[int, int]:
    """Width and height from a PNG's header."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def pictures(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "attention").iterdir())


def run(folder: Path, callback: Callback, head: Any = None, **arguments: Any) -> Any:
    """Fit a head under a plain Trainer that validates after each epoch."""
    head = tagger() if head is None else head
    made = trainer(callbacks=[callback], default_root_dir=folder, **arguments)
    made.fit(head, loader(head, tagged()), loader(head, tagged()))
    return head


def test_a_plain_trainer_gets_a_readable_picture_of_each_example(tmp_path: Path) -> None:
    run(tmp_path, AttentionMaps(examples=2, contributions=True), max_epochs=2)
    assert pictures(tmp_path) == [
        f"epoch-{epoch:04d}-step-{3 * (epoch + 1):07d}-{number}.png"
        for epoch in (0, 1)
        for number in (0, 1)
    ]
    for name in pictures(tmp_path):
        width, height = png_size(tmp_path / "attention" / name)
        assert 300 < width < 4000
        assert 300 < height < 4000


def test_every_nth_epoch_is_drawn(tmp_path: Path) -> None:
    run(tmp_path, AttentionMaps([0], [1], examples=1, every_n_epochs=2), max_epochs=4)
    assert [name[:10] for name in pictures(tmp_path)] == ["epoch-0001", "epoch-0003"]


def test_pictures_lie_beside_the_metrics(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, "log", "one")
    run(tmp_path, AttentionMaps(examples=1), logger=logger, log_every_n_steps=1)
    assert (tmp_path / "log" / "one" / "metrics.csv").is_file()
    assert len(pictures(tmp_path / "log" / "one")) == 1


def test_nothing_is_drawn_in_the_sanity_check(tmp_path: Path) -> None:
    run(tmp_path, AttentionMaps(), max_epochs=0, num_sanity_val_steps=1)
    assert not (tmp_path / "attention").exists()


def test_examples_are_chosen_by_key_or_by_length(tmp_path: Path) -> None:
    head = tagger()
    by_key, by_length = AttentionMaps(examples=["train:3"]), AttentionMaps(max_length=3)
    made = trainer(callbacks=[by_key, by_length], default_root_dir=tmp_path)
    made.fit(head, loader(head, tagged()), loader(head, tagged()))
    assert [example.key for example in by_key._chosen] == ["train:3"]
    assert [example.key for example in by_length._chosen] == ["train:1", "train:2", "train:4"]


class Tagged(Reader):
    """Gives the small examples."""

    def read(self) -> Any:
        return iter(tagged())


def test_the_data_modules_validation_set_is_drawn(tmp_path: Path) -> None:
    made = trainer(callbacks=[AttentionMaps(examples=["train:2"])], default_root_dir=tmp_path)
    made.fit(tagger(), datamodule=SequenceData(Tagged(), Tagged(), batch_tokens=16))
    assert len(pictures(tmp_path)) == 1


class Ring(TextFrontEnd):
    """Joins each word with the next one."""

    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        places = torch.arange(batch.packing.total)
        same = batch.sequence_ids[:-1] == batch.sequence_ids[1:]
        return (
            super()
            .forward(batch)
            .replace(edge_index=torch.stack([places[:-1], places[1:]])[:, same])
        )


def test_edges_are_drawn_on_the_graph_too(tmp_path: Path) -> None:
    pytest.importorskip("networkx", reason="needs the extra 'graph'")
    head = TokenLabeling(Ring(dropout=0.0), encoder(pattern=Edges()), warmup_steps=0)
    run(tmp_path, AttentionMaps(examples=2), head)
    assert pictures(tmp_path) == [
        "epoch-0000-step-0000003-0-graph.png",
        "epoch-0000-step-0000003-0.png",
        "epoch-0000-step-0000003-1-graph.png",
        "epoch-0000-step-0000003-1.png",
    ]
    width, height = png_size(tmp_path / "attention" / pictures(tmp_path)[0])
    assert 300 < width < 4000
    assert 300 < height < 4000


def fit_writer(folder: Path, callback: Callback, **slots: Any) -> None:
    """Fit a head that writes, its decoder of these slots, and validate it."""
    head = unbuilt(decoder(**slots))
    made = trainer(callbacks=[callback], default_root_dir=folder)
    made.fit(head, loader(head, pairs()), loader(head, pairs()))


def test_a_decoder_has_pictures_of_what_it_reads_of_the_source(tmp_path: Path) -> None:
    fit_writer(tmp_path, AttentionMaps(examples=1, contributions=True))
    name = "epoch-0000-step-0000003-0"
    assert pictures(tmp_path) == [f"{name}-cross.png", f"{name}.png"]
    width, height = png_size(tmp_path / "attention" / f"{name}-cross.png")
    assert 300 < width < 4000
    assert 300 < height < 4000


def titled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, str]]:
    """The maps that are drawn from now on, with their titles."""
    drawn: list[tuple[Any, str]] = []

    def note(found: Any, title: str) -> Any:
        drawn.append((found, title))
        return draw_weights(found, title)

    monkeypatch.setattr("seqattn.callbacks.attention_maps.draw_weights", note)
    return drawn


def test_rows_of_a_cross_map_are_the_targets_symbols(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = titled(monkeypatch)
    fit_writer(tmp_path, AttentionMaps(examples=["train:2"], where=["cross"]))
    ((found, title),) = drawn
    assert found.row_labels == ("a", "c", "b", "END")
    assert found.column_labels == ("b", "c", "a")
    assert title == "train:2 · epoch 0, step 3 · cross"


@pytest.mark.filterwarnings("ignore:.*reached max_length")  # it has learned nothing
def test_rows_of_a_cross_map_are_the_output_where_there_is_no_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = titled(monkeypatch)
    callback = AttentionMaps(where=["cross"])
    head = unbuilt(decoder(), decode_examples=0)
    made = trainer(callbacks=[callback], default_root_dir=tmp_path)
    made.fit(head, loader(head, pairs()), loader(head, pairs()))
    callback._chosen = [Example("bca")]
    callback.on_validation_epoch_end(made, head)
    found, _ = drawn[-1]
    (output,) = head.predict(["bca"])
    assert found.row_labels == (*output, "END")[: len(found.row_labels)]


def test_parts_that_attend_are_drawn_and_those_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = titled(monkeypatch)
    recurrent = encoder(mixer="recurrent", position="none")
    assert parts_to_draw(tagger()) == ["encoder"]
    assert parts_to_draw(unbuilt()) == ["encoder", "cross"]
    assert parts_to_draw(unbuilt(decoder(mixer="recurrent"))) == ["encoder", "cross"]
    assert parts_to_draw(Seq2Seq(frontend(), recurrent, decoder())) == ["cross"]
    fit_writer(tmp_path, AttentionMaps(examples=1, where=["decoder", "cross"]))
    assert [title.split(" · ")[-1] for _, title in drawn] == ["decoder", "cross"]
    assert drawn[0][0].column_labels == ("BEGIN", "b", "a")


@pytest.mark.parametrize(
    ("where", "rule"),
    [
        (["source"], "where must be one of 'encoder', 'decoder', 'cross', got 'source'"),
        ([], r"where must name at least one part and none twice, got \[\]"),
        (["cross", "cross"], "where must name at least one part and none twice, got"),
    ],
)
def test_a_wrong_part_is_refused(where: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        AttentionMaps(where=where)


def test_a_part_that_the_head_has_not_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="where='cross' needs a head with a decoder, got TokenLab"):
        run(tmp_path, AttentionMaps(where=["cross"]), max_epochs=0)
    with pytest.raises(ValueError, match="need a layer with attention, got mixers 'recurrent'"):
        fit_writer(tmp_path, AttentionMaps(where=["decoder"]), mixer="recurrent")


def test_training_is_the_same_with_and_without_pictures(tmp_path: Path) -> None:
    def weights(*callbacks: Callback) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        head = TokenLabeling(
            frontend(dropout=0.3), encoder(dropout=0.3, attention_dropout=0.3), warmup_steps=0
        )
        made = trainer(callbacks=list(callbacks), default_root_dir=tmp_path, max_epochs=3)
        made.fit(head, loader(head, tagged()), loader(head, tagged()))
        return head.state_dict()

    plain = weights()
    drawn = weights(AttentionMaps(contributions=True))
    assert plain.keys() == drawn.keys()
    assert all(torch.equal(plain[name], drawn[name]) for name in plain)


class Modes(Callback):
    """Notes whether the head trains, and torch's random state, around the drawing."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, torch.Tensor]] = []

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.seen.append((pl_module.training, torch.random.get_rng_state()))

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        assert pl_module.training
        assert all(module.training for module in pl_module.encoder.modules())


def test_mode_and_random_state_are_left_alone(tmp_path: Path) -> None:
    before, after = Modes(), Modes()
    head = tagger()
    made = trainer(
        callbacks=[before, AttentionMaps(), after], default_root_dir=tmp_path, max_epochs=2
    )
    made.fit(head, loader(head, tagged()), loader(head, tagged()))
    for (mode, state), (mode_after, state_after) in zip(before.seen, after.seen, strict=True):
        assert mode is mode_after is False
        assert torch.equal(state, state_after)


def test_it_is_made_from_yaml_by_its_class_path(tmp_path: Path) -> None:
    parser = ArgumentParser()
    parser.add_argument("--callbacks", type=list[Callback])
    path = tmp_path / "maps.yaml"
    path.write_text(
        "callbacks:\n- class_path: seqattn.callbacks.AttentionMaps\n"
        "  init_args: {layers: [-1], heads: [0, 1], examples: ['train:1'], contributions: true}\n"
    )
    parser.add_argument("--config", action="config")
    (found,) = parser.instantiate(parser.parse_args(["--config", str(path)])).callbacks
    assert isinstance(found, AttentionMaps)
    assert (found.layers, found.heads, found.examples) == ([-1], [0, 1], ["train:1"])
    assert (found.contributions, found.every_n_epochs) == (True, 1)


def test_wandb_gets_the_pictures_with_their_titles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="needs the extra 'wandb'")
    from seqattn.callbacks.wandb import SafeWandbLogger

    class Run:
        rows: list[dict[str, Any]] = []

        def log(self, row: dict[str, Any]) -> None:
            self.rows.append(row)

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    monkeypatch.setattr(SafeWandbLogger, "experiment", property(lambda self: self.run))
    logger = SafeWandbLogger(Run(), tmp_path)
    run(tmp_path, AttentionMaps(examples=2), logger=logger)
    (row,) = [row for row in Run.rows if "val/attention" in row]
    assert row["trainer/global_step"] == 3
    assert [image._caption for image in row["val/attention"]] == [
        "train:0 · epoch 0, step 3",
        "train:1 · epoch 0, step 3",
    ]


@pytest.mark.parametrize(("module", "extra"), [("matplotlib", "wandb"), ("networkx", "graph")])
def test_a_missing_package_is_named_with_its_extra_before_training(
    module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == module else find(name, *rest),
    )
    head = TokenLabeling(Ring(), encoder(pattern=Edges()), warmup_steps=0)
    rule = rf"AttentionMaps needs {module}.*'seqattn\[{extra}\]'"
    with pytest.raises(ModuleNotFoundError, match=rule):
        run(tmp_path, AttentionMaps(), head)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"examples": 0}, "examples must be at least 1, got 0"),
        ({"examples": []}, "examples must be at least 1, got 0"),
        ({"every_n_epochs": 0}, "every_n_epochs must be at least 1, got 0"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
    ],
)
def test_a_number_below_one_is_refused(arguments: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        AttentionMaps(**arguments)


@pytest.mark.parametrize(
    ("arguments", "kind", "rule"),
    [
        ({"layers": [5]}, IndexError, "layers must lie in -2 … 1, got 5"),
        ({"heads": [2]}, IndexError, "heads must lie in -2 … 1, got 2"),
        ({"examples": ["val:9"]}, ValueError, "keys of the validation set, got 'val:9'"),
    ],
)
def test_a_choice_that_is_not_there_is_refused_before_training(
    arguments: Any, kind: Any, rule: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=rule):
        run(tmp_path, AttentionMaps(**arguments), max_epochs=0, num_sanity_val_steps=1)


def test_a_validation_set_without_short_examples_is_refused(tmp_path: Path) -> None:
    head = tagger()
    long = [Example(["a"] * 9, ["DET"] * 9)]
    made = trainer(callbacks=[AttentionMaps(max_length=8)], default_root_dir=tmp_path)
    with pytest.raises(ValueError, match="max_length must let an example.*pass, got 8"):
        made.fit(head, loader(head, tagged()), loader(head, long))


def test_a_validation_set_of_ready_batches_is_refused(tmp_path: Path) -> None:
    head = tagger()

    class Batches(list[Any]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: Any) -> Any:
            return head.collate(tagged())

    made = trainer(callbacks=[AttentionMaps()], default_root_dir=tmp_path)
    with pytest.raises(ValueError, match="must hold seqattn.Example objects for AttentionMaps"):
        made.fit(head, loader(head, tagged()), DataLoader(Batches(), batch_size=None))


def test_a_module_that_is_no_head_is_refused() -> None:
    from lightning.pytorch.demos.boring_classes import BoringModel

    with pytest.raises(TypeError, match="AttentionMaps needs a TaskHead, got BoringModel"):
        trainer(callbacks=[AttentionMaps()]).fit(BoringModel())
