"""Which role does every token of Python source play? Labels without an annotator's mistakes.

The truth is the syntax tree that Python's own parser gives; the text is the standard library of
the running interpreter. So the task is on every machine, without a download. The word `name` alone
says nothing about its role: in ``def name``, ``name(x)``, ``f(name=1)`` and ``except name`` it is
four different things, and only the context tells. Those roles are :data:`CONTEXT_ROLES`; the
others follow from a token's spelling, so accuracy is worth reporting over the former only.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator

from torchmetrics import MetricCollection

from seqattn import DataError, Example, TokenLabeling
from seqattn.data import Reader
from seqattn.metrics import Accuracy, MacroF1
from tasks.python_syntax import CONTEXT_ROLES, ROLES, is_context, label_tokens
from tasks.standard_library import SplitName, choose_modules, read_sources

__all__ = [
    "CONTEXT_ROLES",
    "ROLES",
    "PythonRoles",
    "RoleLabeling",
    "is_context",
    "label_tokens",
]

_logger = logging.getLogger(__name__)


class PythonRoles(Reader):
    """Gives pieces of the standard library's source, every token with its syntactic role.

    An example is a run of whole statements of one module, cut where the indentation is smallest;
    only a statement that is longer than `max_length` is cut inside. Its key is
    ``"module:line"``. Modules that are missing or do not parse are left out, listed in
    :attr:`skipped` and logged.

    Args:
        split: "train", "val" or "test"; a module's name decides where it is.
        fraction: part of the split's modules to read.
        seed: which modules a fraction takes.
        max_length: most tokens of an example.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self, split: SplitName, *, fraction: float = 1.0, seed: int = 0, max_length: int = 256
    ) -> None:
        if max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}")
        self.modules = choose_modules(split, fraction, seed)
        self.split = split
        self.max_length = max_length
        self.skipped: list[str] = []

    def read(self) -> Iterator[Example]:
        """Yield the examples: source a list of tokens, target a list of as many roles.

        Raises:
            DataError: if this Python has no source of its standard library.
        """
        sources = read_sources(self.modules)
        self.skipped = [module for module in self.modules if module not in sources]
        for module, source in sources.items():
            try:
                tokens = label_tokens(source)
            except DataError:
                self.skipped.append(module)
                continue
            for start, end in cut_at_statements(tokens.roles, self.max_length):
                yield Example(
                    source=tokens.texts[start:end],
                    target=tokens.roles[start:end],
                    key=f"{module}:{tokens.lines[start]}",
                )
        names = " ".join(self.skipped) or "none"
        _logger.info("%s: of %d modules skipped: %s", self.split, len(self.modules), names)


class RoleLabeling(TokenLabeling):
    """Token labeling that also reports accuracy and macro F1 over :data:`CONTEXT_ROLES`."""

    def build_metrics(self) -> MetricCollection:
        """Add both; precision counts the lexical tokens too."""
        metrics = super().build_metrics()
        context = [number for number, role in enumerate(self.labels) if is_context(role)]
        metrics.add_metrics(
            {
                "context_accuracy": Accuracy(self.num_labels, context),
                "context_macro_f1": MacroF1(self.num_labels, context),
            }
        )
        return metrics


def cut_at_statements(roles: list[str], max_length: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of consecutive pieces of at most `max_length` tokens, none left out.

    A piece ends after a statement: in the second half of its room where the next statement is
    least indented, else at the last end of a statement, else where the room ends.
    """
    cuts, depths = _statement_ends(roles)
    start, total = 0, len(roles)
    while start < total:
        end = start + max_length
        if end < total:
            low, middle, high = (bisect_right(cuts, x) for x in (start, end - max_length // 2, end))
            if middle < high:
                end = cuts[max(range(middle, high), key=lambda i: (-depths[i], i))]
            elif low < middle:
                end = cuts[middle - 1]
        yield start, min(end, total)
        start = end


def _statement_ends(roles: list[str]) -> tuple[list[int], list[int]]:
    """Return where the statements but the last end, and how deep the one after each stands."""
    ends: list[int] = []
    depths: list[int] = []
    depth = 0
    for index, role in enumerate(roles):
        if role == "newline":
            ends.append(index + 1)
            depths.append(depth)
        elif role in ("indent", "dedent"):
            depth += 1 if role == "indent" else -1
            depths[-1] = depth
    return ends[:-1], depths[:-1]
