import math
import random
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from recorder import LENGTHS, QUIET, Lengths, Recorder, data

from seqattn.data.resume import convert_position
from seqattn.data.sampler import TokenBatchSampler

BATCHES = 13
TRIGGERS = {
    "step": {"every_n_train_steps": 1},
    "epoch": {"save_on_train_epoch_end": True},
    "validation": {"save_on_train_epoch_end": False},
}


@pytest.fixture(autouse=True)
def _without_a_seed_of_other_tests(monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


class Kill(Callback):
    """Ends the run at the n-th call of one hook, as a failing step would."""

    def __init__(self, hook, number):
        self.remaining = number
        setattr(self, hook, self._count)

    def _count(self, *_):
        self.remaining -= 1
        if self.remaining == 0:
            raise InterruptedError


def fit(directory, *, checkpoint=None, callbacks=(), workers=0, **settings):
    model = Recorder()
    settings = QUIET | {"default_root_dir": directory, "max_epochs": 3} | settings
    settings["enable_checkpointing"] = any(isinstance(c, ModelCheckpoint) for c in callbacks)
    trainer = Trainer(**settings, callbacks=list(callbacks))
    trainer.fit(model, data(workers=workers), ckpt_path=checkpoint)
    return model


def checkpoints(directory, trigger, *, name="{step}", on_exception=False):
    return ModelCheckpoint(
        directory, name, save_top_k=-1, save_on_exception=on_exception, **TRIGGERS[trigger]
    )


def assert_goes_on(resumed, straight):
    """The resumed run is the end of the straight one: batches, their numbers, steps, weights."""
    ours, all_batches = (
        [entry for entry in model.seen if entry[0] == "train"] for model in (resumed, straight)
    )
    assert ours == all_batches[len(all_batches) - len(ours) :]
    assert resumed.logger_steps == straight.logger_steps[len(all_batches) - len(ours) :]
    assert torch.equal(resumed.weight, straight.weight)


def newest(directory):
    return max(Path(directory).glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)


def three_epochs(limited_by, accumulate):
    steps = {"max_epochs": -1, "max_steps": 3 * math.ceil(BATCHES / accumulate)}
    limits = {"max_epochs": 3} if limited_by == "epochs" else steps
    return {"accumulate_grad_batches": accumulate, **limits}


@pytest.mark.parametrize("limited_by", ["epochs", "steps"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("interval", [1.0, 0.5])
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_run_goes_on_exactly_when_resumed_from_any_checkpoint(
    tmp_path, trigger, interval, accumulate, limited_by
):
    settings = three_epochs(limited_by, accumulate) | {"val_check_interval": interval}
    straight = fit(tmp_path, callbacks=[checkpoints(tmp_path, trigger)], **settings)
    written = sorted(tmp_path.glob("*.ckpt"))
    assert len(straight.keys("train")) == 3 * BATCHES
    assert len(written) >= 3
    for path in written:
        assert_goes_on(fit(tmp_path, checkpoint=path, **settings), straight)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_run_goes_on_exactly_when_workers_fetch_ahead(tmp_path, trigger):
    straight = fit(tmp_path, callbacks=[checkpoints(tmp_path, trigger)])
    written = sorted(tmp_path.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    for path in written[:: 1 + len(written) // 4]:
        resumed = fit(tmp_path, checkpoint=path, workers=2)
        assert_goes_on(resumed, straight)


@pytest.mark.parametrize("on_exception", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("limited_by", ["epochs", "steps"])
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_run_ends_the_same_when_killed_again_and_again(
    tmp_path, trigger, limited_by, accumulate, on_exception
):
    settings = three_epochs(limited_by, accumulate) | {"val_check_interval": 0.5}
    straight = fit(tmp_path, **settings)
    for seed in range(2):
        resumed = run_with_kills(tmp_path / str(seed), seed, trigger, on_exception, settings)
        assert_goes_on(resumed, straight)


def run_with_kills(directory, seed, trigger, on_exception, settings):
    draw = random.Random(seed)
    last = None
    for life in range(99):
        name = f"{life}-{{step}}"
        save = checkpoints(directory, trigger, name=name, on_exception=on_exception)
        hook = draw.choice(
            ["on_train_batch_start", "on_train_batch_end", "on_validation_batch_end"]
        )
        kill = Kill(hook, draw.randint(7, 20))
        try:
            return fit(directory, checkpoint=last, callbacks=[save, kill], **settings)
        except InterruptedError:
            last = newest(directory) if any(directory.glob("*.ckpt")) else None
    raise AssertionError("the run never ended")


def test_started_window_is_begun_again_when_resumed_within_it(tmp_path):
    straight = fit(tmp_path, accumulate_grad_batches=4)
    save = checkpoints(tmp_path, "epoch", on_exception=True)
    with pytest.raises(InterruptedError):
        fit(
            tmp_path,
            callbacks=[save, Kill("on_train_batch_end", BATCHES + 7)],
            accumulate_grad_batches=4,
        )
    resumed = fit(tmp_path, checkpoint=newest(tmp_path), accumulate_grad_batches=4)
    assert len(resumed.keys("train")) == 2 * BATCHES - 4
    assert_goes_on(resumed, straight)


def test_epoch_goes_on_when_max_steps_had_cut_it_short(tmp_path):
    straight = fit(tmp_path)
    cut = fit(
        tmp_path,
        callbacks=[checkpoints(tmp_path, "epoch")],
        max_steps=17,
        limit_val_batches=0,
    )
    resumed = fit(tmp_path, checkpoint=newest(tmp_path))
    assert len(cut.keys("train")) == 17
    assert len(resumed.keys("train")) == 3 * BATCHES - 17
    assert_goes_on(resumed, straight)


def test_epochs_are_short_when_the_trainer_limits_them(tmp_path):
    limit = {"limit_train_batches": 5}
    straight = fit(tmp_path, callbacks=[checkpoints(tmp_path, "step")], **limit)
    assert len(straight.keys("train")) == 15
    for path in tmp_path.glob("*.ckpt"):
        assert_goes_on(fit(tmp_path, checkpoint=path, **limit), straight)


def test_resumed_epoch_is_whole_when_loaders_are_made_anew_each_epoch(tmp_path):
    again = {"reload_dataloaders_every_n_epochs": 1}
    straight = fit(tmp_path, callbacks=[checkpoints(tmp_path, "step")], **again)
    for path in sorted(tmp_path.glob("*.ckpt"))[::7]:
        assert_goes_on(fit(tmp_path, checkpoint=path, **again), straight)


def test_lightning_does_not_doubt_the_loader_when_resumed_amid_an_epoch(tmp_path, recwarn):
    fit(tmp_path, callbacks=[checkpoints(tmp_path, "step")], max_steps=5)
    fit(tmp_path, checkpoint=newest(tmp_path))
    assert not [warning for warning in recwarn if "not resumable" in str(warning.message)]


def test_checkpoint_is_plain_data_when_loaded_safely(tmp_path):
    fit(tmp_path, callbacks=[checkpoints(tmp_path, "step")], max_steps=5)
    state = torch.load(newest(tmp_path), weights_only=True)["SequenceData"]
    assert (state["epoch"], state["batches"], state["world_size"]) == (0, 5, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 8}, "got seed = 8, not 0"),
        ({"batch_tokens": 21}, "got batch_tokens = 21, not 20"),
        ({"train": Lengths(LENGTHS[:-1])}, "got number of examples = 44, not 45; digest of"),
        ({"train": Lengths(LENGTHS, "dev")}, "got digest of keys and lengths = "),
    ],
)
def test_checkpoint_is_refused_when_written_on_other_data(tmp_path, changes, message):
    fit(tmp_path, callbacks=[checkpoints(tmp_path, "step")], max_steps=5)
    trainer = Trainer(**QUIET, default_root_dir=tmp_path, max_epochs=3)
    with pytest.raises(ValueError, match=f"training data must be those of .* {message}"):
        trainer.fit(Recorder(), data(**changes), ckpt_path=newest(tmp_path))


@pytest.mark.parametrize("trigger", list(TRIGGERS))
def test_next_epoch_runs_on_other_data_when_the_last_one_was_whole(tmp_path, trigger, caplog):
    first = fit(tmp_path, callbacks=[checkpoints(tmp_path, trigger)], max_epochs=1)
    model, trainer = Recorder(), Trainer(**QUIET, default_root_dir=tmp_path, max_epochs=3)
    with caplog.at_level("INFO"):
        trainer.fit(model, data(batch_tokens=40), ckpt_path=newest(tmp_path))
    assert "not those of the checkpoint: batch_tokens = 40, not 20" in caplog.text
    straight = Recorder()
    trainer = Trainer(**QUIET, default_root_dir=tmp_path, max_epochs=3)
    trainer.fit(straight, data(batch_tokens=40))
    per_epoch = len(straight.keys("train")) // 3
    assert model.keys("train") == straight.keys("train")[per_epoch:]
    assert model.trainer.global_step == len(first.keys("train")) + 2 * per_epoch


def test_checkpoint_of_other_data_is_taken_when_only_testing(tmp_path):
    fit(tmp_path, callbacks=[checkpoints(tmp_path, "step")], max_steps=5)
    model, module = Recorder(), data(train=None, seed=8)
    trainer = Trainer(**QUIET, default_root_dir=tmp_path)
    trainer.test(model, module, ckpt_path=newest(tmp_path))
    assert sum(map(len, model.keys("test"))) == 5


def test_training_starts_anew_when_a_checkpoint_was_only_tested(tmp_path):
    straight = fit(tmp_path, callbacks=[checkpoints(tmp_path, "step")])
    module = data()
    tester = Trainer(**QUIET, default_root_dir=tmp_path)
    tester.test(Recorder(), module, ckpt_path=newest(tmp_path))
    model = Recorder()
    Trainer(**QUIET, default_root_dir=tmp_path, max_epochs=3).fit(model, module)
    assert model.keys("train") == straight.keys("train")


def sampler(world_size):
    return TokenBatchSampler([3] * 50, 5, shuffle=True, world_size=world_size)


@pytest.mark.parametrize(
    ("position", "before", "after", "expected"),
    [
        ((4, 7), 3, 3, (4, 7)),
        ((1, 6), 2, 1, (1, 12)),
        ((1, 6), 2, 3, (1, 4)),
        ((1, 0), 2, 5, (1, 0)),
        ((1, 17), 3, 2, (1, 25)),  # the whole epoch: 50 micro-batches and one of filling
    ],
)
def test_position_is_converted_when_the_number_of_processes_changes(
    position, before, after, expected
):
    assert convert_position(position, before, sampler(after)) == expected


def test_position_is_refused_when_processes_do_not_divide_it():
    with pytest.raises(ValueError, match="must divide the 5 micro-batches .* epoch 2, got 2 .* 1"):
        convert_position((2, 5), 1, sampler(2))
