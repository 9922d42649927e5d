"""One optimiser step, however its batch is split, and what a run logs."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from torch.utils.data import DataLoader

from seqattn import LanguageModel, SequenceBatch, SequenceClassification, TokenLabeling
from seqattn.heads.output import Loss
from seqattn.heads.step_totals import StepTotals
from tests.heads import two_processes
from tests.heads.small_heads import (
    build_on,
    encoder,
    fit,
    frontend,
    gradients,
    loader,
    tagged,
    tagger,
    trainer,
)

EXAMPLES = tagged((5, 1, 3, 8, 2, 4, 7))


class Watched(TokenLabeling):
    """Keeps the clipped gradient of every optimiser step."""

    def configure_gradient_clipping(self, *arguments: Any, **options: Any) -> None:
        super().configure_gradient_clipping(*arguments, **options)
        self.steps = [*getattr(self, "steps", []), gradients(self)]


@pytest.fixture
def float64() -> Any:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def watched(**arguments: Any) -> Watched:
    torch.manual_seed(3)
    return build_on(Watched(frontend(), encoder(), warmup_steps=0, **arguments), EXAMPLES)


def mean_gradient(head: TokenLabeling, batch: SequenceBatch, limit: float) -> dict[str, Any]:
    """The gradient of the mean loss of one big batch, clipped by the formula."""
    head.zero_grad()
    values = head.loss(head(batch), batch).values
    (values.sum() / len(values)).backward()
    found = gradients(head)
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in found.values()))
    return {n: g * min(1.0, limit / (float(norm) + 1e-6)) for n, g in found.items()}  # as torch


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("accumulate", "size"), [(2, 2), (3, 1), (2, 3), (4, 7)])
def test_gradient_is_that_of_one_big_batch_when_accumulated(accumulate: int, size: int) -> None:
    head, limit = watched(clip_norm=0.05, learning_rate=1e-12), 0.05
    trainer(accumulate_grad_batches=accumulate).fit(head, loader(head, EXAMPLES, batch_size=size))
    window = accumulate * size
    starts = range(0, len(EXAMPLES), window)
    assert len(head.steps) == len(starts)
    for start, step in zip(starts, head.steps, strict=True):
        expected = mean_gradient(head, head.collate(EXAMPLES[start : start + window]), limit)
        assert step.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(step[name], gradient, rtol=0, atol=1e-9, msg=name)


@pytest.mark.usefixtures("float64")
def test_gradient_is_not_clipped_when_clip_norm_is_zero() -> None:
    head = watched(clip_norm=0.0, learning_rate=1e-12)
    trainer().fit(head, loader(head, EXAMPLES, batch_size=7))
    expected = mean_gradient(head, head.collate(EXAMPLES), float("inf"))
    for name, gradient in expected.items():
        torch.testing.assert_close(head.steps[0][name], gradient, rtol=0, atol=1e-9, msg=name)


def test_the_trainers_limit_wins_when_it_has_one() -> None:
    head = watched(clip_norm=0.0)
    trainer(gradient_clip_val=0.01).fit(head, loader(head, EXAMPLES, batch_size=7))
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in head.steps[0].values()))
    assert float(norm) == pytest.approx(0.01, rel=1e-4)


def test_clipping_by_value_is_refused() -> None:
    head = watched()
    runner = trainer(gradient_clip_val=0.1, gradient_clip_algorithm="value")
    with pytest.raises(ValueError, match="gradient_clip_algorithm must be 'norm', got 'value'"):
        runner.fit(head, loader(head, EXAMPLES))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_empty_micro_batch_trains_and_evaluates(accumulate: int) -> None:
    head = watched()
    plan: Any = [[], [0, 1], [], []]
    batches = DataLoader(EXAMPLES, batch_sampler=plan, collate_fn=head.collate)
    runner = trainer(accumulate_grad_batches=accumulate)
    runner.fit(head, batches, batches)
    assert all(bool(parameter.isfinite().all()) for parameter in head.parameters())
    assert runner.callback_metrics["val/loss"].isfinite()
    assert not any(gradient.any() for gradient in head.steps[-1].values())  # only empty ones


def test_an_unlabelled_batch_adds_nothing_to_the_step() -> None:
    head = watched()
    labelled, other = head.collate(EXAMPLES[:2]), head.collate(EXAMPLES[2:])
    none = other.replace(labelled=torch.zeros(len(other.values), dtype=torch.bool))
    total, weight = head.step(none, "train").sums()
    assert (float(total), float(weight)) == (0.0, 0.0)
    batches: Any = DataLoader([labelled, none], batch_size=None)
    trainer(accumulate_grad_batches=2).fit(head, batches)
    alone = watched()
    trainer().fit(alone, DataLoader([labelled], batch_size=None))
    for name, gradient in alone.steps[0].items():
        torch.testing.assert_close(head.steps[0][name], gradient, rtol=1e-5, atol=1e-7, msg=name)


def test_the_count_is_exact_when_logits_are_bfloat16() -> None:
    head = watched()
    batch = head.collate(tagged([1003]))
    output = head(batch)
    output.logits = output.logits.bfloat16()
    assert float(head.loss(output, batch).sums()[1]) == 1003  # bfloat16 would say 1004


class Rows(DummyLogger):
    """Keeps what the logger is given."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, float]] = []

    def log_metrics(self, metrics: Any, step: Any = None) -> None:
        self.rows.append({**metrics, "step": step})


def test_loss_rate_and_speed_are_logged_every_n_optimiser_steps() -> None:
    logger = Rows()
    head = watched(learning_rate=0.01, schedule="linear")
    trainer(max_epochs=2, accumulate_grad_batches=2, log_every_n_steps=2, logger=logger).fit(
        head, loader(head, EXAMPLES)
    )  # 4 micro-batches and 2 steps an epoch
    names = {"train/loss", "train/learning_rate", "train/tokens_per_second", "epoch", "step"}
    assert [set(row) for row in logger.rows] == [names, names]
    assert [row["step"] for row in logger.rows] == [1, 3]  # Lightning counts from 0
    rates = [row["train/learning_rate"] for row in logger.rows]
    assert rates == pytest.approx([0.01 * 2 / 4, 0.0])  # after step 2 of 4, of 4


def test_a_short_run_logs_what_is_left_over_before_each_epoch_ends() -> None:
    logger = Rows()
    head = watched(learning_rate=1e-12)
    runner = trainer(max_epochs=2, logger=logger)  # 4 steps an epoch, and a log every 50
    runner.fit(head, loader(head, EXAMPLES), loader(head, EXAMPLES))
    rows = [row for row in logger.rows if "train/loss" in row]
    assert [row["step"] for row in rows] == [3, 7]
    for row in rows:
        assert row["train/learning_rate"] < 1e-12
        assert 0 < row["train/tokens_per_second"] < math.inf
        assert row["train/loss"] == pytest.approx(float(runner.callback_metrics["val/loss"]), 1e-5)


def test_time_of_a_validation_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 10.0, 110.0, 115.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    totals = StepTotals()
    totals.add(Loss(torch.ones(1), torch.ones(1)), 30)
    totals.finish(SimpleNamespace(world_size=1))  # type: ignore[arg-type]
    totals.stop_clock()
    totals.start_clock()
    assert totals.log_values(1)["train/tokens_per_second"] == 30 / (10 + 5)


def test_logged_loss_is_the_mean_over_the_labelled_items_since_the_last() -> None:
    head = watched(learning_rate=1e-12)
    runner = trainer(log_every_n_steps=4)
    runner.fit(head, loader(head, EXAMPLES))
    with torch.no_grad():
        batch = head.collate(EXAMPLES)
        expected = head.loss(head(batch), batch).values.mean()
    torch.testing.assert_close(runner.callback_metrics["train/loss"], expected)


def test_metrics_have_their_names() -> None:
    head, runner = watched(), trainer()
    runner.fit(head, loader(head, EXAMPLES), loader(head, EXAMPLES))
    runner.test(head, loader(head, EXAMPLES), verbose=False)
    assert {"test/loss", "test/accuracy", "test/macro_f1"} == set(runner.callback_metrics)


def test_optimiser_is_fused_adamw_without_decay_on_vectors_and_embeddings() -> None:
    head = watched(weight_decay=0.1)
    runner = trainer(max_steps=1)
    runner.fit(head, loader(head, EXAMPLES))
    optimizer: Any = runner.optimizers[0]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["fused"]
    decay = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: decay[parameter] for name, parameter in head.named_parameters()}
    assert found["output.weight"] == 0.1
    assert found["output.bias"] == 0.0
    assert found["frontend.symbols.table"] == 0.0
    assert all(v == 0.0 for name, v in found.items() if "norm" in name)


def test_schedule_counts_optimiser_steps_up_to_max_steps() -> None:
    rates: list[float] = []

    class Rates(Callback):
        def on_before_optimizer_step(self, trainer: Trainer, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    head = build_on(tagger(learning_rate=1.0, schedule="linear", warmup_steps=2), EXAMPLES)
    trainer(max_epochs=9, max_steps=6, accumulate_grad_batches=2, callbacks=[Rates()]).fit(
        head, loader(head, EXAMPLES)
    )
    assert rates == pytest.approx([1 / 2, 1, 1, 3 / 4, 2 / 4, 1 / 4])


def test_a_schedule_that_falls_is_refused_when_nothing_ends_the_run() -> None:
    head = tagger(schedule="cosine")
    with pytest.raises(ValueError, match="total_steps must be known for schedule='cosine'"):
        trainer(max_epochs=-1, max_steps=-1).fit(head, loader(head, EXAMPLES))


def test_training_stops_with_the_step_named_when_a_gradient_is_not_finite() -> None:
    class Breaks(Callback):
        def on_train_batch_start(self, trainer: Trainer, module: Any, *_: Any) -> None:
            if trainer.global_step == 2:
                module.output.bias.data[0] = float("nan")

    head = watched()
    with pytest.raises(FloatingPointError, match="got norm nan at optimiser step 2"):
        trainer(callbacks=[Breaks()]).fit(head, loader(head, EXAMPLES))


def test_a_gradient_nobody_waited_for_is_found_before_the_next_log_or_save() -> None:
    totals = StepTotals()
    totals.require_finite(0)
    totals.add_norm(torch.tensor(1.0))
    totals.require_finite(1)
    totals.add_norm(torch.tensor(float("inf")))  # as a GPU's, which are not looked at one by one
    totals.add_norm(torch.tensor(2.0))
    with pytest.raises(FloatingPointError, match="got norm inf before optimiser step 3"):
        totals.require_finite(3)
    head = watched()
    trainer(limit_train_batches=1).fit(head, loader(head, EXAMPLES))
    head._totals = totals
    with pytest.raises(FloatingPointError, match="got norm inf"):
        head.on_save_checkpoint({})


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_every_precision_trains_and_evaluates(precision: Any) -> None:
    head, runner = tagger(), trainer(precision=precision)
    runner.fit(head, loader(head, EXAMPLES), loader(head, EXAMPLES))
    assert runner.callback_metrics["val/loss"].isfinite()
    assert all(bool(parameter.isfinite().all()) for parameter in head.parameters())


def test_a_subclass_may_bring_its_own_optimiser() -> None:
    class Plain(TokenLabeling):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.5)

    logger = Rows()
    fit(Plain(frontend(), encoder()), EXAMPLES, logger=logger, log_every_n_steps=1)
    assert logger.rows[-1]["train/learning_rate"] == 0.5


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("learning_rate", 0.0, "learning_rate must be positive and finite, got 0.0"),
        ("clip_norm", -1.0, "clip_norm must be finite and not negative, got -1.0"),
        ("warmup_steps", -1, "warmup_steps must be a whole number from 0 on, got -1"),
        ("warmup_steps", 1.5, "warmup_steps must be a whole number from 0 on, got 1.5"),
        ("clip_norm", math.nan, "clip_norm must be finite and not negative, got nan"),
        ("weight_decay", math.nan, "weight_decay must be finite and not negative, got nan"),
        ("learning_rate", math.inf, "learning_rate must be positive and finite, got inf"),
        ("schedule", "cosin", "schedule must be one of 'constant', .*, got 'cosin'"),
        ("weight_decay", -0.1, "weight_decay must be finite and not negative, got -0.1"),
        ("label_smoothing", 1.5, "label_smoothing must lie in 0 … 1, got 1.5"),
    ],
)
def test_a_number_out_of_range_is_refused(name: str, value: float, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        tagger(**{name: value})


@pytest.mark.parametrize("cls", [TokenLabeling, SequenceClassification, LanguageModel])
def test_a_head_without_its_parts_is_refused(cls: Any) -> None:
    with pytest.raises(TypeError, match="frontend must be a FrontEnd, got NoneType"):
        cls(None, encoder())
    with pytest.raises(TypeError, match="encoder must be an Encoder, got NoneType"):
        cls(frontend(), None)


def test_two_processes_equal_one_with_two_accumulated_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Path(two_processes.__file__)
    done = subprocess.run(
        [sys.executable, str(script), "2", str(tmp_path / "2.pt")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(script.parents[2])},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)  # is put back afterwards
    two_processes.main(1, str(tmp_path / "1.pt"))
    two, one = (torch.load(tmp_path / f"{devices}.pt", weights_only=True) for devices in "21")
    assert json.loads(two["fitted_by"]) == [0]
    for name, weight in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], weight, rtol=0, atol=2e-6, msg=name)
    assert two["metrics"].keys() == one["metrics"].keys() >= {"val/loss", "val/span_f1"}
    for name, value in one["metrics"].items():
        if name == "train/tokens_per_second":
            continue
        assert two["metrics"][name] == pytest.approx(value, abs=1e-5), name
