import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import recorder
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI
from recorder import LENGTHS, QUIET, Lengths, Recorder, data

from seqattn import DataError, SequenceData
from seqattn.data.sampler import TokenBatchSampler

STAGES = {"fit": "train", "validate": "val", "test": "test", "predict": "predict"}


def trainer(directory, **settings):
    return Trainer(**QUIET | {"default_root_dir": directory, "max_epochs": 1} | settings)


def run(directory, stage, module, model=None, **settings):
    model = model or Recorder()
    getattr(trainer(directory, **settings), stage)(model, datamodule=module)
    return model


def attached(directory, module, model=None, stage="fit", **settings):
    """Give a data module its trainer and model, as Lightning does before it asks for loaders."""
    model = model or Recorder()
    module.trainer = trainer(directory, **settings)
    module.trainer.strategy.connect(model)
    module.setup(stage)
    return module


# --- examples ----------------------------------------------------------------------------------


def test_examples_keep_their_keys_when_they_have_some():
    assert [e.key for e in data().examples("val")] == ["val:0", "val:1", "val:2", "val:3", "val:4"]


def test_examples_are_numbered_when_they_have_no_keys():
    assert [e.key for e in data(test=Lengths([1, 2], "")).examples("test")] == ["0", "1"]


def test_nothing_is_read_when_the_stage_does_not_need_it(tmp_path):
    class Untouchable(Lengths):
        def read(self):
            raise AssertionError

    module = data(train=Untouchable([1]), val=Untouchable([1]), predict=Untouchable([1]))
    assert len(run(tmp_path, "test", module).keys("test")) == 3


@pytest.mark.parametrize("stage", STAGES)
def test_stage_is_refused_when_its_split_is_missing(tmp_path, stage):
    split = STAGES[stage]
    message = f"{split} must be a reader, got None: set data.{split} .* --data.{split} "
    with pytest.raises(ValueError, match=message):
        run(tmp_path, stage, data(**{split: None}))


def test_split_is_refused_when_empty(tmp_path):
    with pytest.raises(ValueError, match="val must hold at least one example, got none from Leng"):
        run(tmp_path, "fit", data(val=Lengths([])))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_tokens": 0}, "batch_tokens must be at least 1, got 0"),
        ({"workers": -1}, "workers must not be negative, got -1"),
        ({"too_long": "cut"}, "too_long must be 'error' or 'drop', got 'cut'"),
    ],
)
def test_argument_is_refused_when_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        SequenceData(**arguments)


# --- batches -----------------------------------------------------------------------------------


def test_every_epoch_is_the_samplers_when_fitted(tmp_path):
    model = run(tmp_path, "fit", data(seed=3), max_epochs=2)
    sampler = TokenBatchSampler(LENGTHS, 20, seed=3, shuffle=True)
    expected = [
        tuple(f"train:{index}" for index, _ in batch)
        for epoch in (0, 1)
        for batch in sampler.batches(epoch)
    ]
    assert model.keys("train") == expected


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_batches_are_longest_first_when_evaluated(tmp_path, stage):
    split = STAGES[stage]
    model = run(tmp_path, stage, data())
    found = [tuple(key.removeprefix(f"{split}:") for key in keys) for keys in model.keys(split)]
    assert found == [("1",), ("4",), ("2", "3", "0")]


def test_draws_come_in_training_only_when_batches_are_made(tmp_path):
    module = attached(tmp_path, data(train=Lengths([4]), seed=1))
    (train,), (val, *_) = module.train_dataloader(), module.val_dataloader()
    draw = TokenBatchSampler([4], 20, seed=1, shuffle=True).batches(0)[0][0][1]
    assert torch.equal(train.values, torch.full((4,), 4.0 + draw % 97))
    assert torch.equal(val.values, torch.full((19,), 19.0))


def test_seed_is_that_of_seed_everything_when_none_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "11")
    by_environment = run(tmp_path, "fit", data()).keys("train")
    assert by_environment == run(tmp_path, "fit", data(seed=11)).keys("train")
    monkeypatch.delenv("PL_GLOBAL_SEED")
    assert by_environment != run(tmp_path, "fit", data()).keys("train")


def test_batches_are_the_same_when_workers_make_them(tmp_path):
    one = run(tmp_path, "fit", data(), max_epochs=2)
    two = run(tmp_path, "fit", data(workers=2), max_epochs=2)
    assert one.seen == two.seen
    assert torch.equal(one.weight, two.weight)


def test_fit_does_not_validate_when_there_is_no_val(tmp_path):
    model = run(tmp_path, "fit", data(val=None))
    assert model.keys("val") == []
    assert len(model.keys("train")) == 13


def test_batches_repeat_every_epoch_when_overfitting(tmp_path):
    keys = run(tmp_path, "fit", data(), max_epochs=2, overfit_batches=3).keys("train")
    assert len(keys) == 6
    assert keys[:3] == keys[3:]


def test_lightning_does_not_doubt_the_sampler_when_predicting(tmp_path, recwarn):
    run(tmp_path, "predict", data())
    assert not [warning for warning in recwarn if "batch sampler" in str(warning.message)]


def test_tokenizers_stay_single_threaded_when_there_are_workers(tmp_path, monkeypatch):
    monkeypatch.delenv("TOKENIZERS_PARALLELISM")
    attached(tmp_path, data()).train_dataloader()
    assert "TOKENIZERS_PARALLELISM" not in os.environ
    loader = attached(tmp_path, data(workers=1)).train_dataloader()
    assert loader.persistent_workers
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    attached(tmp_path, data(workers=1)).train_dataloader()
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


def test_memory_is_pinned_when_the_device_is_cuda(tmp_path, monkeypatch):
    module = attached(tmp_path, data())
    assert not module.train_dataloader().pin_memory
    monkeypatch.setattr(
        type(module.trainer.strategy), "root_device", property(lambda _: torch.device("cuda", 0))
    )
    assert module.train_dataloader().pin_memory


def test_sizes_are_known_when_optimizers_are_configured(tmp_path):
    class Scheduled(Recorder):
        def configure_optimizers(self):
            module = self.trainer.datamodule
            self.sizes = (module.batches_per_epoch, module.global_batch_tokens)
            return super().configure_optimizers()

    model = run(tmp_path, "fit", data(), Scheduled(), accumulate_grad_batches=4)
    assert model.sizes == (13, 80)


# --- too long, or not countable ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "split"), [("fit", "train"), ("fit", "val"), ("validate", "val"), ("test", "test")]
)
def test_overlong_example_is_refused_when_before_the_first_step(tmp_path, stage, split):
    model = Recorder()
    module = data(**{split: Lengths([3, 21, 4, 22], split)})
    message = f"example '{split}:1': length must be at most batch_tokens = 20, got 21, and 1 more"
    with pytest.raises(DataError, match=message) as caught:
        run(tmp_path, stage, module, model)
    assert caught.value.key == f"{split}:1"
    assert model.seen == []


def test_overlong_example_is_left_out_when_dropped_from_training(tmp_path, caplog):
    module = data(train=Lengths([3, 21, 4]), val=Lengths([30, 2], "val"), too_long="drop")
    with caplog.at_level("INFO"):
        model = run(tmp_path, "fit", module)
    assert sorted(sum(model.keys("train"), ())) == ["train:0", "train:2"]
    assert model.keys("val") == [("val:0",), ("val:1",)]
    assert (
        "dropped 1 of 3 training examples, which are longer than batch_tokens = 20" in caplog.text
    )


def test_budget_is_refused_when_it_would_drop_everything(tmp_path):
    module = data(train=Lengths([30, 21]), too_long="drop")
    with pytest.raises(ValueError, match="must fit at least one .* got 20 .* shortest has 21"):
        run(tmp_path, "fit", module)


def test_overlong_example_goes_alone_when_predicted(tmp_path):
    model = run(tmp_path, "predict", data(predict=Lengths([3, 50, 4], "predict")))
    assert model.keys("predict") == [("predict:1",), ("predict:2", "predict:0")]


def test_example_is_named_when_its_length_cannot_be_counted(tmp_path):
    with pytest.raises(DataError, match="example 'train:1': raw must not be negative, got -1"):
        run(tmp_path, "fit", data(train=Lengths([1, -1])))


# --- models and trainers -----------------------------------------------------------------------


def test_model_is_refused_when_it_has_no_collator(tmp_path):
    model = Recorder()
    model.collate = len
    with pytest.raises(TypeError, match="collate of Recorder must be a seqattn.collate.Collator"):
        run(tmp_path, "fit", data(), model)


def test_lengths_are_counted_again_when_the_model_changes(tmp_path):
    class Doubled(recorder.Repeated):
        def length(self, raw):
            return 2 * raw

    module, model = data(val=None), Recorder()
    run(tmp_path, "fit", module)
    model.collate = recorder.Collator(Doubled())
    doubled = TokenBatchSampler([2 * length for length in LENGTHS], 20, shuffle=True)
    assert len(run(tmp_path, "fit", module, model).keys("train")) == len(doubled) > 13


def test_loaders_are_refused_when_there_is_no_trainer():
    with pytest.raises(ValueError, match="trainer must be attached, got None"):
        data().train_dataloader()


def test_trainer_gets_its_setting_back_when_a_run_ends(tmp_path):
    runner = trainer(tmp_path)
    seen = []

    class Looking(Recorder):
        def on_train_start(self):
            seen.append(runner._accelerator_connector.use_distributed_sampler)

    runner.fit(Looking(), data())
    assert seen == [False]
    assert runner._accelerator_connector.use_distributed_sampler


@pytest.mark.parametrize("subcommand", ["fit", "test"])
def test_stock_cli_runs_it_when_readers_are_class_paths(tmp_path, subcommand):
    split = STAGES[subcommand]
    reader = {"class_path": "recorder.Lengths", "init_args": {"lengths": [9] * 5, "name": split}}
    config = {
        "trainer": QUIET | {"default_root_dir": str(tmp_path), "max_epochs": 1},
        "data": {
            "class_path": "seqattn.SequenceData",
            "init_args": {"batch_tokens": 20, split: reader},
        },
    }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config))
    arguments = [subcommand, "--config", str(path), f"--data.{split}.name=dev"]
    cli = LightningCLI(Recorder, save_config_callback=None, args=arguments)
    assert Counter(sum(cli.model.keys(split), ())) == Counter(f"dev:{i}" for i in range(5))


# --- two processes -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What each of two processes saw in fit, validate, test and predict, and their files."""
    directory = tmp_path_factory.mktemp("processes")
    script = Path(recorder.__file__)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(script.parents[2])}
    done = subprocess.run(
        [sys.executable, script, directory], env=environment, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return directory, [json.loads((directory / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("split", STAGES.values())
def test_every_example_is_seen_once_when_two_processes_share(processes, split):
    _, found = processes
    expected = range(45 if split == "train" else 5)
    for epoch in {"train": (0, 1), "val": (0, 1, 2)}.get(split, (2,)):
        shares = [
            [entry[3] for entry in share["seen"] if entry[0] == split and entry[1] == epoch]
            for share in found
        ]
        keys = Counter(key for share in shares for batch in share for key in batch)
        assert keys == Counter(f"{split}:{number}" for number in expected)
        assert len(shares[0]) == len(shares[1])


def test_two_processes_equal_one_when_it_accumulates_two_batches(tmp_path, processes):
    _, found = processes
    one = run(tmp_path, "fit", data(), max_epochs=2, accumulate_grad_batches=2)
    assert [share["weight"] for share in found] == [one.weight.item()] * 2


def test_lightning_shares_out_again_when_two_processes_are_done(processes):
    assert [share["shares_out"] for share in processes[1]] == [True, True]


def test_two_processes_go_on_exactly_when_stopped_amid_an_epoch(processes):
    for share in processes[1]:
        assert share["resumed"] == share["trained"][9:]
        assert share["resumed_weight"] == share["weight"]


def test_one_process_goes_on_exactly_when_two_had_begun(tmp_path, processes):
    settings = {"max_epochs": 3, "accumulate_grad_batches": 2}
    straight = run(tmp_path, "fit", data(), **settings)
    model = Recorder()
    runner = trainer(tmp_path, **settings)
    runner.fit(model, data(), ckpt_path=processes[0] / "middle.ckpt")
    assert model.keys("train") == straight.keys("train")[13 + 4 :]
    assert model.logger_steps == straight.logger_steps[13 + 4 :]
    assert torch.equal(model.weight, straight.weight)


def test_data_module_serves_any_model_when_it_has_a_collator(tmp_path):
    class Stranger(LightningModule):
        collate = recorder.Collator(recorder.Repeated())

        def test_step(self, batch, batch_idx):
            self.log("positions", float(len(batch.values)), batch_size=1, reduce_fx="sum")

    found = trainer(tmp_path).test(Stranger(), datamodule=data(), verbose=False)
    assert found == [{"positions": 55.0}]
