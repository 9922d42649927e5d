"""Readers, the token-budget sampler and the data module."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqattn.data.readers.arrays import Arrays as Arrays
    from seqattn.data.readers.audio_folder import AudioFolder as AudioFolder
    from seqattn.data.readers.audio_manifest import AudioManifest as AudioManifest
    from seqattn.data.readers.audio_names import AudioNames as AudioNames
    from seqattn.data.readers.base import Reader as Reader
    from seqattn.data.readers.conll import Conll as Conll
    from seqattn.data.readers.conllu import Conllu as Conllu
    from seqattn.data.readers.graph_diffusion import Diffused as Diffused
    from seqattn.data.readers.graph_edges import ContactList as ContactList
    from seqattn.data.readers.graph_edges import EdgeList as EdgeList
    from seqattn.data.readers.graph_labels import ShownLabels as ShownLabels
    from seqattn.data.readers.graph_planetoid import PlanetoidFiles as PlanetoidFiles
    from seqattn.data.readers.graph_pyg import PygDataset as PygDataset
    from seqattn.data.readers.graph_sampling import NeighborSampled as NeighborSampled
    from seqattn.data.readers.graph_split import Fold as Fold
    from seqattn.data.readers.graph_split import NodeSplit as NodeSplit
    from seqattn.data.readers.graph_tables import NodeEdgeTables as NodeEdgeTables
    from seqattn.data.readers.graph_tu import TuZip as TuZip
    from seqattn.data.readers.idx_images import IdxImages as IdxImages
    from seqattn.data.readers.inflections import Inflections as Inflections
    from seqattn.data.readers.lines import LabelledLines as LabelledLines
    from seqattn.data.readers.lines import Lines as Lines
    from seqattn.data.readers.parallel import ParallelFiles as ParallelFiles
    from seqattn.data.readers.pronunciations import Pronunciations as Pronunciations
    from seqattn.data.readers.scan import Commands as Commands
    from seqattn.data.readers.split import Limit as Limit
    from seqattn.data.readers.split import Split as Split
    from seqattn.data.readers.table import Table as Table
    from seqattn.data.readers.time_series import TimeSeries as TimeSeries

_HOMES = {
    "Arrays": "seqattn.data.readers.arrays",
    "AudioFolder": "seqattn.data.readers.audio_folder",
    "AudioManifest": "seqattn.data.readers.audio_manifest",
    "AudioNames": "seqattn.data.readers.audio_names",
    "Commands": "seqattn.data.readers.scan",
    "Conll": "seqattn.data.readers.conll",
    "Conllu": "seqattn.data.readers.conllu",
    "IdxImages": "seqattn.data.readers.idx_images",
    "Inflections": "seqattn.data.readers.inflections",
    "ContactList": "seqattn.data.readers.graph_edges",
    "Diffused": "seqattn.data.readers.graph_diffusion",
    "EdgeList": "seqattn.data.readers.graph_edges",
    "Fold": "seqattn.data.readers.graph_split",
    "NeighborSampled": "seqattn.data.readers.graph_sampling",
    "NodeEdgeTables": "seqattn.data.readers.graph_tables",
    "NodeSplit": "seqattn.data.readers.graph_split",
    "PlanetoidFiles": "seqattn.data.readers.graph_planetoid",
    "PygDataset": "seqattn.data.readers.graph_pyg",
    "ShownLabels": "seqattn.data.readers.graph_labels",
    "TuZip": "seqattn.data.readers.graph_tu",
    "LabelledLines": "seqattn.data.readers.lines",
    "Limit": "seqattn.data.readers.split",
    "Lines": "seqattn.data.readers.lines",
    "ParallelFiles": "seqattn.data.readers.parallel",
    "Pronunciations": "seqattn.data.readers.pronunciations",
    "Reader": "seqattn.data.readers.base",
    "Split": "seqattn.data.readers.split",
    "Table": "seqattn.data.readers.table",
    "TimeSeries": "seqattn.data.readers.time_series",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'seqattn.data' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *_HOMES})
