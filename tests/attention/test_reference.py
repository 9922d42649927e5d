import math

import pytest
import torch
from torch import nn

from seqattn.attention.reference import aggregate, attend

X = torch.tensor([[1, 2, 1, 2, 1], [1, 1, 1, 2, 1], [3, 2, 1, 1, 1]], dtype=torch.float64)


def test_attend_gives_the_worked_example_without_scaling():
    output, weights = attend(X, X, X, scale=1.0)

    by_hand = torch.tensor(
        [[0.468, 0.063, 0.468], [0.422, 0.155, 0.422], [0.0067, 0.0009, 0.992]],
        dtype=torch.float64,
    )
    torch.testing.assert_close(weights, by_hand, atol=6e-4, rtol=0)
    wanted = torch.tensor(
        [[1.94, 1.94, 1, 1.53, 1], [1.84, 1.84, 1, 1.58, 1], [2.98, 2, 1, 1.01, 1]],
        dtype=torch.float64,
    )
    torch.testing.assert_close(output, wanted, atol=6e-3, rtol=0)


def test_attend_gives_the_worked_example_in_exact_arithmetic():
    output, weights = attend(X, X, X, scale=1.0)

    rows = X.int().tolist()
    for i, query in enumerate(rows):
        scores = [sum(a * b for a, b in zip(query, key, strict=True)) for key in rows]
        shares = [math.exp(score - max(scores)) for score in scores]
        for j, share in enumerate(shares):
            assert weights[i, j].item() == pytest.approx(share / sum(shares), abs=1e-12)
        for column in range(5):
            value = sum(s * rows[j][column] for j, s in enumerate(shares)) / sum(shares)
            assert output[i, column].item() == pytest.approx(value, abs=1e-12)


def test_attend_equals_the_classic_module_where_a_key_is_visible():
    query, key, value = torch.randn(3, 2, 4, 5, dtype=torch.float64).unbind()
    mask = torch.rand(2, 4, 4) < 0.7
    mask |= torch.eye(4, dtype=torch.bool)

    scores = torch.bmm(query, key.transpose(1, 2)) / math.sqrt(5)
    classic = torch.bmm(nn.Softmax(dim=2)(scores.masked_fill(~mask, -1e9)), value)

    torch.testing.assert_close(attend(query, key, value, mask=mask)[0], classic)


def test_attend_additive_is_the_learned_vector_times_tanh():
    query = torch.tensor([[1.0, 0.0]])
    key = torch.tensor([[0.0, 0.0], [-1.0, 2.0]])
    vector = torch.tensor([2.0, -1.0])

    _, weights = attend(query, key, key, score="additive", score_vector=vector)

    scores = [2 * math.tanh(1.0), -math.tanh(2.0)]
    wanted = math.exp(scores[0]) / (math.exp(scores[0]) + math.exp(scores[1]))
    assert weights[0, 0].item() == pytest.approx(wanted, abs=1e-6)


def test_attend_multiplier_is_the_ratio_form():
    query, key, value = torch.randn(3, 4, 5, dtype=torch.float64).unbind()
    multiplier = torch.rand(4, 4, dtype=torch.float64)

    _, weights = attend(query, key, value, multiplier=multiplier)

    plain = attend(query, key, value)[1] * multiplier
    torch.testing.assert_close(weights, plain / plain.sum(-1, keepdim=True))


def test_attend_gives_zeros_when_a_query_may_look_at_nothing():
    query, key, value = (torch.randn(2, 3, requires_grad=True) for _ in range(3))
    mask = torch.tensor([[False, False], [True, True]])

    output, weights = attend(query, key, value, mask=mask)
    output[0].sum().backward()

    assert output[0].tolist() == [0.0, 0.0, 0.0]
    assert weights[0].tolist() == [0.0, 0.0]
    for x in (query, key, value):
        assert x.grad is not None
        assert not x.grad.any()


def test_attend_gives_zeros_when_there_is_no_key():
    output, weights = attend(torch.randn(2, 3), torch.empty(0, 3), torch.empty(0, 4))

    assert output.tolist() == [[0.0] * 4] * 2
    assert weights.shape == (2, 0)


def test_permuting_the_inputs_permutes_the_weights():
    x = torch.randn(5, 3, dtype=torch.float64)
    order = torch.tensor([3, 0, 4, 1, 2])

    _, weights = attend(x, x, x)
    _, permuted = attend(x[order], x[order], x[order])

    torch.testing.assert_close(permuted, weights[order][:, order])


def test_aggregate_equals_attend_when_its_weights_are_given():
    query, key, value = torch.randn(3, 4, 5).unbind()
    output, weights = attend(query, key, value)

    torch.testing.assert_close(aggregate(value, weights), output)


def test_attend_refuses_an_unknown_score():
    x = torch.randn(2, 3)
    with pytest.raises(ValueError, match="score must be 'dot' or 'additive', got 'cosine'"):
        attend(x, x, x, score="cosine")  # type: ignore[arg-type]


@pytest.mark.parametrize(("score", "vector"), [("dot", torch.ones(3)), ("additive", None)])
def test_attend_refuses_a_score_vector_where_it_is_not_used(score, vector):
    x = torch.randn(2, 3)
    with pytest.raises(ValueError, match="score_vector is for score='additive' only"):
        attend(x, x, x, score=score, score_vector=vector)


def test_attend_passes_gradcheck_with_every_argument():
    def function(query, key, value, vector, bias, multiplier):
        return attend(
            query,
            key,
            value,
            score="additive",
            score_vector=vector,
            bias=bias,
            multiplier=multiplier,
        )[0]

    shapes = [(2, 3), (4, 3), (4, 2), (3,), (2, 4), (2, 4)]
    inputs = [torch.rand(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(function, inputs)
