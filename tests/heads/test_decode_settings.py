"""Settings of decoding, their ranges and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest

from seqattn.heads.decode_settings import DecodeSettings


def test_given_settings_win_and_others_stay() -> None:
    settings = DecodeSettings(width=4, length_penalty=0.5)
    found = settings.override(width=2, length_penalty=None, min_length=1)
    assert found == DecodeSettings(width=2, length_penalty=0.5, min_length=1)


def test_limits_follow_the_source_up_to_the_table() -> None:
    settings = DecodeSettings(max_length=3, max_length_factor=1.5)
    assert settings.limits([0, 2, 5], None).tolist() == [3, 6, 10]
    assert settings.limits([0, 2, 5], 7).tolist() == [3, 6, 7]


def test_number_of_outputs_is_at_most_the_width() -> None:
    assert DecodeSettings(width=3).require_n_best(None) == 1
    assert DecodeSettings(width=3).require_n_best(3) == 3
    for wrong in (0, 4):
        with pytest.raises(ValueError, match=f"n_best must lie in 1 … width = 3, got {wrong}"):
            DecodeSettings(width=3).require_n_best(wrong)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"min_length": -1}, "min_length must be at least 0, got -1"),
        ({"max_length_factor": -0.5}, "max_length_factor must be at least 0, got -0.5"),
        ({"temperature": -1.0}, "temperature must be at least 0, got -1.0"),
        ({"temperature": float("nan")}, "temperature must be at least 0, got nan"),
        ({"top_k": 0, "temperature": 1.0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0, "temperature": 1.0}, "top_p must lie in 0 … 1, without 0, got 0.0"),
        ({"length_penalty": float("inf")}, "length_penalty must be finite, got inf"),
        ({"min_length": 9, "max_length": 8}, "min_length must be at most max_length = 8, got 9"),
        ({"temperature": 0.5, "width": 3}, "temperature=0 or width=1, got 0.5 and 3"),
        ({"top_k": 3}, "top_k and top_p need a temperature above 0, got 0"),
        ({"top_p": 0.9}, "top_k and top_p need a temperature above 0, got 0"),
    ],
)
def test_wrong_setting_is_refused(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        DecodeSettings(**settings)


def test_only_the_width_is_for_heads_without_decoder() -> None:
    DecodeSettings(width=7).require_search_only()
    with pytest.raises(ValueError, match="min_length needs a decoder, got 2 and decoder=None"):
        DecodeSettings(min_length=2).require_search_only()
