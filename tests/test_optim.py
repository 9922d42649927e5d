import math
import pickle
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from seqattn.optim import (
    Schedule,
    clip_gradients,
    make_optimizer,
    make_scheduler,
    parameter_groups,
    schedule_factor,
)


class Positions(nn.Module):
    no_weight_decay = True

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(3, 2))
        self.inner = nn.Linear(2, 2)


class WithMethod(nn.Linear):
    def no_weight_decay(self) -> set[str]:  # as timm's models have it
        return set()


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 2)
        self.positions = Positions()
        self.inner = nn.Linear(2, 3)
        self.grid_norm = nn.LayerNorm((2, 2))
        self.batch_norm = nn.BatchNorm1d(3)
        self.recurrent = nn.LSTM(2, 2)
        self.edge_bias = nn.Parameter(torch.zeros(2, 2))
        self.gain = nn.Parameter(torch.ones(()))


def name_groups(module: nn.Module, weight_decay: float = 0.1) -> dict[float, set[str]]:
    names = {parameter: name for name, parameter in module.named_parameters()}
    groups = parameter_groups(module, weight_decay)
    return {group["weight_decay"]: {names[p] for p in group["params"]} for group in groups}


def test_only_matrices_decay_when_module_holds_every_kind() -> None:
    groups = name_groups(Model())
    assert groups[0.1] == {"inner.weight", "recurrent.weight_ih_l0", "recurrent.weight_hh_l0"}
    assert groups[0.0] == {
        "embedding.weight",
        "positions.table",
        "positions.inner.weight",
        "positions.inner.bias",
        "inner.bias",
        "grid_norm.weight",
        "grid_norm.bias",
        "batch_norm.weight",
        "batch_norm.bias",
        "recurrent.bias_ih_l0",
        "recurrent.bias_hh_l0",
        "edge_bias",
        "gain",
    }


def test_every_parameter_comes_once_when_shared() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    groups = parameter_groups(model, 0.1)
    assert [len(group["params"]) for group in groups] == [1, 2]


def test_tied_weight_does_not_decay_when_one_owner_is_an_embedding() -> None:
    model = nn.Sequential(nn.Linear(2, 5, bias=False), nn.Embedding(5, 2))
    model[0].weight = model[1].weight
    assert name_groups(model) == {0.0: {"0.weight"}}


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Linear(2, 2)
    model.weight.requires_grad_(False)
    assert name_groups(model) == {0.0: {"bias"}}


def test_no_weight_decay_needs_the_value_true() -> None:
    assert name_groups(WithMethod(2, 2, bias=False)) == {0.1: {"weight"}}


def test_parameter_groups_refuses_a_module_without_trainable_parameters() -> None:
    with pytest.raises(ValueError, match="module must have a trainable parameter, got none"):
        parameter_groups(nn.Linear(2, 2).requires_grad_(False), 0.1)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_parameter_groups_refuses_a_decay_that_is_none(value: float) -> None:
    with pytest.raises(ValueError, match="weight_decay must be finite and not negative, got"):
        parameter_groups(nn.Linear(2, 2), value)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_optimizer_refuses_a_learning_rate_that_is_not_positive(value: float) -> None:
    with pytest.raises(ValueError, match="learning_rate must be positive and finite, got"):
        make_optimizer(nn.Linear(2, 2), value, 0.1, fused=False)


@pytest.mark.parametrize("fused", [True, False])
def test_first_step_is_the_learning_rate_and_the_decay_by_hand(fused: bool) -> None:
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 2.0)
    nn.init.constant_(model.bias, 2.0)
    model.weight.grad, model.bias.grad = torch.tensor([[3.0]]), torch.tensor([-3.0])
    make_optimizer(model, 0.1, 0.5, fused=fused).step()
    # Adam's first step is the learning rate times the gradient's sign, whatever its size.
    assert model.weight.item() == pytest.approx(2.0 * (1 - 0.1 * 0.5) - 0.1)
    assert model.bias.item() == pytest.approx(2.0 + 0.1)


@pytest.mark.parametrize("fused", [True, False])
def test_second_step_has_the_betas_of_the_transformer(fused: bool) -> None:
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 0.0)
    optimizer = make_optimizer(weight, 0.1, 0.0, fused=fused)
    for gradient in (1.0, 0.0):
        weight.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
    first = 0.9 * 0.1 / (1 - 0.9**2)
    second = 0.98 * 0.02 / (1 - 0.98**2)
    assert weight.weight.item() == pytest.approx(-0.1 - 0.1 * first / math.sqrt(second))


def factors(schedule: Schedule, warmup: int, total: int | None, steps: int) -> list[float]:
    return [
        schedule_factor(step, schedule=schedule, warmup_steps=warmup, total_steps=total)
        for step in range(steps)
    ]


def test_constant_stays_one_after_its_warmup() -> None:
    assert factors("constant", 4, None, 6) == [0.25, 0.5, 0.75, 1, 1, 1]


def test_linear_falls_to_zero_at_the_total() -> None:
    assert factors("linear", 2, 6, 8) == [0.5, 1, 1, 0.75, 0.5, 0.25, 0, 0]


def test_cosine_falls_to_zero_at_the_total() -> None:
    root = math.sqrt(2)
    expected = [0.5, 1, 1, (2 + root) / 4, 0.5, (2 - root) / 4, 0, 0]
    assert factors("cosine", 2, 6, 8) == pytest.approx(expected)


def test_inverse_sqrt_is_vaswani_scaled_to_a_peak_of_one() -> None:
    warmup = 4
    expected = [min(number**-0.5, number * warmup**-1.5) / warmup**-0.5 for number in range(1, 17)]
    assert factors("inverse_sqrt", warmup, None, 16) == pytest.approx(expected)
    assert expected[15] == 0.5


def test_inverse_sqrt_starts_at_one_without_a_warmup() -> None:
    assert factors("inverse_sqrt", 0, None, 4) == pytest.approx([1, 2**-0.5, 3**-0.5, 0.5])


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_factor_is_the_warmup_when_training_ends_within_it(schedule: Schedule) -> None:
    assert factors(schedule, 4, 2, 3) == [0.25, 0.5, 0.75]


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_step_of_training_moves_when_the_total_is_known(schedule: Schedule) -> None:
    assert min(factors(schedule, 0, 5, 5)) > 0
    assert max(factors(schedule, 3, 9, 20)) == 1


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_schedule_refuses_an_unknown_total_where_it_needs_one(schedule: Schedule) -> None:
    message = f"total_steps must be known for schedule='{schedule}', got None"
    with pytest.raises(ValueError, match=message):
        factors(schedule, 0, None, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "step"}, "schedule must be one of .*'inverse_sqrt'.*, got 'step'"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative, got -1"),
        ({"total_steps": -1}, "total_steps must not be negative, got -1"),
    ],
)
def test_schedule_refuses_an_argument_that_breaks_its_rule(
    changes: dict[str, object], message: str
) -> None:
    arguments = {"schedule": "constant", "warmup_steps": 0, "total_steps": None, **changes}
    with pytest.raises(ValueError, match=message):
        schedule_factor(0, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        make_scheduler(
            make_optimizer(nn.Linear(1, 1), 0.1, 0.0, fused=False),
            **arguments,  # type: ignore[arg-type]
        )


def test_schedule_refuses_a_negative_step() -> None:
    with pytest.raises(ValueError, match="step must not be negative, got -1"):
        schedule_factor(-1, schedule="constant", warmup_steps=0, total_steps=None)


def make_pair(
    warmup: int = 4, rate: float = 0.1
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    optimizer = make_optimizer(nn.Linear(1, 1), rate, 0.0, fused=False)
    scheduler = make_scheduler(optimizer, schedule="constant", warmup_steps=warmup)
    return optimizer, scheduler


def test_scheduler_multiplies_the_learning_rate_of_every_group() -> None:
    optimizer = make_optimizer(nn.Linear(1, 1), 0.1, 0.5, fused=False)
    scheduler = make_scheduler(optimizer, schedule="linear", warmup_steps=2, total_steps=4)
    rates = []
    for _ in range(4):
        rates.append(scheduler.get_last_lr())
        optimizer.step()
        scheduler.step()
    expected = [[rate, rate] for rate in (0.05, 0.1, 0.1, 0.05)]
    torch.testing.assert_close(torch.tensor(rates), torch.tensor(expected))


def test_scheduler_goes_on_when_loaded_with_weights_only(tmp_path: Path) -> None:
    optimizer, scheduler = make_pair()
    for _ in range(2):
        optimizer.step()
        scheduler.step()
    states = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save(states, tmp_path / "states.ckpt")
    loaded = torch.load(tmp_path / "states.ckpt", weights_only=True)
    other, resumed = make_pair()
    other.load_state_dict(loaded["optimizer"])
    resumed.load_state_dict(loaded["scheduler"])
    assert resumed.get_last_lr() == pytest.approx([0.075, 0.075])
    other.step()
    resumed.step()
    assert other.param_groups[0]["lr"] == pytest.approx(0.1)


def test_scheduler_takes_the_new_curve_when_resumed_with_another() -> None:
    optimizer, scheduler = make_pair(warmup=4)
    optimizer.step()
    scheduler.step()
    other, resumed = make_pair(warmup=8)
    resumed.load_state_dict(scheduler.state_dict())
    other.step()
    resumed.step()
    assert resumed.get_last_lr()[0] == pytest.approx(0.1 * 3 / 8)


def test_scheduler_is_the_same_when_pickled() -> None:
    factor = make_pair()[1].lr_lambdas[0]
    assert pickle.loads(pickle.dumps(factor))(0) == 0.25


def test_clip_gradients_returns_the_norm_before_and_scales_all_together() -> None:
    first, second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(2))
    first.grad, second.grad = torch.tensor([3.0]), torch.tensor([0.0, -4.0])
    norm = clip_gradients(iter([first, second]), 1.0)
    assert norm.item() == pytest.approx(5)
    torch.testing.assert_close(first.grad, torch.tensor([0.6]))
    torch.testing.assert_close(second.grad, torch.tensor([0.0, -0.8]))


def test_clip_gradients_changes_nothing_when_the_norm_is_small() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([0.3, 0.4])
    assert clip_gradients([parameter], 1.0).item() == pytest.approx(0.5)
    assert parameter.grad.equal(torch.tensor([0.3, 0.4]))


def test_clip_gradients_returns_zero_when_there_is_no_gradient() -> None:
    assert clip_gradients([nn.Parameter(torch.zeros(2))], 1.0).item() == 0
    assert clip_gradients(iter(()), 1.0).item() == 0


def test_clip_gradients_returns_a_norm_that_is_not_finite() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([math.nan, 1.0])
    assert clip_gradients([parameter], 1.0).isnan()


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_clip_gradients_refuses_a_norm_that_is_not_positive(value: float) -> None:
    with pytest.raises(ValueError, match="max_norm must be positive, got"):
        clip_gradients([], value)
