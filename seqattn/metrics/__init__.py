"""Metrics as sums of counts, so that batches and processes add up to the whole corpus.

Every update stays on the device, without a wait for it, and takes N = 0. A metric that has seen
nothing is NaN, silently. States of different meaning have different names, for a
``MetricCollection`` takes two metrics whose states look equal after one batch for the same.
"""

from seqattn.metrics.classes import Accuracy, MacroF1, classification_metrics
from seqattn.metrics.error_rates import ErrorRate
from seqattn.metrics.means import (
    BitsPerCharacter,
    MeanAbsoluteError,
    Perplexity,
    RootMeanSquaredError,
    regression_metrics,
)
from seqattn.metrics.multilabel import (
    ExactMatch,
    MultilabelAccuracy,
    MultilabelF1,
    multilabel_metrics,
)
from seqattn.metrics.overlap import Bleu, Chrf, Rouge
from seqattn.metrics.sequences import ExactMatch as SequenceExactMatch
from seqattn.metrics.spans import SpanF1, has_spans

__all__ = [
    "Accuracy",
    "BitsPerCharacter",
    "Bleu",
    "Chrf",
    "ErrorRate",
    "ExactMatch",
    "MacroF1",
    "MeanAbsoluteError",
    "MultilabelAccuracy",
    "MultilabelF1",
    "Perplexity",
    "RootMeanSquaredError",
    "Rouge",
    "SequenceExactMatch",
    "SpanF1",
    "classification_metrics",
    "has_spans",
    "multilabel_metrics",
    "regression_metrics",
]
