import pytest
import torch

from seqattn import Packing
from seqattn.layers.pooling import LayerMix, SequencePooling, segment_softmax

X = torch.tensor([[1.0, -4.0], [3.0, -2.0], [-5.0, -1.0]])
PACKING = Packing.from_lengths([2, 0, 1])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mean", [[2.0, -3.0], [0.0, 0.0], [-5.0, -1.0]]),
        ("max", [[3.0, -2.0], [0.0, 0.0], [-5.0, -1.0]]),
        ("first", [[1.0, -4.0], [0.0, 0.0], [-5.0, -1.0]]),
    ],
)
def test_pooling_by_hand_when_one_sequence_is_empty(kind: str, expected: list[list[float]]) -> None:
    pooled = SequencePooling(2, kind)(X, PACKING)  # type: ignore[arg-type]
    torch.testing.assert_close(pooled, torch.tensor(expected))


def test_attention_pooling_weighs_by_the_softmax_of_a_score() -> None:
    pooling = SequencePooling(2, "attention")
    assert pooling.score is not None
    pooling.score.weight.data = torch.tensor([[0.5, 0.0]])
    shares = torch.tensor([0.5, 1.5]).softmax(0)
    expected = torch.stack([shares @ X[:2], torch.zeros(2), X[2]])
    torch.testing.assert_close(pooling(X, PACKING), expected)


@pytest.mark.parametrize("kind", ["mean", "max", "first", "attention"])
@pytest.mark.parametrize("lengths", [[], [0], [0, 0], [3, 0], [0, 3]])
def test_gradients_are_finite_when_sequences_are_empty(kind: str, lengths: list[int]) -> None:
    x = torch.randn(sum(lengths), 2, requires_grad=True)
    pooled = SequencePooling(2, kind)(x, Packing.from_lengths(lengths))  # type: ignore[arg-type]
    pooled.sum().backward()
    assert pooled.shape == (len(lengths), 2)
    assert x.grad is None or bool(x.grad.isfinite().all())


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="pooling must be one of .*, got 'median'"):
        SequencePooling(2, "median")  # type: ignore[arg-type]


def test_segment_softmax_is_the_softmax_of_each_sequence_when_scores_are_large() -> None:
    scores = torch.tensor([1000.0, 1001.0, -1000.0], requires_grad=True)
    found = segment_softmax(scores, torch.tensor([0, 0, 2]), 3)
    expected = torch.cat([torch.tensor([0.0, 1.0]).softmax(0), torch.ones(1)])
    torch.testing.assert_close(found, expected)


def test_layer_mix_is_the_gain_times_the_softmax_average() -> None:
    mix = LayerMix(2)
    mix.scores.data, mix.gain.data = torch.tensor([0.0, 1.0]), torch.tensor(2.0)
    shares = torch.tensor([0.0, 1.0]).softmax(0)
    torch.testing.assert_close(mix([X, -3 * X]), 2 * (shares[0] - 3 * shares[1]) * X)
