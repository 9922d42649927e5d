"""What packing is raced against: a tagger's own weights in dense batches with a padding mask.

It is what one writes without packing: B sentences padded to the longest, (B, L, D) throughout, and
torch's fused attention with a key padding mask. What padding does not change (the vectorizer, the
embeddings, the rotation, the feed-forward network) is the tagger's own code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seqattn import TextFrontEnd, TokenLabeling
from seqattn.attention.multihead import MultiHeadAttention
from seqattn.attention.rotary import rotary_angles, rotate
from seqattn.frontends.text_vectorizer import PAD
from seqattn.layers.encoder_layer import EncoderLayer

Angles = tuple[Tensor, Tensor]


class PaddedTagger:
    """Gives the labels that a head gives, batch by batch as told.

    Args:
        head: a fitted tagger of words, with rotary full attention and norms first.

    Raises:
        ValueError: if the head is another.
    """

    def __init__(self, head: TokenLabeling) -> None:
        _require_plain(head)
        assert isinstance(head.frontend, TextFrontEnd)
        self.frontend = head.frontend
        self.encoder = head.encoder.eval()
        self.output = head.output
        self.labels = head.labels

    @torch.inference_mode()
    def predict(
        self, sentences: Sequence[list[str]], batches: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        """Return the label names of every word; each batch lists places in `sentences`."""
        predictions: list[list[str]] = [[]] * len(sentences)
        for indices in batches:
            cells, lengths = self.collate([sentences[index] for index in indices])
            rows = self.logits(cells, lengths).argmax(-1).tolist()
            for index, row, length in zip(indices, rows, lengths.tolist(), strict=True):
                predictions[index] = [self.labels[number] for number in row[:length]]
        return predictions

    def collate(self, sentences: Sequence[list[str]]) -> tuple[Tensor, Tensor]:
        """Return the padded rows of ids (B, L, C), and the lengths (B,)."""
        rows = [self.frontend.vectorizer(sentence).values for sentence in sentences]
        lengths = torch.tensor([len(row) for row in rows])
        return pad_sequence(rows, batch_first=True, padding_value=PAD), lengths

    def logits(self, cells: Tensor, lengths: Tensor) -> Tensor:
        """Return the logits of every slot, padding's meaningless. Shape: (B, L, V)."""
        count, longest = cells.shape[:2]
        x = self._embed(cells)
        places = torch.arange(longest)
        visible = (places < lengths[:, None])[:, None, None]  # (B, 1, 1, L)
        angles = rotary_angles(places.repeat(count), self.encoder.head_dim, x.dtype)
        for layer in self.encoder.layers:
            assert isinstance(layer, EncoderLayer)
            assert isinstance(layer.mixer, MultiHeadAttention)
            assert layer.feedforward is not None
            x = x + self._attend(layer.mixer, layer.mixer_norm(x), visible, angles)
            x = x + layer.feedforward(layer.feedforward_norm(x))
        out: Tensor = self.output(self.encoder.final_norm(x))
        return out

    def _embed(self, cells: Tensor) -> Tensor:
        """Return the words' vectors (B, L, D); a slot of padding is a word without characters."""
        flat = cells.flatten(0, 1)
        x: Tensor = self.frontend.symbols(flat[:, 0].clamp(min=0))
        if self.frontend.characters is not None:
            x = x + self.frontend.characters(flat[:, 1:])
        return x.view(*cells.shape[:2], -1)

    def _attend(
        self, mixer: MultiHeadAttention, x: Tensor, visible: Tensor, angles: Angles
    ) -> Tensor:
        """Return what every slot reads from its sentence. Shape: x (B, L, D). returns: the same."""
        heads = mixer.project_in(x).flatten(0, 1).view(-1, 3, mixer.heads, mixer.head_dim)
        query, key, value = heads.unbind(1)  # (B L, H, K)
        split = (*x.shape[:2], mixer.heads, mixer.head_dim)
        mixed = F.scaled_dot_product_attention(
            rotate(query, angles).view(split).transpose(1, 2),
            rotate(key, angles).view(split).transpose(1, 2),
            value.reshape(split).transpose(1, 2),
            attn_mask=visible,
        )  # (B, H, L, K)
        out: Tensor = mixer.project_out(mixed.transpose(1, 2).flatten(2))
        return out


def _require_plain(head: TokenLabeling) -> None:
    frontend = head.frontend
    if not (isinstance(frontend, TextFrontEnd) and frontend.units == "word"):
        raise ValueError(f"head must read words, got {type(frontend).__name__}")
    if frontend.vectorizer.has_pairs or frontend.embedding_norm or head.layer != "last":
        raise ValueError("head must read single sentences and the last layer, without another norm")
    for slots in head.encoder.slots:
        found = (slots.mixer, slots.score, slots.position, slots.norm)
        plain = found == ("attention", "dot", "rotary", "pre") and slots.feedforward != "none"
        if not plain or type(slots.pattern).__name__ != "Full":
            raise ValueError(f"encoder must have rotary full attention, norms first, got {slots}")
