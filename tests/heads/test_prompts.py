from __future__ import annotations

import torch
from torch import Tensor

from seqattn import SequenceBatch
from seqattn.heads.prompts import PromptStepper, equally_long
from tests.heads.small_heads import encoder

SYMBOLS = torch.randn(5, 16, dtype=torch.float64)
PROMPTS = [torch.randn(length, 16, dtype=torch.float64) for length in (3, 1, 2, 3)]


def stepper(model: torch.nn.Module, places: Tensor | None = None) -> PromptStepper:
    batch = SequenceBatch.from_list(PROMPTS)
    return PromptStepper(model, SYMBOLS.__getitem__, torch.nn.Identity(), batch, places)


def full_pass(model: torch.nn.Module, prompt: Tensor, symbols: list[int]) -> Tensor:
    x = torch.cat([prompt, SYMBOLS[symbols]])
    out: Tensor = model(x, torch.tensor([0, len(x)]))
    return out[-1]


def test_a_row_reads_its_prompt_and_then_its_symbols() -> None:
    model = encoder(pattern="causal").double().eval()
    steps = stepper(model)
    steps.step(torch.tensor([4, 4, 4, 4]))
    second = steps.step(torch.tensor([4, 2, 4, 4]))
    torch.testing.assert_close(second[1], full_pass(model, PROMPTS[1], [2]))
    torch.testing.assert_close(second[2], full_pass(model, PROMPTS[2], []))
    third = steps.step(torch.tensor([4, 0, 1, 4]))
    torch.testing.assert_close(third[1], full_pass(model, PROMPTS[1], [2, 0]))
    torch.testing.assert_close(third[2], full_pass(model, PROMPTS[2], [1]))
    torch.testing.assert_close(third[3], full_pass(model, PROMPTS[3], []))


def test_selected_rows_go_on_from_what_they_are_told() -> None:
    model = encoder(pattern="causal").double().eval()
    steps = stepper(model, torch.tensor([1, 3]))
    steps.step(torch.tensor([4, 4]))
    steps.select(torch.tensor([1, 0, 0]), None)
    found = steps.step(torch.tensor([4, 2, 3]))
    torch.testing.assert_close(found[1], full_pass(model, PROMPTS[1], [2]))
    torch.testing.assert_close(found[2], full_pass(model, PROMPTS[1], [3]))
    found = steps.step(torch.tensor([4, 2, 3]))
    torch.testing.assert_close(found[0], full_pass(model, PROMPTS[3], []))


def test_prompts_are_grouped_by_length() -> None:
    batch = SequenceBatch.from_list(PROMPTS)
    assert list(equally_long(batch)) == [(1, [1]), (2, [2]), (3, [0, 3])]
