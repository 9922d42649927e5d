from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from seqattn import DataError, Example, SequenceData, TokenLabeling
from seqattn.data import Reader
from seqattn.heads.run import total_steps, validation_size
from tests.heads.small_heads import encoder, fit, frontend, loader, tagged, tagger, trainer


def run(batches: Any, **changes: Any) -> Any:
    """What a head looks at in a Trainer: 3 epochs of these batches."""
    options = {
        "max_steps": -1,
        "max_epochs": 3,
        "accumulate_grad_batches": 1,
        "limit_train_batches": 1.0,
        "world_size": 1,
        "is_split": True,
        **changes,
    }
    source = SimpleNamespace(dataloader=lambda: batches)
    return SimpleNamespace(
        **options,
        fit_loop=SimpleNamespace(_data_source=source),
        _accelerator_connector=SimpleNamespace(use_distributed_sampler=options["is_split"]),
    )


class Stream(IterableDataset[Example]):
    def __iter__(self) -> Iterator[Example]:
        yield from tagged()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 3 * 10),
        ({"max_steps": 7}, 7),
        ({"max_steps": 99}, 30),
        ({"max_epochs": -1}, None),
        ({"max_epochs": None, "max_steps": 7}, 7),
        ({"accumulate_grad_batches": 4}, 3 * 3),
        ({"limit_train_batches": 4}, 3 * 4),
        ({"limit_train_batches": 0.5}, 3 * 5),
        ({"world_size": 4}, 3 * 3),
        ({"world_size": 4, "is_split": False}, 3 * 10),
        ({"datamodule": SimpleNamespace(batches_per_epoch=6), "world_size": 2}, 3 * 6),
    ],
)
def test_total_steps_of_ten_batches_an_epoch(changes: Any, expected: int | None) -> None:
    batches: Any = DataLoader(range(10))  # type: ignore[arg-type]
    assert total_steps(run(batches, **changes)) == expected


def test_a_loader_that_is_split_already_is_not_split_again() -> None:
    sampler: Any = DistributedSampler(range(10), num_replicas=2, rank=0)  # type: ignore[arg-type]
    batches: Any = DataLoader(range(10), sampler=sampler)  # type: ignore[arg-type]
    assert total_steps(run(batches, world_size=2)) == 3 * 5


@pytest.mark.parametrize(("limit", "expected"), [(1.0, None), (4, 12)])
def test_total_steps_of_a_stream_are_known_by_its_limit_only(limit: Any, expected: Any) -> None:
    assert total_steps(run(DataLoader(Stream()), limit_train_batches=limit)) == expected


def test_a_head_is_fitted_on_a_stream() -> None:
    head = tagger(schedule="constant")
    trainer().fit(head, DataLoader(Stream(), batch_size=2, collate_fn=head.collate))
    assert len(head.labels) == 5


def test_a_head_is_not_fitted_on_several_loaders() -> None:
    head = tagger()
    with pytest.raises(ValueError, match="must be fitted on one DataLoader, got others"):
        trainer().fit(head, [loader(head, tagged()), loader(head, tagged())])


def test_an_empty_training_set_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one training text, got none"):
        fit(tagger(), [])


def test_a_sentence_beyond_the_learned_positions_is_named_before_the_first_step() -> None:
    class Sentences(Reader):
        def read(self) -> Iterator[Example]:
            yield from tagged((2, 5, 3))

    head = TokenLabeling(frontend(), encoder(position="learned", max_length=4))
    runner = trainer()
    rule = "example 'train:1': length must be at most the encoder's max_length = 4, .*, got 5"
    with pytest.raises(DataError, match=rule):
        runner.fit(head, SequenceData(Sentences()))
    assert runner.global_step == 0
    head = TokenLabeling(frontend(), encoder(position="learned", max_length=5))
    trainer().fit(head, SequenceData(Sentences()))
    assert len(head.predict([["a"] * 5])[0]) == 5
    with pytest.raises(DataError, match="example '1': length must be at most"):
        head.predict([["a"], ["a"] * 6])


def validated(*datasets: Any) -> Any:
    """What a head looks at in a Trainer that validates on these data sets."""
    loaders = [SimpleNamespace(dataset=dataset) for dataset in datasets]
    return SimpleNamespace(val_dataloaders=loaders[0] if len(loaders) == 1 else loaders)


def test_validation_size_is_that_of_all_loaders() -> None:
    assert validation_size(validated([1, 2, 3])) == 3
    assert validation_size(validated([1, 2, 3], [4])) == 4


def test_validation_size_of_a_task_is_its_own() -> None:
    joint = SimpleNamespace(examples={"tags": [1, 2], "kinds": [3]})
    assert validation_size(validated(joint), "kinds") == 1
    assert validation_size(validated(joint), "other") is None


def test_validation_size_of_a_stream_is_not_known() -> None:
    assert validation_size(validated(Stream())) is None
    assert validation_size(SimpleNamespace(val_dataloaders=None)) is None
