"""Several heads on one encoder: the step's loss, metrics, checkpoints, and what is refused."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

import seqattn
from seqattn import (
    DataError,
    Example,
    LanguageModel,
    MultiData,
    MultiTask,
    SequenceClassification,
    SequenceData,
    TokenLabeling,
    attention_maps,
)
from seqattn.callbacks import AttentionMaps, ExponentialAverage
from seqattn.callbacks.checkpoints import AverageCheckpoint
from seqattn.checkpoint import SavedHead
from seqattn.recorded import build
from tests.heads import small_joint
from tests.heads.small_heads import (
    build_on,
    encoder,
    frontend,
    gradients,
    loader,
    tagged,
    tagger,
    trainer,
)
from tests.heads.small_joint import Given, joint, joint_data, random_joint

ROOT = Path(__file__).parents[2]


class Watched(MultiTask):
    """Keeps the clipped gradient of every optimiser step."""

    def configure_gradient_clipping(self, *arguments: Any, **options: Any) -> None:
        super().configure_gradient_clipping(*arguments, **options)
        self.steps = [*getattr(self, "steps", []), gradients(self)]


@pytest.fixture
def float64() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def built(cls: Any = MultiTask, **arguments: Any) -> Any:
    """Return a joint model that is fitted on its examples, without a Trainer."""
    torch.manual_seed(3)
    shared = encoder()
    heads = {
        "tags": build_on(TokenLabeling(frontend(), shared), list(Given("tags").read())),
        "kinds": build_on(
            SequenceClassification(frontend(), shared, dropout=0.0), list(Given("kinds").read())
        ),
    }
    return cls(shared, heads, **{"warmup_steps": 0, "learning_rate": 1e-12, **arguments})


def batches(model: MultiTask, tags: list[list[int]], kinds: list[list[int]]) -> DataLoader[Any]:
    """Return micro-batches of chosen examples of both tasks."""
    examples = {name: list(Given(name).read()) for name in ("tags", "kinds")}
    collate = model.collate
    rows = [
        {
            "tags": collate["tags"]([examples["tags"][i] for i in first]),
            "kinds": collate["kinds"]([examples["kinds"][i] for i in second]),
        }
        for first, second in zip(tags, kinds, strict=True)
    ]
    return DataLoader(rows, batch_size=None)  # type: ignore[arg-type]


def by_hand(model: MultiTask, tags: list[int], kinds: list[int], limit: float) -> dict[str, Any]:
    """The gradient of 2 · mean of the tags' losses + 0.5 · mean of the kinds', clipped."""
    model.zero_grad()
    (batch,) = batches(model, [tags], [kinds])
    loss: Any = 0.0
    for name, weight in (("tags", 2.0), ("kinds", 0.5)):
        head = model.tasks[name]
        values = head.loss(head(batch[name]), batch[name]).values
        loss = loss + weight * values.sum() / max(len(values), 1)
    loss.backward()
    found = gradients(model)
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in found.values()))
    return {n: g * min(1.0, limit / (float(norm) + 1e-6)) for n, g in found.items()}  # as torch


WEIGHTS = {"tags": 2.0, "kinds": 0.5}


# --- one step ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_a_step_is_the_weighted_sum_of_the_tasks_means(clip_norm: float) -> None:
    model = built(Watched, weights=WEIGHTS, clip_norm=clip_norm)
    tags, kinds = [0, 1, 2], [0, 3, 4, 5]
    trainer().fit(model, batches(model, [tags], [kinds]))
    expected = by_hand(model, tags, kinds, clip_norm or math.inf)
    assert model.steps[0].keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(model.steps[0][name], gradient, rtol=0, atol=1e-9, msg=name)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("accumulate", [2, 3, 4])
def test_accumulated_micro_batches_equal_one_big_batch(accumulate: int) -> None:
    model = built(Watched, weights=WEIGHTS, clip_norm=0.05)
    tags = [[0, 1], [2], [3, 4, 5], [6], [7, 8]]  # other shares of each task in each of them
    kinds = [[0], [1, 2, 3], [], [4, 5], [6]]
    trainer(accumulate_grad_batches=accumulate).fit(model, batches(model, tags, kinds))
    starts = range(0, 5, accumulate)
    assert len(model.steps) == len(starts)
    for start, step in zip(starts, model.steps, strict=True):
        window = slice(start, start + accumulate)
        expected = by_hand(model, sum(tags[window], []), sum(kinds[window], []), 0.05)
        assert step.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(step[name], gradient, rtol=0, atol=1e-9, msg=name)


class Scaled(Watched):
    """Scales the loss before the backward pass and the gradients after it, as 16-mixed does."""

    def backward(self, loss: Any, *args: Any, **kwargs: Any) -> None:
        super().backward(loss * 1024, *args, **kwargs)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        super().on_before_optimizer_step(optimizer)
        for parameter in self.parameters():
            assert parameter.grad is not None
            parameter.grad /= 1024


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_scaled_loss_gives_the_same_gradient(accumulate: int) -> None:
    plain, scaled = (built(cls, weights=WEIGHTS) for cls in (Watched, Scaled))
    for model in (plain, scaled):
        rows = batches(model, [[0, 1], [2], [3]], [[0], [1, 2], [3]])
        trainer(accumulate_grad_batches=accumulate).fit(model, rows)
    for one, other in zip(plain.steps, scaled.steps, strict=True):
        for name, gradient in one.items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_without_any_item_changes_nothing(accumulate: int) -> None:
    model = built(Watched)
    runner = trainer(accumulate_grad_batches=accumulate)
    empty = batches(model, [[], []], [[], []])
    runner.fit(model, empty, empty)
    assert not any(gradient.any() for gradient in model.steps[-1].values())
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def test_a_task_of_weight_zero_is_evaluated_only() -> None:
    model = built(Watched, weights={"kinds": 0})
    runner = trainer(accumulate_grad_batches=2)
    rows = batches(model, [[0], [1]], [[0, 1], [2]])
    runner.fit(model, rows, rows)
    step = model.steps[0]
    assert not any(g.any() for name, g in step.items() if name.startswith("heads.kinds.output"))
    assert step["heads.tags.output.weight"].any()
    assert "kinds/val/accuracy" in runner.callback_metrics


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_every_precision_trains(precision: Any, accumulate: int) -> None:
    model = joint()
    runner = trainer(precision=precision, accumulate_grad_batches=accumulate)
    runner.fit(model, joint_data())
    assert runner.callback_metrics["val/loss"].isfinite()
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def test_the_encoder_is_optimised_once() -> None:
    model, runner = joint(), trainer(max_steps=1)
    runner.fit(model, joint_data())
    groups = runner.optimizers[0].param_groups
    parameters = [parameter for group in groups for parameter in group["params"]]
    assert len(set(parameters)) == len(parameters) == len(list(model.parameters()))


def test_two_processes_equal_one_with_two_accumulated_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run(
        [sys.executable, small_joint.__file__, "2", str(tmp_path / "2.pt")],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)  # is put back afterwards
    small_joint.main(1, str(tmp_path / "1.pt"))
    two, one = (torch.load(tmp_path / f"{devices}.pt", weights_only=True) for devices in "21")
    for name, weight in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], weight, rtol=0, atol=1e-9, msg=name)
    assert two["metrics"].keys() == one["metrics"].keys() >= {"tags/train/loss", "val/mean_score"}
    for name, value in one["metrics"].items():
        if name != "train/tokens_per_second":
            assert two["metrics"][name] == pytest.approx(value, abs=1e-6), name


# --- metrics -----------------------------------------------------------------------------------

NAMES = {f"{task}/val/{m}" for task in ("tags", "kinds") for m in ("loss", "accuracy", "macro_f1")}


def test_metrics_have_the_tasks_name_in_front() -> None:
    model, runner = built(weights=WEIGHTS), trainer()
    rows = batches(model, [[0, 1], [2, 3]], [[0], [1, 2, 3]])
    runner.fit(model, rows, rows)
    found = {name: float(value) for name, value in runner.callback_metrics.items()}
    train = {"loss", "learning_rate", "tokens_per_second"}
    expected = {f"train/{name}" for name in train} | {"tags/train/loss", "kinds/train/loss"}
    assert found.keys() == expected | NAMES | {"val/loss", "val/mean_score"}
    for stage in ("train", "val"):
        joint_loss = 2 * found[f"tags/{stage}/loss"] + 0.5 * found[f"kinds/{stage}/loss"]
        assert found[f"{stage}/loss"] == pytest.approx(joint_loss, rel=1e-5)
    mean = (found["tags/val/accuracy"] + found["kinds/val/accuracy"]) / 2
    assert found["val/mean_score"] == pytest.approx(mean)
    runner.test(model, rows, verbose=False)
    tested = {name.replace("val/", "test/") for name in (*NAMES, "val/loss", "val/mean_score")}
    assert runner.callback_metrics.keys() == tested


def test_logged_losses_are_the_means_over_each_tasks_items() -> None:
    model, runner = built(), trainer()
    tags, kinds = [[0, 1], [2], [3, 4, 5]], [[0], [1, 2, 3], [4]]
    runner.fit(model, batches(model, tags, kinds))
    (whole,) = batches(model, [sum(tags, [])], [sum(kinds, [])])
    for name, head in model.tasks.items():
        with torch.no_grad():
            mean = head.loss(head(whole[name]), whole[name]).values.mean()
        torch.testing.assert_close(runner.callback_metrics[f"{name}/train/loss"], mean)


def regression() -> SequenceClassification:
    return SequenceClassification(frontend(), encoder(), objective="regression")


def test_the_mean_score_is_monitored_where_every_head_has_one() -> None:
    assert joint().monitor == ("val/mean_score", "max")
    assert joint(monitor="tags").monitor == ("tags/val/accuracy", "max")


def test_the_loss_is_monitored_where_a_head_has_an_error() -> None:
    head = regression()
    shared = head.encoder
    build_on(head, [Example("a", 1.0), Example("b c", 2.0)])
    tags = build_on(TokenLabeling(frontend(), shared), tagged())
    model = MultiTask(shared, {"size": head, "tags": tags}, monitor="size")
    assert model.monitor == ("size/val/mae", "min")
    model = MultiTask(shared, {"size": head, "tags": tags})
    assert model.monitor == ("val/loss", "min")
    model.trainer = runner = trainer()
    model.configure_model()
    runner.sanity_checking = True
    model.step({"size": head.collate([Example("a", 1.0)]), "tags": tags.collate(tagged())}, "val")
    assert "val/mean_score" not in model.stage_values("val")


# --- checkpoints -------------------------------------------------------------------------------

RAW = {"tags": [["old", "cat"], ["new"], []], "kinds": ["a cat", "the old", ""]}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("run") / "joint.ckpt"
    model, runner = random_joint(weights={"kinds": 0.5}), trainer()
    runner.fit(model, joint_data())
    runner.save_checkpoint(path)
    return str(path)


def test_a_joint_model_is_made_again_of_its_specification() -> None:
    model = random_joint(weights={"kinds": 0.5}, monitor="kinds")
    again = build(model.spec)
    assert again.spec == model.spec
    assert all(head.encoder is again.encoder for head in again.tasks.values())
    heads = model.spec["init_args"]["heads"]
    assert "encoder" not in heads["tags"]["init_args"]
    assert "learning_rate" not in heads["tags"]["init_args"]
    assert heads["tags"]["init_args"]["frontend"]["init_args"]["word_dropout"] == 0.2


def test_a_loaded_joint_model_predicts_by_each_head(checkpoint: str) -> None:
    model = seqattn.load(checkpoint)
    assert isinstance(model, MultiTask)
    assert not model.training
    for task, raw in RAW.items():
        alone = seqattn.load(checkpoint, task=task)
        assert type(alone) is type(model.tasks[task])
        assert alone.predict(raw) == model.tasks[task].predict(raw)
    assert attention_maps(model.tasks["tags"], [["old", "cat"]])[0].weights.shape == (2, 2, 2, 2)


def test_a_checkpoint_holds_plain_data_only(checkpoint: str) -> None:
    block = torch.load(checkpoint, weights_only=True)["seqattn"]
    assert json.loads(json.dumps(block)) == block
    assert block["vectorizers"]["tasks"].keys() == {"tags", "kinds"}


def test_a_head_is_loaded_in_a_fresh_process(checkpoint: str) -> None:
    script = (
        "import json, seqattn; "
        f"head = seqattn.load({checkpoint!r}, task='kinds'); "
        f"print(json.dumps(head.predict({RAW['kinds']!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(checkpoint).parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    expected = seqattn.load(checkpoint, task="kinds").predict(RAW["kinds"])
    assert json.loads(done.stdout) == expected


def test_a_head_taken_out_can_be_trained_and_saved(checkpoint: str, tmp_path: Path) -> None:
    head = seqattn.load(checkpoint, task="tags")
    runner = trainer()
    runner.fit(head, loader(head, tagged()))
    runner.save_checkpoint(tmp_path / "tags.ckpt")
    assert seqattn.load(tmp_path / "tags.ckpt").predict(RAW["tags"]) == head.predict(RAW["tags"])


def test_an_unknown_task_is_refused_by_the_known_ones(checkpoint: str) -> None:
    with pytest.raises(ValueError, match="task must be one of 'tags', 'kinds' for .*, got 'x'"):
        seqattn.load(checkpoint, task="x")


def test_a_class_of_a_head_that_nobody_trusts_is_named(checkpoint: str, tmp_path: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    heads = content["seqattn"]["spec"]["init_args"]["heads"]
    heads["tags"]["class_path"] = "antigravity.Head"
    torch.save(content, tmp_path / "x.ckpt")
    for task in (None, "tags"):
        with pytest.raises(ValueError, match=r"'antigravity.Head'.*pass trust=\['antigravity'\]"):
            seqattn.load(tmp_path / "x.ckpt", task=task)
    assert "antigravity" not in sys.modules
    assert seqattn.load(tmp_path / "x.ckpt", task="kinds").predict(["a cat"])


@pytest.mark.parametrize(
    ("tasks", "rule"),
    [
        (3, "must hold tasks by name, got int"),
        ({"tags": {"source": {}}}, r"must hold the heads \['tags'\], got \['tags', 'kinds'\]"),
        ({"tags": {}, "kinds": {}}, "must hold the state of the source vectorizer, got none"),
        ({"tags": {"source": {}}, "kinds": {"source": {}}}, "the state of the source vectorizer"),
    ],
)
def test_a_damaged_block_is_refused(checkpoint: str, tmp_path: Path, tasks: Any, rule: str) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["seqattn"]["vectorizers"] = {"tasks": tasks}
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=rule):
        seqattn.load(tmp_path / "x.ckpt")


def test_states_of_every_task_are_needed() -> None:
    with pytest.raises(ValueError, match="the states of task 'tags' must be given, got none"):
        joint().restore_vectorizers({})


def test_a_loaded_joint_model_is_tested_without_training_data(checkpoint: str) -> None:
    model = seqattn.load(checkpoint)
    data = joint_data()
    for task in data.tasks.values():
        task.train = None
    found = trainer().test(model, data, verbose=False)[0]
    assert {"test/mean_score", "tags/test/accuracy", "kinds/test/loss"} <= found.keys()


def test_another_architecture_is_refused_by_its_keys(checkpoint: str) -> None:
    shared = encoder()
    model = MultiTask(
        shared,
        {
            "tags": TokenLabeling(frontend(token_length=9), shared),
            "kinds": SequenceClassification(frontend(token_length=16), shared),
        },
        weights={"tags": 3.0},
    )
    saved = SavedHead.read(checkpoint)
    with pytest.raises(ValueError, match="must be that of the checkpoint") as caught:
        saved.require_same_architecture(model.spec)
    assert "model.heads.tags.frontend.token_length: 9 (checkpoint: 16)" in str(caught.value)
    assert "kinds" not in str(caught.value)
    assert "weights" not in str(caught.value)


class Kill(Callback):
    """Ends the run before a micro-batch, counted from 1, as a failing machine would."""

    def __init__(self, number: int) -> None:
        self.remaining = number

    def on_train_batch_start(self, *_: Any) -> None:
        self.remaining -= 1
        if self.remaining == 0:
            raise InterruptedError


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("killed", [4, 11])
def test_a_killed_run_ends_with_the_very_same_weights_and_losses(
    tmp_path: Path, killed: int, accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(data: Any, ckpt_path: Any = None, **settings: Any) -> tuple[MultiTask, Any]:
        monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
        lightning.pytorch.seed_everything(5)
        model = random_joint()
        options = {"max_epochs": 3, "accumulate_grad_batches": accumulate, **settings}
        runner = trainer(log_every_n_steps=1, **options)
        runner.fit(model, data, ckpt_path=ckpt_path)
        return model, runner

    straight, whole = fit(joint_data())
    save = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)
    with pytest.raises(InterruptedError):
        fit(joint_data(), callbacks=[save, Kill(killed)], enable_checkpointing=True)
    last = max(tmp_path.glob("*.ckpt"), key=os.path.getmtime)
    resumed, rest = fit(joint_data(workers=1), str(last))
    for name, weight in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weight), name
    for name, value in whole.callback_metrics.items():
        if name != "train/tokens_per_second":
            assert torch.equal(rest.callback_metrics[name], value), name


@pytest.mark.parametrize("average", ["ema", "last"])
def test_averaged_weights_are_saved_and_loaded(tmp_path: Path, average: str) -> None:
    callbacks: list[Callback] = [
        ExponentialAverage(decay=0.5) if average == "ema" else AverageCheckpoint(),
        ModelCheckpoint(tmp_path, "ema"),
    ]
    logger: Any = lightning.pytorch.loggers.CSVLogger(tmp_path)
    runner = trainer(callbacks=callbacks, max_epochs=2, enable_checkpointing=True, logger=logger)
    runner.fit(joint(learning_rate=0.05), joint_data())
    name = "ema.ckpt" if average == "ema" else "average.ckpt"
    (path,) = tmp_path.rglob(name)
    model, alone = seqattn.load(path), seqattn.load(path, task="tags")
    assert alone.predict(RAW["tags"]) == model.tasks["tags"].predict(RAW["tags"])


# --- weights from elsewhere --------------------------------------------------------------------


def started(model: Any) -> Any:
    """Build a joint model as the Trainer does, and train it by nothing."""
    trainer(limit_train_batches=0).fit(model, joint_data())
    return model


def test_every_head_takes_what_matches_from_one_head(tmp_path: Path) -> None:
    runner, head = trainer(), tagger()
    runner.fit(head, loader(head, list(Given("tags").read())))
    runner.save_checkpoint(tmp_path / "tags.ckpt")
    model = started(joint(init_from=str(tmp_path / "tags.ckpt")))
    for own, saved in zip(model.encoder.parameters(), head.encoder.parameters(), strict=True):
        assert torch.equal(own, saved)
    assert torch.equal(model.tasks["tags"].output.weight, head.output.weight)
    assert model.tasks["kinds"].frontend.vectorizer.symbols == head.frontend.vectorizer.symbols


def test_every_head_takes_from_the_same_task_of_a_joint_checkpoint(checkpoint: str) -> None:
    saved = seqattn.load(checkpoint)
    model = started(random_joint(init_from=checkpoint))
    assert all(
        torch.equal(weight, saved.state_dict()[name])
        for name, weight in model.state_dict().items()
        if not name.startswith(("heads.tags.m", "heads.kinds.m"))
    )


def test_a_head_alone_takes_the_encoder_of_a_joint_checkpoint(checkpoint: str) -> None:
    saved = seqattn.load(checkpoint)
    head = tagger(init_from=checkpoint)
    trainer(limit_train_batches=0).fit(head, loader(head, tagged()))
    for own, other in zip(head.encoder.parameters(), saved.encoder.parameters(), strict=True):
        assert torch.equal(own, other)
    assert not torch.equal(head.output.weight, saved.tasks["tags"].output.weight)


# --- what is refused ---------------------------------------------------------------------------


def with_head(**arguments: Any) -> MultiTask:
    shared = encoder()
    return MultiTask(shared, {"a": TokenLabeling(frontend(), shared, **arguments)})


def test_no_head_is_refused() -> None:
    with pytest.raises(ValueError, match="heads must hold at least one head, got {}"):
        MultiTask(encoder(), {})


def test_what_is_no_encoder_is_refused() -> None:
    with pytest.raises(TypeError, match="encoder must be an Encoder, got NoneType"):
        MultiTask(None, {"a": tagger()})  # type: ignore[arg-type]


def test_what_is_no_head_is_refused() -> None:
    with pytest.raises(TypeError, match="head 'a' must be a TaskHead, got Linear"):
        MultiTask(encoder(), {"a": torch.nn.Linear(2, 2)})


def test_an_encoder_of_a_heads_own_is_refused() -> None:
    with pytest.raises(ValueError, match="head 'a' must have the shared encoder itself, got one"):
        MultiTask(encoder(), {"a": tagger()})


def test_a_front_end_of_two_heads_is_refused() -> None:
    shared, text = encoder(), frontend()
    heads = {name: TokenLabeling(text, shared) for name in "ab"}
    with pytest.raises(ValueError, match="heads must not share a front-end, 'a' and 'b' do"):
        MultiTask(shared, heads)


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "keys", "training"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    rule = f"a task's name must not be empty, hold '/' or '.', .* got {name!r}"
    with pytest.raises(ValueError, match=rule):
        MultiTask(encoder(), {name: partial(TokenLabeling, frontend())})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("learning_rate", 0.5),
        ("schedule", "constant"),
        ("warmup_steps", 1),
        ("weight_decay", 0.5),
        ("clip_norm", 0.5),
        ("init_from", "x.ckpt"),
    ],
)
def test_an_argument_of_the_run_is_refused_in_a_head(argument: str, value: Any) -> None:
    rule = rf"{argument} of head 'a' must be left out, since MultiTask\({argument}=…\) holds"
    with pytest.raises(ValueError, match=rule):
        with_head(**{argument: value})


def test_an_argument_of_the_run_is_refused_where_a_subclass_hides_it() -> None:
    class Hidden(TokenLabeling):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

    shared = encoder()
    with pytest.raises(ValueError, match="clip_norm of head 'a' must be left out"):
        MultiTask(shared, {"a": Hidden(frontend(), shared, clip_norm=2.0)})
    assert MultiTask(shared, {"a": Hidden(frontend(), shared, clip_norm=1.0)}).tasks.keys() == {"a"}


@pytest.mark.parametrize(
    ("weights", "rule"),
    [
        ({"b": 1.0}, "weights must be of tasks, 'tags', 'kinds', got one of 'b'"),
        ({"tags": -1.0}, "weights must be finite and not negative, got -1.0 for 'tags'"),
        ({"tags": math.nan}, "weights must be finite and not negative, got nan for 'tags'"),
        ({"tags": 0, "kinds": 0}, "weights must be positive for at least one task, got"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        joint(weights=weights)


@pytest.mark.parametrize("weight", ["1", None, True])
def test_weights_that_are_no_numbers_are_refused(weight: Any) -> None:
    with pytest.raises(TypeError, match=f"weights must be numbers, got {weight!r} for 'tags'"):
        joint(weights={"tags": weight})


def test_a_monitor_that_is_no_task_is_refused() -> None:
    with pytest.raises(ValueError, match="monitor must be a task, one of 'tags', 'kinds', got 'x'"):
        joint(monitor="x")


def test_a_number_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="learning_rate must be positive and finite, got 0"):
        joint(learning_rate=0)


def test_data_of_one_task_are_refused() -> None:
    with pytest.raises(ValueError, match="several heads must be fitted on a MultiData, got Seq"):
        trainer().fit(joint(), SequenceData(Given("tags")))
    model = joint()
    with pytest.raises(ValueError, match="several heads must be fitted on a MultiData, got None"):
        trainer().fit(model, loader(model.tasks["tags"], tagged()))


def test_data_of_other_tasks_are_refused() -> None:
    model = MultiTask(encoder(), {"other": partial(TokenLabeling, frontend())})
    rule = r"tasks must be those of the model, \['other'\], got \['kinds', 'tags'\]"
    with pytest.raises(ValueError, match=rule):
        trainer().fit(model, joint_data())


def test_prediction_by_all_heads_is_refused() -> None:
    rule = r"one head at a time: take tasks\[task\], or .* with task one of 'tags', 'kinds'"
    with pytest.raises(ValueError, match=rule):
        joint().predict_step({}, 0)
    with pytest.raises(ValueError, match=rule):
        joint().predict(["a cat"], batch_tokens=8)


def test_an_example_of_another_task_is_named_when_the_readers_are_swapped() -> None:
    swapped = {
        name: SequenceData(Given(other), Given(other))
        for name, other in (("tags", "kinds"), ("kinds", "tags"))
    }
    rule = "example 'train:0': the target must be a list of labels, got 'even'"
    with pytest.raises(DataError, match=rule):
        trainer().fit(joint(), MultiData(swapped))


def test_attention_maps_by_callback_are_refused() -> None:
    runner = trainer(callbacks=[AttentionMaps()])
    with pytest.raises(TypeError, match="AttentionMaps needs a TaskHead, got MultiTask"):
        runner.fit(joint(), joint_data())


def test_any_head_is_one_of_several() -> None:
    text = partial(LanguageModel, frontend(units="character", begin=True))
    tags = partial(TokenLabeling, frontend())
    model = MultiTask(encoder(pattern="causal"), {"text": text, "tags": tags})
    assert model.monitor == ("val/loss", "min")
