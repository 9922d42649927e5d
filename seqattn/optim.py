"""AdamW, the learning rate's schedule, and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

Schedule = Literal["constant", "linear", "cosine", "inverse_sqrt"]

_NOT_DECAYED = (
    nn.Embedding,
    nn.EmbeddingBag,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._NormBase,  # batch and instance norms of every rank
)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trainable parameters, each once, in a group with decay and one without.

    Not decayed are norms, embeddings, biases, whatever has fewer than two dimensions, and all
    parameters below a module whose attribute `no_weight_decay` is True. A parameter that several
    modules share is not decayed if one of them says so. A group without parameters is left out.

    Raises:
        ValueError: if `weight_decay` is negative, or no parameter is trainable.
    """
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay must be finite and not negative, got {weight_decay}")
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trainable:
        raise ValueError("module must have a trainable parameter, got none")
    exempt = _exempt(module)
    groups = [
        {"params": [p for p in trainable if p not in exempt], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p in exempt], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(
    module: nn.Module, learning_rate: float, weight_decay: float, *, fused: bool
) -> AdamW:
    """Return AdamW over the groups of :func:`parameter_groups`.

    Decay is decoupled from the gradient: Loshchilov and Hutter 2019, "Decoupled Weight Decay
    Regularization", algorithm 2, where torch multiplies the decay by the learning rate. The betas
    (0.9, 0.98) are those of Vaswani et al. 2017, section 5.3: the shorter memory of the squared
    gradient follows the quick changes of early training, and Liu et al. 2019 (RoBERTa), section
    3.1, found it more stable with large batches than torch's 0.999.

    Args:
        module: whose trainable parameters are optimised.
        learning_rate: the factor 1 of the schedule.
        weight_decay: per step, times the learning rate.
        fused: one kernel for all parameters, on CPU and CUDA; otherwise one per operation.

    Raises:
        ValueError: if `learning_rate` is not positive, `weight_decay` is negative, or no parameter
            is trainable.
    """
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate}")
    groups = parameter_groups(module, weight_decay)
    return AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), fused=fused, foreach=not fused)


def schedule_factor(
    step: int, *, schedule: Schedule, warmup_steps: int, total_steps: int | None
) -> float:
    """Return the part of the learning rate that the optimiser's step takes, in 0 … 1.

    Steps count from 0. During the warm-up it rises linearly, from 1 / `warmup_steps` to 1 at its
    last step. After it,

    - ``constant`` stays 1;
    - ``linear`` falls from 1 to 0 at `total_steps`, which is one beyond the last step;
    - ``cosine`` does so along half a cosine: Loshchilov and Hutter 2017 (SGDR), equation 5, with
      one period and a minimum of 0;
    - ``inverse_sqrt`` falls as 1 / sqrt(step + 1): Vaswani et al. 2017, equation 3, scaled to
      have 1 as its peak. Without a warm-up it starts at 1.

    Training that ends within the warm-up is legal, as a trial run of one batch does; then the
    factor never reaches 1.

    Args:
        step: number of optimiser steps taken before this one.
        schedule: the curve after the warm-up.
        warmup_steps: length of the warm-up; 0 for none.
        total_steps: steps of the whole training, warm-up included; None if unknown.

    Raises:
        ValueError: if `schedule` is none of these, a number is negative, or `total_steps` is None
            where the schedule needs it.
    """
    _require_schedule(step, schedule, warmup_steps, total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    if schedule == "inverse_sqrt":
        return math.sqrt(max(warmup_steps, 1) / (step + 1))
    assert total_steps is not None
    if step >= total_steps:
        return 0.0
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return 1 - progress if schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2


def make_scheduler(
    optimizer: Optimizer,
    *,
    schedule: Schedule,
    warmup_steps: int,
    total_steps: int | None = None,
) -> LambdaLR:
    """Return the scheduler of :func:`schedule_factor`, to be stepped after every optimiser step.

    Its state holds the step it is at, not the curve: after a resume with another warm-up, length
    or schedule the new one holds, from that step on.

    Raises:
        ValueError: as in :func:`schedule_factor`.
    """
    factor = partial(
        schedule_factor, schedule=schedule, warmup_steps=warmup_steps, total_steps=total_steps
    )
    return LambdaLR(optimizer, factor)


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale gradients, together, to a norm of at most `max_norm`; return their norm before, ().

    The norm is the Euclidean one of all gradients as one vector (Pascanu et al. 2013, algorithm
    1). A norm that is not finite has made the gradients NaN or zero: it is for the caller to look
    at it, when it next waits for the device, before the step is taken.

    Raises:
        ValueError: if `max_norm` is not positive.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive, got {max_norm}")
    return torch.nn.utils.clip_grad_norm_(list(parameters), max_norm)


def _exempt(module: nn.Module) -> set[Tensor]:
    """Return the parameters that must not decay; tensors are told apart by identity."""
    exempt: set[Tensor] = set()
    for part in module.modules():
        if isinstance(part, _NOT_DECAYED) or getattr(part, "no_weight_decay", False) is True:
            exempt.update(part.parameters())
        for name, parameter in part.named_parameters(recurse=False):
            if parameter.dim() < 2 or "bias" in name.split("_"):
                exempt.add(parameter)
    return exempt


def _require_schedule(
    step: int, schedule: Schedule, warmup_steps: int, total_steps: int | None
) -> None:
    if schedule not in get_args(Schedule):
        raise ValueError(f"schedule must be one of {get_args(Schedule)}, got {schedule!r}")
    for name, value in (("step", step), ("warmup_steps", warmup_steps)):
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value}")
    if total_steps is None:
        if schedule in ("linear", "cosine"):
            raise ValueError(
                f"total_steps must be known for schedule={schedule!r}, got None: "
                f"limit the training, or take schedule='inverse_sqrt' or 'constant'"
            )
    elif total_steps < 0:
        raise ValueError(f"total_steps must not be negative, got {total_steps}")
