"""Examples with the tokens that each takes of a budget."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seqattn.batch import Example
from seqattn.collate import Collator


@dataclass(frozen=True)
class Measured:
    """Examples, and the tokens that each takes of the budget.

    Args:
        examples: in the reader's order.
        lengths: positions of each.
    """

    examples: list[Example]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, examples: list[Example], collate: Collator) -> Measured:
        """Measure examples.

        Raises:
            DataError: if one cannot be measured, or no encoder takes its length; names its key.
        """
        lengths = [collate.length(example) for example in examples]
        return cls(examples, np.array(lengths, dtype=np.int64))

    def only(self, chosen: NDArray[np.bool_]) -> Measured:
        """Return the chosen ones. Shape: chosen (number of examples,)."""
        pairs = zip(self.examples, chosen.tolist(), strict=True)
        return Measured(
            [example for example, is_chosen in pairs if is_chosen], self.lengths[chosen]
        )

    def digest(self) -> str:
        """Return a hash of keys and lengths."""
        keys = "\0".join(example.key for example in self.examples)
        content = keys.encode(errors="backslashreplace") + self.lengths.astype("<i8").tobytes()
        return hashlib.blake2b(content, digest_size=16).hexdigest()
