"""The packed batch beside the batches of FlashAttention, torch and PyTorch Geometric."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from seqattn import SequenceBatch

LENGTHS = st.lists(st.integers(1, 6), min_size=1, max_size=6)


@given(LENGTHS)
def test_offsets_equal_flash_attention_unpadding(lengths: list[int]) -> None:
    # flash_attn.bert_padding.unpad_input: mask (B, L) to row indices, cu_seqlens and max_seqlen
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    indices = mask.flatten().nonzero().flatten()
    cu_seqlens = F.pad(mask.sum(1, dtype=torch.int32).cumsum(0, dtype=torch.int32), (1, 0))
    padded = torch.arange(mask.numel()).view(mask.shape)
    batch = SequenceBatch.from_list([row[:n] for row, n in zip(padded, lengths, strict=True)])
    assert torch.equal(batch.values, padded.flatten()[indices])
    assert torch.equal(batch.packing.cu_seqlens, cu_seqlens)
    assert batch.packing.cu_seqlens.dtype == cu_seqlens.dtype
    assert batch.packing.max_length == max(lengths)


@given(LENGTHS)
def test_batch_equals_torch_jagged_tensor(lengths: list[int]) -> None:
    rows = [torch.arange(float(n)) for n in lengths]
    jagged = torch.nested.nested_tensor(rows, layout=torch.jagged)
    batch = SequenceBatch.from_list(rows)
    assert torch.equal(batch.values, jagged.values())
    assert torch.equal(batch.offsets, jagged.offsets())


@given(LENGTHS)
def test_batch_of_graphs_equals_torch_geometric(lengths: list[int]) -> None:
    data = pytest.importorskip("torch_geometric.data")
    rings = [torch.stack([torch.arange(n), torch.arange(n).roll(1)]) for n in lengths]
    nodes = [torch.rand(n, 3) for n in lengths]
    weights = [torch.rand(n) for n in lengths]
    graphs = [
        data.Data(x=x, edge_index=index, edge_weight=weight)
        for x, index, weight in zip(nodes, rings, weights, strict=True)
    ]
    oracle = data.Batch.from_data_list(graphs)
    batch = SequenceBatch.from_list(nodes, list(zip(rings, weights, strict=True)))
    assert torch.equal(batch.values, oracle.x)
    assert torch.equal(batch.offsets, oracle.ptr)
    assert torch.equal(batch.sequence_ids, oracle.batch)
    assert torch.equal(batch.edge_index, oracle.edge_index)
    assert torch.equal(batch.edge_weight, oracle.edge_weight)
