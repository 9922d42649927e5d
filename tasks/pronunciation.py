"""How is a word pronounced? Letters to phonemes, by the CMU Pronouncing Dictionary."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from seqattn import DataError, Example, Seq2Seq
from seqattn.data import Pronunciations, Reader
from seqattn.metrics import ErrorRate

ORIGIN = "https://github.com/cmusphinx/cmudict (its words split into cmudict.{train,dev}.dict)"

Part = Literal["all", "train", "val"]

_VAL_SHARE = 50  # one word of so many is for validation
_NUMBER = re.compile(r"\(\d+\)$")


class PronunciationDictionary(Reader):
    """Words and their phonemes without stress; see :class:`seqattn.data.Pronunciations`.

    Args:
        path: the dictionary.
        part: ``all`` words; or those for ``val``, one in fifty, and those left for ``train``. A
            word's spelling alone decides, so all its variants are in one part.
        stress: whether vowels keep their stress.

    Raises:
        ValueError: if there is no such part.
    """

    def __init__(self, path: str, part: Part = "all", *, stress: bool = False) -> None:
        if part not in ("all", "train", "val"):
            raise ValueError(f"part must be all, train or val, got {part!r}")
        self.path = path
        self.part = part
        self.reader = Pronunciations(path, stress=stress)

    def read(self) -> Iterator[Example]:
        """Yield the words, all variants of each: source a string, target a list of phonemes.

        Raises:
            DataError: if the file is missing or breaks its format.
        """
        if not Path(self.path).exists():
            raise DataError(f"there is no such file; the data is at {ORIGIN}", path=self.path)
        for example in self.reader.read():
            is_val = zlib.crc32(example.source.encode()) % _VAL_SHARE == 0
            if self.part == "all" or is_val == (self.part == "val"):
                yield example


class Pronunciation(Seq2Seq):
    """Sequence to sequence that also reports what is usual for pronunciations.

    ``phoneme_error_rate`` is edits per phoneme, and ``wrong_words`` the share of words with an
    edit, in both the nearest of a word's variants being the reference. Examples are variants of
    one word if their keys are, as those of :class:`seqattn.data.Pronunciations`.
    """

    def build_metrics(self) -> MetricCollection:
        """Add both, where outputs are written at all."""
        metrics = super().build_metrics()
        if self.metric_names:
            metrics.add_metrics(
                {
                    "phoneme_error_rate": VariantErrorRate("phoneme"),
                    "wrong_words": VariantErrorRate("word"),
                }
            )
        return metrics


class VariantErrorRate(Metric):
    """Error rate in which only the nearest variant of each word counts.

    Of variants at the least distance it is the longest.

    Args:
        unit: ``phoneme``, edits per phoneme of these variants; ``word``, the share of words with
            an edit.
    """

    higher_is_better = False
    full_state_update = False
    rows: list[Tensor]

    def __init__(self, unit: Literal["phoneme", "word"]) -> None:
        super().__init__()
        if unit not in ("phoneme", "word"):
            raise ValueError(f"unit must be phoneme or word, got {unit!r}")
        self.unit = unit
        self.add_state("rows", [], dist_reduce_fx="cat")
        self.reset()

    @property
    def update_called(self) -> bool:
        """Always True: computing before an update gives NaN here, and no warning."""
        return True

    def reset(self) -> None:
        """Forget all words; a process without any still has rows to give to the others."""
        super().reset()
        self.rows = [torch.empty(0, 3, dtype=torch.int64, device=self.device)]

    def update(
        self,
        predictions: Sequence[list[str]],
        references: Sequence[list[str]],
        keys: Sequence[str],
    ) -> None:
        """Add pronunciations.

        Args:
            predictions: phonemes.
            references: those of one variant each.
            keys: equal for variants of one word, but for the number in brackets at the end.
        """
        distance, rows = ErrorRate("token"), []
        for prediction, reference, key in zip(predictions, references, keys, strict=True):
            edits, phonemes, _ = distance.count(prediction, [reference])
            rows.append((_number(_NUMBER.sub("", key)), edits, phonemes))
        self.rows.append(torch.tensor(rows, device=self.device).reshape(-1, 3))

    def compute(self) -> Tensor:
        """Return the rate, (); NaN without a word."""
        rows = self.rows if isinstance(self.rows, Tensor) else torch.cat(self.rows)
        best: dict[int, tuple[int, int]] = {}
        for word, edits, phonemes in rows.tolist():
            best[word] = min(best.get(word, (edits, -phonemes)), (edits, -phonemes))
        if self.unit == "word":
            wrong, total = sum(edits > 0 for edits, _ in best.values()), len(best)
        else:
            wrong = sum(edits for edits, _ in best.values())
            total = -sum(length for _, length in best.values())
        return torch.tensor(wrong / total if total else torch.nan, device=self.device)


def _number(word: str) -> int:
    """Return a number that two words practically never share, the same in every process."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), signed=True)
