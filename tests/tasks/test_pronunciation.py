from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seqattn import DataError, Example, TextFrontEnd
from tasks.pronunciation import Pronunciation, PronunciationDictionary, VariantErrorRate
from tests.heads.small_heads import build_on, encoder
from tests.heads.small_seq2seq import decoder

PARTS: tuple[Any, ...] = ("all", "train", "val")
LINES = ["a AH0", "a(2) EY1", *(f"w{n} W AH{n % 3}" for n in range(300))]


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "small.dict"
    file.write_text("\n".join(LINES), encoding="utf-8")
    return str(file)


def test_parts_hold_every_word_once(path: str) -> None:
    keys = {part: [e.key for e in PronunciationDictionary(path, part).read()] for part in PARTS}
    assert sorted(keys["train"] + keys["val"]) == sorted(keys["all"])
    assert len(keys["all"]) == len(LINES)
    assert 0 < len(keys["val"]) < 30


def test_stress_is_removed_unless_asked_for(path: str) -> None:
    assert next(PronunciationDictionary(path).read()).target == ["AH"]
    assert next(PronunciationDictionary(path, stress=True).read()).target == ["AH0"]


def test_origin_is_named_when_the_file_is_missing() -> None:
    with pytest.raises(DataError, match="there is no such file; the data is at https://"):
        list(PronunciationDictionary("none.dict").read())


def test_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="part must be all, train or val, got 'test'"):
        PronunciationDictionary("none.dict", "test")  # type: ignore[arg-type]


WRITTEN = [["A", "B"], ["A", "B"], ["C"], ["C", "D"]]
WANTED = [["A", "X", "Y"], ["A", "B", "C"], ["C"], ["C", "E"]]
KEYS = ["d:w", "d:w(2)", "d:v", "d:u"]


def test_nearest_variant_of_each_word_counts() -> None:
    metric = VariantErrorRate("phoneme")
    for prediction, reference, key in zip(WRITTEN, WANTED, KEYS, strict=True):
        metric.update([prediction], [reference], [key])
    # w: 1 edit of 3, not 2 of 3; v: none of 1; u: 1 of 2.
    assert float(metric.compute()) == pytest.approx(2 / 6)
    words = VariantErrorRate("word")
    words.update(WRITTEN, WANTED, KEYS)
    assert float(words.compute()) == pytest.approx(2 / 3)


def test_word_is_right_when_any_variant_is() -> None:
    metric = VariantErrorRate("word")
    metric.update([["A"], ["A"]], [["B"], ["A"]], ["d:w", "d:w(2)"])
    assert float(metric.compute()) == 0


def test_rate_is_nothing_without_a_word() -> None:
    for unit in ("phoneme", "word"):
        metric = VariantErrorRate(unit)  # type: ignore[arg-type]
        assert metric.compute().isnan()
        metric.update([["A"]], [["B"]], ["d:w"])
        assert float(metric.compute()) == 1
        metric.reset()
        assert metric.compute().isnan()


def test_rate_is_nothing_when_all_variants_are_empty() -> None:
    metric = VariantErrorRate("phoneme")
    metric.update([[]], [[]], ["d:w"])
    assert metric.compute().isnan()


def test_variants_of_a_word_meet_when_processes_bring_their_rows() -> None:
    parts = [VariantErrorRate("word") for _ in range(3)]
    parts[0].update([["A"]], [["B"]], ["d:w"])
    parts[1].update([["A"]], [["A"]], ["d:w(2)"])  # the third process has no example
    rows = [torch.cat(part.rows) for part in parts]
    together = VariantErrorRate("word")
    together.rows = torch.cat(rows)  # type: ignore[assignment]  # as torchmetrics leaves it
    assert float(together.compute()) == 0


def test_unknown_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="unit must be phoneme or word, got 'letter'"):
        VariantErrorRate("letter")  # type: ignore[arg-type]


def head(**arguments: Any) -> Any:
    made = Pronunciation(
        TextFrontEnd("character"), encoder(), decoder(), target_units="token", **arguments
    )
    return build_on(made, [Example("ab", ["A", "B"], "d:ab")])


@pytest.mark.filterwarnings("ignore:.*reached max_length")  # it has learned nothing
def test_head_reports_both_rates_of_what_it_writes() -> None:
    made = head(metrics=["exact_match"], max_length=3)
    examples = [Example("ab", ["A"], "d:ab"), Example("ab", ["A", "B"], "d:ab(2)")]
    made.eval()
    metrics = made.metrics["test_metrics"]
    with torch.no_grad():
        made.step(made.collate(examples), "test")
        (found,) = made.predict(["ab"])
    both = [float(metrics[name].compute()) for name in ("exact_match", "wrong_words")]
    assert both[1] == float(found not in (["A"], ["A", "B"]))
    assert both[0] == (1 - both[1]) / 2
    assert metrics["phoneme_error_rate"].compute().isfinite()


def test_head_reports_neither_where_nothing_is_written() -> None:
    names = set(head(decode_examples=0).build_metrics())
    assert names == {"accuracy"}


@pytest.mark.parametrize("name", ["phoneme_error_rate", "wrong_words"])
def test_both_rates_can_choose_the_best_checkpoint(name: str) -> None:
    assert head(monitor=name).monitor == (f"val/{name}", "min")


def test_rate_cannot_be_monitored_where_nothing_is_written() -> None:
    with pytest.raises(ValueError, match="monitor must be one of loss, accuracy, got 'wrong_wor"):
        head(decode_examples=0, monitor="wrong_words")
