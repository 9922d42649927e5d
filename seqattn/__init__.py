"""One packed transformer encoder for text, audio and graphs, with pluggable task heads.

Letters: B sequences in a batch; T positions in a batch, all sequences together; L, M length of
one sequence, of the memory it cross-attends to; N labelled positions or sequences; D model
width; H heads; K width of a head; F input features; V output classes; E edges; W beam width.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqattn.attention.patterns import Edges as Edges
    from seqattn.attention.patterns import Window as Window
    from seqattn.attention.reference import aggregate as aggregate
    from seqattn.attention.reference import attend as attend
    from seqattn.batch import Example as Example
    from seqattn.batch import SequenceBatch as SequenceBatch
    from seqattn.checkpoint import load as load
    from seqattn.data.module import SequenceData as SequenceData
    from seqattn.data.multi import MultiData as MultiData
    from seqattn.errors import DataError as DataError
    from seqattn.frontends.audio import AudioFrontEnd as AudioFrontEnd
    from seqattn.frontends.base import FrontEnd as FrontEnd
    from seqattn.frontends.features import FeatureFrontEnd as FeatureFrontEnd
    from seqattn.frontends.graph import GraphFrontEnd as GraphFrontEnd
    from seqattn.frontends.patches import PatchFrontEnd as PatchFrontEnd
    from seqattn.frontends.text import TextFrontEnd as TextFrontEnd
    from seqattn.graph import Graph as Graph
    from seqattn.heads.base import TaskHead as TaskHead
    from seqattn.heads.language_model import LanguageModel as LanguageModel
    from seqattn.heads.multitask import MultiTask as MultiTask
    from seqattn.heads.output import Loss as Loss
    from seqattn.heads.output import Output as Output
    from seqattn.heads.seq2seq import Seq2Seq as Seq2Seq
    from seqattn.heads.sequence_classification import (
        SequenceClassification as SequenceClassification,
    )
    from seqattn.heads.token_labeling import TokenLabeling as TokenLabeling
    from seqattn.layers.decoder import Decoder as Decoder
    from seqattn.layers.encoder import Encoder as Encoder
    from seqattn.maps import attention_maps as attention_maps
    from seqattn.packing import Packing as Packing
    from seqattn.predictions import hidden_states as hidden_states
    from seqattn.sound import AudioClip as AudioClip

_HOMES = {
    "DataError": "seqattn.errors",
    "Example": "seqattn.batch",
    "Packing": "seqattn.packing",
    "SequenceBatch": "seqattn.batch",
    "AudioClip": "seqattn.sound",
    "Graph": "seqattn.graph",
    "Decoder": "seqattn.layers.decoder",
    "Encoder": "seqattn.layers.encoder",
    "Window": "seqattn.attention.patterns",
    "Edges": "seqattn.attention.patterns",
    "attend": "seqattn.attention.reference",
    "aggregate": "seqattn.attention.reference",
    "FrontEnd": "seqattn.frontends.base",
    "AudioFrontEnd": "seqattn.frontends.audio",
    "FeatureFrontEnd": "seqattn.frontends.features",
    "GraphFrontEnd": "seqattn.frontends.graph",
    "PatchFrontEnd": "seqattn.frontends.patches",
    "TextFrontEnd": "seqattn.frontends.text",
    "TaskHead": "seqattn.heads.base",
    "Output": "seqattn.heads.output",
    "Loss": "seqattn.heads.output",
    "TokenLabeling": "seqattn.heads.token_labeling",
    "SequenceClassification": "seqattn.heads.sequence_classification",
    "Seq2Seq": "seqattn.heads.seq2seq",
    "LanguageModel": "seqattn.heads.language_model",
    "MultiTask": "seqattn.heads.multitask",
    "SequenceData": "seqattn.data.module",
    "MultiData": "seqattn.data.multi",
    "load": "seqattn.checkpoint",
    "attention_maps": "seqattn.maps",
    "hidden_states": "seqattn.predictions",
}

__version__ = "0.1.0"
__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'seqattn' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *_HOMES})
