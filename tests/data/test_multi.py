import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from recorder import LENGTHS, QUIET, Lengths, Recorder, Repeated, data

from seqattn import DataError, MultiData, SequenceBatch, SequenceData
from seqattn.collate import Collator
from seqattn.data.multi import JointCollator, JointExamples, JointSampler
from seqattn.data.sampler import TokenBatchSampler

LONG, SHORT = 13, 3  # micro-batches of an epoch
FEW = [3, 19, 11, 5, 17]


class JointRecorder(LightningModule):
    """Records (stage, epoch, keys by task) of every batch; its weights depend on their order."""

    def __init__(self, tasks: tuple[str, ...] = ("long", "short")) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[str, int, dict[str, tuple[str, ...]]]] = []
        self.collate = {name: Collator(Repeated()) for name in tasks}

    def keys(self, stage: str, task: str) -> list[tuple[str, ...]]:
        return [keys[task] for found, _, keys in self.seen if found == stage]

    def training_step(self, batch: dict[str, SequenceBatch], batch_idx: int) -> Any:
        self._record("train", batch)
        content = sum(float(part.values.sum()) for part in batch.values())
        return (self.weight * len(batch["long"]) - content / 50) ** 2

    def validation_step(self, batch: dict[str, SequenceBatch], batch_idx: int) -> None:
        self._record("val", batch)

    def test_step(self, batch: dict[str, SequenceBatch], batch_idx: int) -> None:
        self._record("test", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)

    def _record(self, stage: str, batch: dict[str, SequenceBatch]) -> None:
        keys = {name: part.keys for name, part in batch.items()}
        self.seen.append((stage, self.trainer.current_epoch, keys))


def joint(**arguments: Any) -> MultiData:
    """Return a task of 45 training examples and one of 5; 5 and 1 of everything else."""
    short = SequenceData(Lengths(FEW, "s"), Lengths([4], "v"), Lengths([4], "t"), batch_tokens=20)
    return MultiData({"long": data(), "short": short}, **arguments)


def run(directory: Path, stage: str, module: MultiData, model: Any = None, **settings: Any) -> Any:
    model = model or JointRecorder()
    options = QUIET | {"default_root_dir": directory, "max_epochs": 1} | settings
    getattr(Trainer(**options), stage)(model, datamodule=module)
    return model


@pytest.fixture(autouse=True)
def _without_a_seed_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


# --- the sampler -------------------------------------------------------------------------------


def samplers(*, shuffle: bool = True, seed: int = 3) -> dict[str, TokenBatchSampler]:
    return {
        "long": TokenBatchSampler(LENGTHS, 20, seed=seed, shuffle=shuffle),
        "short": TokenBatchSampler(FEW, 20, seed=seed, shuffle=shuffle),
    }


def of_task(batches: list[Any], task: str) -> list[Any]:
    return [[member for name, member in batch if name == task] for batch in batches]


def test_an_epoch_is_as_long_as_that_of_the_longest_task() -> None:
    sampler = JointSampler(samplers(), repeat=True)
    assert (sampler.total, len(sampler)) == (LONG, LONG)
    assert of_task(sampler.batches(2), "long") == samplers()["long"].batches(2)


def test_a_shorter_task_goes_through_its_own_epochs_without_a_seam() -> None:
    sampler, short = JointSampler(samplers(), repeat=True), samplers()["short"]
    found = [batch for epoch in range(3) for batch in of_task(sampler.batches(epoch), "short")]
    expected = [batch for epoch in range(LONG) for batch in short.batches(epoch)]
    assert found == expected  # 3 epochs of 13 are 13 epochs of 3
    draws = {draw for batch in found for index, draw in batch if index == 0}
    assert len(draws) == LONG


def test_order_is_a_function_of_seed_and_epoch() -> None:
    first, second = (JointSampler(samplers(), repeat=True) for _ in range(2))
    first.set_epoch(4)
    assert list(first) == list(first) == second.batches(4) != second.batches(5)
    assert JointSampler(samplers(seed=9), repeat=True).batches(4) != second.batches(4)


@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_take_every_wth_and_the_last_round_is_filled(repeat: bool, world_size: int) -> None:
    whole = JointSampler(samplers(shuffle=repeat), repeat=repeat).batches(0)
    ranks = [
        list(
            JointSampler(samplers(shuffle=repeat), repeat=repeat, rank=rank, world_size=world_size)
        )
        for rank in range(world_size)
    ]
    rounds = [batch for together in zip(*ranks, strict=True) for batch in together]
    assert rounds[:LONG] == whole
    assert not any(rounds[LONG:])


def test_every_example_comes_once_in_evaluation() -> None:
    batches = JointSampler(samplers(shuffle=False), repeat=False).batches(7)
    assert of_task(batches, "short") == [*samplers(shuffle=False)["short"].batches(0), *[[]] * 10]
    members = Counter(member for batch in batches for member in batch)
    assert set(members.values()) == {1}
    assert len(members) == len(LENGTHS) + len(FEW)


def test_the_sampler_goes_on_where_it_was_left() -> None:
    sampler = JointSampler(samplers(), repeat=True, rank=1, world_size=2)
    sampler.resume(5, 4)
    assert list(sampler) == [*sampler.batches(5)[9::2], []]


def test_rank_is_refused_when_it_is_none() -> None:
    with pytest.raises(ValueError, match="rank must lie in 0 … world_size - 1 = 1, got 2"):
        JointSampler(samplers(), repeat=True, rank=2, world_size=2)


def test_every_task_has_a_batch_be_it_empty() -> None:
    examples = JointExamples({"long": data().examples("val"), "short": data().examples("test")})
    assert len(examples) == 10
    collate = JointCollator({name: Collator(Repeated()) for name in ("long", "short")})
    batch = collate([examples["short", (2, None)]])
    assert {name: part.keys for name, part in batch.items()} == {"long": (), "short": ("test:2",)}
    assert batch["short"].values.tolist() == [11.0] * 11


# --- a run -------------------------------------------------------------------------------------


def test_each_step_has_a_batch_of_every_task(tmp_path: Path) -> None:
    model = run(tmp_path, "fit", joint(seed=3), max_epochs=2)
    whole = [batch for e in (0, 1) for batch in JointSampler(samplers(), repeat=True).batches(e)]
    for task, name in (("long", "train"), ("short", "s")):
        expected = [tuple(f"{name}:{i}" for i, _ in batch) for batch in of_task(whole, task)]
        assert model.keys("train", task) == expected
    assert all(model.keys("train", "short"))


@pytest.mark.parametrize(
    ("stage", "split", "name"), [("validate", "val", "v"), ("test", "test", "t")]
)
def test_every_task_is_evaluated_fully(tmp_path: Path, stage: str, split: str, name: str) -> None:
    model = run(tmp_path, stage, joint())
    assert model.keys(split, "short") == [(f"{name}:0",), (), ()]
    assert sorted(key for keys in model.keys(split, "long") for key in keys) == [
        f"{split}:{i}" for i in range(5)
    ]


def test_batches_are_the_same_with_workers(tmp_path: Path) -> None:
    alone, with_workers = (
        run(tmp_path, "fit", joint(workers=workers), max_epochs=2) for workers in (0, 2)
    )
    assert alone.seen == with_workers.seen
    assert torch.equal(alone.weight, with_workers.weight)


def test_nothing_is_validated_when_no_task_has_such_data(tmp_path: Path) -> None:
    tasks = {name: data(val=None) for name in ("long", "short")}
    model = run(tmp_path, "fit", MultiData(tasks))
    assert {stage for stage, *_ in model.seen} == {"train"}


def test_budget_of_a_step_is_that_of_all_tasks(tmp_path: Path) -> None:
    module = joint()
    run(tmp_path, "fit", module, accumulate_grad_batches=3)
    assert (module.batches_per_epoch, module.global_batch_tokens) == (LONG, 3 * 40)


class Kill(Callback):
    """Ends the run before a micro-batch, counted from 1."""

    def __init__(self, number: int) -> None:
        self.remaining = number

    def on_train_batch_start(self, *_: Any) -> None:
        self.remaining -= 1
        if self.remaining == 0:
            raise InterruptedError


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("killed", [1, 5, 15, 28])
def test_a_killed_run_goes_on_with_the_very_next_batch(
    tmp_path: Path, killed: int, accumulate: int
) -> None:
    steps = {"max_epochs": 3, "accumulate_grad_batches": accumulate}
    straight = run(tmp_path, "fit", joint(), **steps)
    save = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1)
    with pytest.raises(InterruptedError):
        run(
            tmp_path,
            "fit",
            joint(),
            callbacks=[save, Kill(killed)],
            enable_checkpointing=True,
            **steps,
        )
    model = JointRecorder()
    last = max(tmp_path.glob("*.ckpt"), key=os.path.getmtime, default=None)
    trainer = Trainer(**QUIET | {"default_root_dir": tmp_path} | steps)
    trainer.fit(model, joint(workers=2), ckpt_path=last)
    ours, theirs = ([e for e in m.seen if e[0] == "train"] for m in (model, straight))
    assert ours == theirs[len(theirs) - len(ours) :]
    assert torch.equal(model.weight, straight.weight)


def test_a_checkpoint_of_other_data_is_refused_amid_an_epoch(tmp_path: Path) -> None:
    save = ModelCheckpoint(tmp_path, "x", every_n_train_steps=1)
    run(tmp_path, "fit", joint(), max_steps=5, callbacks=[save], enable_checkpointing=True)
    module = joint()
    module.tasks["short"].batch_tokens = 19
    trainer = Trainer(**QUIET, default_root_dir=tmp_path, max_epochs=3)
    rule = "training data must be those of .* got batch_tokens of short = 19, not 20"
    with pytest.raises(ValueError, match=rule):
        trainer.fit(JointRecorder(), module, ckpt_path=next(tmp_path.glob("*.ckpt")))


def test_the_trainer_gets_its_setting_back(tmp_path: Path) -> None:
    trainer = Trainer(**QUIET, default_root_dir=tmp_path, max_epochs=1)
    assert trainer._accelerator_connector.use_distributed_sampler
    trainer.fit(JointRecorder(), joint())
    assert trainer._accelerator_connector.use_distributed_sampler


def test_two_processes_share_the_batches_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2])])},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    one = run(tmp_path, "fit", joint(), max_epochs=2)
    for task in ("long", "short"):
        for stage, count in (("train", LONG), ("val", 3)):
            whole = one.keys(stage, task)
            for epoch in (0, 1):
                straight = whole[epoch * count : (epoch + 1) * count]
                half = -(-count // 2)
                parts = [
                    [tuple(keys) for keys in rank[stage][task][epoch * half : (epoch + 1) * half]]
                    for rank in ranks
                ]
                together = [keys for pair in zip(*parts, strict=True) for keys in pair]
                assert together[:count] == straight
                assert not any(together[count:])


# --- what is refused ---------------------------------------------------------------------------


def test_no_task_is_refused() -> None:
    with pytest.raises(ValueError, match="tasks must hold at least one task, got {}"):
        MultiData({})


@pytest.mark.parametrize(("setting", "value"), [("workers", 2), ("seed", 5)])
def test_a_tasks_own_setting_is_refused(setting: str, value: int) -> None:
    rule = rf"{setting} of task 'a' must be left out, since MultiData\({setting}=…\) .* got {value}"
    with pytest.raises(ValueError, match=rule):
        MultiData({"a": data(**{setting: value})})


def test_negative_workers_are_refused() -> None:
    with pytest.raises(ValueError, match="workers must not be negative, got -1"):
        joint(workers=-1)


def test_validation_of_some_tasks_only_is_refused() -> None:
    rule = r"val must be given for all tasks or for none, got none for \['b'\]"
    with pytest.raises(ValueError, match=rule):
        MultiData({"a": data(), "b": data(val=None)})


def test_other_tasks_than_the_models_are_refused(tmp_path: Path) -> None:
    rule = r"tasks must be those of the model, \['long', 'other'\], got \['long', 'short'\]"
    with pytest.raises(ValueError, match=rule):
        run(tmp_path, "fit", joint(), JointRecorder(("long", "other")))


def test_a_model_of_one_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="MultiData needs a MultiTask, got Recorder"):
        run(tmp_path, "fit", joint(), Recorder())


def test_prediction_is_refused_by_the_way_to_do_it() -> None:
    rule = r"predict needs one task: .* seqattn.load\(path, task=…\) gives, one of long, short"
    with pytest.raises(ValueError, match=rule):
        joint().setup("predict")


def test_a_missing_split_is_named_with_its_task(tmp_path: Path) -> None:
    module = MultiData({"long": data(), "short": data(test=None)})
    with pytest.raises(ValueError, match=r"set data.tasks.short.test in the config"):
        run(tmp_path, "test", module)


def test_a_long_example_is_named_with_the_tasks_argument(tmp_path: Path) -> None:
    module = MultiData({"long": data(), "short": data(train=Lengths([21]))})
    with pytest.raises(DataError, match=r"raise data.tasks.short.batch_tokens, or leave such"):
        run(tmp_path, "fit", module)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    settings = {"devices": 2, "strategy": "ddp", "max_epochs": 2}
    found = run(folder, "fit", joint(), **settings)
    stages = {s: {t: found.keys(s, t) for t in ("long", "short")} for s in ("train", "val")}
    (folder / f"{found.global_rank}.json").write_text(json.dumps(stages))
