import copy
import itertools
import math
import pickle
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score
from seqeval.scheme import IOB2, Entities
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics import functional as oracle

from seqattn.metrics import (
    Accuracy,
    BitsPerCharacter,
    ExactMatch,
    MeanAbsoluteError,
    Perplexity,
    RootMeanSquaredError,
    SpanF1,
    classification_metrics,
    has_spans,
    multilabel_metrics,
    regression_metrics,
)

any_case = settings(deadline=None)
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), max_size=8)
CORPORA = st.lists(PAIRS.map(lambda rows: ([a for a, _ in rows], [b for _, b in rows])), max_size=5)
Corpus = list[tuple[list[str], list[str]]]


def encode(sequences: list[list[str]], labels: tuple[str, ...] = LABELS) -> Tensor:
    numbers = {label: number for number, label in enumerate(labels)}
    ids = [numbers.get(tag, -1) for tags in sequences for tag in tags]
    return torch.tensor(ids, dtype=torch.int64)


def score_spans(corpus: Corpus, labels: tuple[str, ...] = LABELS) -> SpanF1:
    gold, predicted = [pair[0] for pair in corpus], [pair[1] for pair in corpus]
    offsets = torch.tensor([0, *itertools.accumulate(map(len, gold))])
    metric = SpanF1(labels)
    metric.update(encode(predicted, labels), encode(gold, labels), offsets)
    return metric


def count_spans_by_seqeval(corpus: Corpus) -> list[int]:
    gold = set(itertools.chain(*Entities([pair[0] for pair in corpus], IOB2).entities))
    predicted = set(itertools.chain(*Entities([pair[1] for pair in corpus], IOB2).entities))
    return [len(gold & predicted), len(predicted), len(gold)]


@any_case
@given(CORPORA)
def test_span_counts_equal_seqeval_strict_for_any_tags(corpus: Corpus) -> None:
    assert score_spans(corpus).span_counts.tolist() == count_spans_by_seqeval(corpus)


@any_case
@given(CORPORA.filter(lambda corpus: sum(count_spans_by_seqeval(corpus)) > 0))
def test_span_f1_equals_seqeval_strict_where_there_are_spans(corpus: Corpus) -> None:
    gold, predicted = [pair[0] for pair in corpus], [pair[1] for pair in corpus]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn, for types without a span
        expected = f1_score(gold, predicted, mode="strict", scheme=IOB2)
    torch.testing.assert_close(score_spans(corpus).compute().item(), float(expected))


@pytest.mark.parametrize(
    ("gold", "predicted", "counts"),
    [
        ("B-PER I-PER O", "B-PER I-PER O", [1, 1, 1]),
        ("B-PER I-PER O", "B-PER O O", [0, 1, 1]),
        ("B-PER I-PER", "B-LOC I-LOC", [0, 1, 1]),
        ("B-PER I-PER", "B-PER I-LOC", [0, 1, 1]),
        ("B-PER I-PER", "I-PER I-PER", [0, 0, 1]),
        ("B-PER B-PER", "B-PER I-PER", [0, 1, 2]),
        ("O O", "O O", [0, 0, 0]),
    ],
)
def test_span_counts_when_counted_by_hand(gold: str, predicted: str, counts: list[int]) -> None:
    metric = score_spans([(gold.split(), predicted.split())])
    assert metric.span_counts.tolist() == counts


def test_span_ends_with_its_sequence_when_the_next_one_continues_its_type() -> None:
    corpus = [(["B-PER"], ["B-PER"]), ([], []), (["I-PER"], ["O"])]
    assert score_spans(corpus).span_counts.tolist() == [1, 1, 1]


@any_case
@given(
    st.lists(
        st.sampled_from([["O"], ["B-PER"], ["I-PER"], ["B-NEW", "I-NEW", "O"], ["B-NEW", "B-LOC"]]),
        max_size=6,
    ),
    st.data(),
)
def test_unseen_type_counts_as_one_gold_span_when_it_is_one(
    pieces: list[list[str]], data: st.DataObject
) -> None:
    gold = list(itertools.chain(*pieces))
    size = len(gold)
    predicted = data.draw(st.lists(st.sampled_from(LABELS), min_size=size, max_size=size))
    corpus = [(gold, predicted)]
    assert score_spans(corpus).span_counts.tolist() == count_spans_by_seqeval(corpus)


def test_unseen_continuation_makes_its_span_unmatched_when_the_type_was_never_longer() -> None:
    corpus = [(["B-ORG", "I-ORG", "I-ORG", "O"], ["B-ORG", "O", "O", "O"])]
    labels = ("O", "B-ORG", "B-PER", "I-PER")  # I-ORG is unseen
    assert score_spans(corpus, labels).span_counts.tolist() == [0, 1, 1]
    assert count_spans_by_seqeval(corpus) == [0, 1, 1]


def test_span_before_an_unseen_label_can_be_matched_when_its_type_could_have_gone_on() -> None:
    corpus = [(["B-PER", "B-NEW"], ["B-PER", "O"])]
    assert score_spans(corpus).span_counts.tolist() == [1, 1, 2]


@any_case
@given(CORPORA, st.integers(1, 4))
def test_span_counts_are_the_whole_corpus_when_ranks_are_merged(corpus: Corpus, ranks: int) -> None:
    merged = SpanF1(LABELS)
    for rank in range(ranks):
        merged.merge_state(score_spans(corpus[rank::ranks]))
    assert merged.span_counts.equal(score_spans(corpus).span_counts)


def test_span_f1_refuses_a_label_that_is_not_iob() -> None:
    with pytest.raises(ValueError, match="labels must be 'O', 'B-type' or 'I-type', got 'E-PER'"):
        SpanF1(["O", "E-PER"])


def test_span_f1_refuses_offsets_that_do_not_fit() -> None:
    ids = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"offsets must end at N = 3, got \[2\]"):
        SpanF1(LABELS).update(ids, ids, torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"offsets must be integers of shape \(B \+ 1,\), got"):
        SpanF1(LABELS).update(ids, ids, torch.tensor([0.0, 3.0]))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["O", "B-PER", "I-PER"], True),
        (["O"], False),
        ([], False),
        (["NOUN", "B-PER"], False),
        (["O", "B-"], False),
        (["O", "B-PER", "E-PER"], False),
        (["O", "I-PER", "I-LOC", "B-LOC"], False),  # IOB1: B- only between neighbours
    ],
)
def test_has_spans_is_true_when_labels_are_iob2(labels: list[str], expected: bool) -> None:
    assert has_spans(labels) is expected


def test_classification_when_counted_by_hand() -> None:
    metrics = classification_metrics(3)
    metrics.update(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1]))
    values = metrics.compute()
    assert values["accuracy"].item() == pytest.approx(3 / 4)
    assert values["macro_f1"].item() == pytest.approx((2 / 3 + 4 / 5) / 2)  # class 2 is absent


def test_unseen_target_is_wrong_and_a_class_of_its_own() -> None:
    metrics = classification_metrics(2)
    metrics.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, -1]))
    values = metrics.compute()
    assert values["accuracy"].item() == pytest.approx(2 / 3)
    assert values["macro_f1"].item() == pytest.approx((1 + 2 / 3 + 0) / 3)


@any_case
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=30))
def test_classification_equals_torchmetrics_for_any_ids(pairs: list[tuple[int, int]]) -> None:
    predictions, targets = torch.tensor(pairs).T
    metrics = classification_metrics(4)
    for part in (slice(0, 5), slice(5, None)):
        metrics.update(predictions[part], targets[part])
    values = metrics.compute()
    fifth = torch.where(targets < 0, 4, targets)
    macro_f1 = oracle.f1_score(predictions, fifth, "multiclass", num_classes=5, average="macro")
    torch.testing.assert_close(values["accuracy"], (predictions == targets).float().mean())
    torch.testing.assert_close(values["macro_f1"], macro_f1)


def test_classification_counts_once_for_all_its_metrics() -> None:
    metrics = classification_metrics(2)
    metrics.update(torch.tensor([0, 1]), torch.tensor([0, 0]))
    metrics.update(torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert list(metrics.compute_groups.values()) == [["accuracy", "macro_f1"]]
    states = [metric.metric_state["class_counts"] for metric in metrics.values()]
    assert [torch.as_tensor(counts).sum(1).tolist() for counts in states] == [[3, 4, 4]] * 2


def test_spans_join_classification_when_each_takes_the_arguments_it_names() -> None:
    metrics = classification_metrics(len(LABELS))
    metrics.add_metrics({"span_f1": SpanF1(LABELS)})
    ids = encode([["B-PER", "I-PER", "O"]])
    metrics.update(predictions=ids, targets=ids, offsets=torch.tensor([0, 3]))
    values = {name: value.item() for name, value in metrics.compute().items()}
    assert values == {"accuracy": 1.0, "macro_f1": 1.0, "span_f1": 1.0}


def test_classification_refuses_logits() -> None:
    ids = torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"predictions must be integers of shape \(N,\), got"):
        Accuracy(3).update(torch.zeros(2, 3), ids)
    with pytest.raises(ValueError, match=r"targets must be integers of shape \(N,\), got"):
        Accuracy(3).update(ids, torch.zeros(2))
    with pytest.raises(ValueError, match=r"predictions must have shape \(2,\), got \(3,\)"):
        Accuracy(3).update(torch.tensor([0, 1, 2]), ids)


def test_multilabel_when_counted_by_hand() -> None:
    logits = torch.tensor([[1.0, -1.0, -1.0], [2.0, 0.5, -3.0]])
    targets = torch.tensor([[1, 0, 0], [0, 1, 0]])
    metrics = multilabel_metrics(3)
    metrics.update(logits, targets)
    values = metrics.compute()
    assert values["accuracy"].item() == pytest.approx(5 / 6)
    assert values["macro_f1"].item() == pytest.approx((2 / 3 + 1) / 2)  # label 2 is absent
    assert values["exact_match"].item() == pytest.approx(1 / 2)


def test_multilabel_counts_an_unseen_label_only_where_it_occurs() -> None:
    logits = torch.tensor([[1.0, -1.0], [1.0, -1.0], [-1.0, -1.0]])
    metrics = multilabel_metrics(2)
    metrics.update(logits, torch.tensor([[1, 0, 0], [1, 0, -2], [0, 0, 0]]))
    values = metrics.compute()
    assert values["accuracy"].item() == pytest.approx(6 / 7)  # 3 rows of 2 labels, and 1 more
    assert values["macro_f1"].item() == pytest.approx((1 + 0) / 2)  # label 1 is absent
    assert values["exact_match"].item() == pytest.approx(2 / 3)


@any_case
@given(st.lists(st.tuples(*[st.booleans()] * 6), min_size=1, max_size=8))
def test_multilabel_equals_torchmetrics_for_any_rows(rows: list[tuple[bool, ...]]) -> None:
    table = torch.tensor(rows).int()
    predicted, targets = table[:, :3], table[:, 3:]
    metrics = multilabel_metrics(3)
    metrics.update(predicted - 0.5, targets)
    values = metrics.compute()
    exact = oracle.exact_match(predicted, targets, "multilabel", num_labels=3)
    f1 = oracle.f1_score(predicted, targets, "multilabel", num_labels=3, average="none")
    present = (predicted | targets).any(0)
    torch.testing.assert_close(values["accuracy"], (predicted == targets).float().mean())
    torch.testing.assert_close(values["exact_match"], exact)
    torch.testing.assert_close(values["macro_f1"], f1[present].mean(), equal_nan=True)


def test_multilabel_refuses_another_number_of_labels() -> None:
    with pytest.raises(ValueError, match=r"logits must have shape \(2, 3\), got \(2, 1\)"):
        ExactMatch(3).update(torch.zeros(2, 1), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"targets must have shape \(2, 3\), got \(2,\)"):
        ExactMatch(3).update(torch.zeros(2, 3), torch.zeros(2))


def test_regression_when_counted_by_hand() -> None:
    metrics = regression_metrics()
    metrics.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0]))
    metrics.update(torch.tensor([4.0]), torch.tensor([0.0]))
    values = metrics.compute()
    assert values["mae"].item() == pytest.approx(7 / 3)
    assert values["rmse"].item() == pytest.approx(math.sqrt(25 / 3))


def test_regression_stays_right_when_the_first_errors_are_equal_to_their_squares() -> None:
    metrics = MetricCollection([MeanAbsoluteError(), RootMeanSquaredError()])  # groups by value
    metrics.update(torch.tensor([1.0]), torch.tensor([0.0]))
    metrics.update(torch.tensor([3.0]), torch.tensor([0.0]))
    values = metrics.compute()
    assert values["MeanAbsoluteError"].item() == pytest.approx(2)
    assert values["RootMeanSquaredError"].item() == pytest.approx(math.sqrt(5))


def test_regression_refuses_another_shape() -> None:
    with pytest.raises(ValueError, match=r"predictions must have shape \(2,\), got \(2, 1\)"):
        MeanAbsoluteError().update(torch.zeros(2, 1), torch.zeros(2))


def test_perplexity_is_the_number_of_equally_likely_tokens() -> None:
    metric = Perplexity()
    metric.update(torch.tensor(3 * math.log(7)), 3)
    metric.update(torch.tensor(5 * math.log(7)), torch.tensor(5))
    assert metric.compute().item() == pytest.approx(7)


def test_bits_per_character_when_a_token_holds_several() -> None:
    metric = BitsPerCharacter()
    metric.update(torch.tensor(4 * math.log(8)), 6)  # four tokens of three bits, six characters
    assert metric.compute().item() == pytest.approx(2)


def test_likelihoods_keep_apart_when_one_collection_holds_both() -> None:
    metrics = MetricCollection([Perplexity(), BitsPerCharacter()])
    metrics.update(nll_sum=torch.tensor(0.0), tokens=0, characters=0)
    metrics.update(nll_sum=torch.tensor(2 * math.log(4)), tokens=2, characters=4)
    values = metrics.compute()
    assert values["Perplexity"].item() == pytest.approx(4)
    assert values["BitsPerCharacter"].item() == pytest.approx(1)


def test_mean_is_exact_when_the_module_is_bfloat16() -> None:
    metric = Perplexity()
    torch.nn.ModuleList([metric]).to(torch.bfloat16)
    for _ in range(1000):  # bfloat16 would stop growing at 256
        metric.update(torch.tensor(math.log(2), dtype=torch.float64), 1)
    assert metric.compute().item() == pytest.approx(2, abs=1e-6)


def test_mean_keeps_no_graph_when_updated_with_a_loss() -> None:
    metric = Perplexity()
    metric(torch.tensor(1.0, requires_grad=True), 1)
    assert not metric.token_nll_sum.requires_grad


def make_metrics() -> list[Metric]:
    groups = [classification_metrics(5), multilabel_metrics(5), regression_metrics()]
    metrics = [metric for group in groups for metric in group.values()]
    return [*metrics, SpanF1(LABELS), Perplexity(), BitsPerCharacter()]


def make_arguments(metric: Metric, size: int) -> dict[str, Tensor]:
    """Give every metric a batch of `size`; each takes what it names."""
    ids = torch.arange(size) % 5
    columns = torch.nn.functional.one_hot(ids, 5)
    is_real = isinstance(metric, MeanAbsoluteError | RootMeanSquaredError)
    batch = {
        "predictions": ids + 0.5 if is_real else ids,
        "targets": columns if hasattr(metric, "label_counts") else ids,
        "logits": columns - 0.5,
        "offsets": torch.tensor([0, size]),
        "nll_sum": torch.tensor(float(size)),
        "tokens": torch.tensor(size),
        "characters": torch.tensor(size),
    }
    return metric._filter_kwargs(**batch)


@pytest.mark.parametrize("metric", make_metrics(), ids=lambda metric: type(metric).__name__)
class TestEveryMetric:
    def test_is_nan_without_a_warning_when_never_updated(self, metric: Metric) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert copy.deepcopy(metric).compute().isnan()

    def test_is_nan_when_updated_with_nothing(self, metric: Metric) -> None:
        metric = copy.deepcopy(metric)
        metric.update(**make_arguments(metric, 0))
        assert metric.compute().isnan()

    def test_does_not_change_when_updated_with_nothing(self, metric: Metric) -> None:
        metric = copy.deepcopy(metric)
        metric.update(**make_arguments(metric, 7))
        before = metric.compute()
        metric.update(**make_arguments(metric, 0))
        assert metric.compute().equal(before)
        assert before.shape == ()

    def test_is_nan_again_when_reset(self, metric: Metric) -> None:
        metric = copy.deepcopy(metric)
        metric.update(**make_arguments(metric, 7))
        metric.reset()
        assert metric.compute().isnan()

    def test_goes_on_when_pickled(self, metric: Metric) -> None:
        metric = copy.deepcopy(metric)
        metric.update(**make_arguments(metric, 7))
        again = pickle.loads(pickle.dumps(metric))
        again.update(**make_arguments(metric, 3))
        metric.update(**make_arguments(metric, 3))
        assert again.compute().equal(metric.compute())

    def test_leaves_no_trace_in_a_checkpoint(self, metric: Metric) -> None:
        assert not metric.state_dict()

    @pytest.mark.parametrize("sizes", [(7, 0), (0, 7), (3, 6)])
    def test_is_the_whole_value_when_synced(self, metric: Metric, sizes: tuple[int, int]) -> None:
        ranks = [copy.deepcopy(metric) for _ in sizes]
        for rank, size in zip(ranks, sizes, strict=True):
            if size:
                rank.update(**make_arguments(rank, size))
                metric.update(**make_arguments(metric, size))
        whole = metric.compute()
        metric.reset()
        for rank, other in (ranks, ranks[::-1]):
            gather_from(rank, other)
        assert all(rank.compute().equal(whole) for rank in ranks)


def gather_from(metric: Metric, peer: Metric) -> None:
    """Let a metric sync as in a world of two processes, with the states of its peer."""
    states = itertools.cycle(list(peer.metric_state.values()))

    def gather(state: Tensor, group: object = None) -> list[Tensor]:
        other = next(states)
        assert isinstance(other, Tensor)
        assert (other.shape, other.dtype) == (state.shape, state.dtype)
        return [state, other]

    metric.dist_sync_fn = gather
    metric.distributed_available_fn = lambda: True
