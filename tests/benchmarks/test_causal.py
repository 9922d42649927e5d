from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import causal, record


def test_every_length_is_recorded_when_run_quickly(tmp_path: Path) -> None:
    causal.main(["--quick", "--results", str(tmp_path)])

    rows = record.read_rows(tmp_path, "causal")
    assert [row["name"] for row in rows] == ["L = 6", "L = 9"]
    for row in rows:
        figures = row["figures"]
        assert isinstance(figures, dict)
        assert figures["times cheaper"] > 0
        assert figures["largest difference of gradients at L = 6, float64"] < 1e-10


def test_a_race_is_void_when_the_model_sees_what_comes() -> None:
    torch.manual_seed(0)
    model = causal.NextSymbol(8, 1).double()
    model.encoder = causal.Encoder(8, 1, 2, dropout=0.0).double()

    with pytest.raises(ValueError, match="outputs of the loss must agree"):
        causal.compare(model, causal.draw_text(5))


def test_prefixes_share_a_batch_while_they_fit() -> None:
    assert causal.split_prefixes(5, 6) == [[1, 2, 3], [4], [5]]
    assert causal.split_prefixes(3, 1) == [[1], [2], [3]]
