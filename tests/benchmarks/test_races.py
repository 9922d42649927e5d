from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks import race_encoder, race_graph, race_window, races, record
from benchmarks.race_contest import (
    Contest,
    compare_gradients,
    compare_outputs,
    markdown,
    markdown_of_gains,
    run_contest,
)
from benchmarks.race_data import Graphs, Ragged, length_sorted_batches, ragged_batches


def contest(theirs: Tensor, **changes: object) -> Contest:
    ours = torch.ones(2)
    return Contest(
        name="1 ones",
        peer="a peer",
        data="two ones",
        compare=compare_outputs(lambda: ours, lambda: theirs),
        ours=lambda: sum(range(100)),
        theirs=lambda: sum(range(100)),
        **changes,  # type: ignore[arg-type]
    )


def test_a_race_is_void_and_not_timed_when_outputs_differ() -> None:
    wrong = contest(torch.ones(2) + 2e-4)

    figures = run_contest(wrong, turns=1, seconds=0)

    assert list(figures) == ["void"]
    assert "must agree within 0.0001" in str(figures["void"])
    assert "void: outputs of ours and theirs must agree" in markdown([(wrong, figures)])


def test_ratio_and_gains_are_of_the_best_turns_when_outputs_agree() -> None:
    right = contest(torch.ones(2), without={"packing": lambda: sum(range(1000))}, flops=100.0)

    figures = run_contest(right, turns=2, seconds=0)

    ours, theirs = float(figures["ours, ms"]), float(figures["theirs, ms"])
    gains = [float(value) for name, value in figures.items() if name.startswith("gain by")]
    assert figures["ratio"] == theirs / ours
    assert sum(gains) == pytest.approx(theirs - ours)
    assert "packing" in markdown_of_gains([(right, figures)])
    assert figures["largest difference"] == 0.0


def test_a_race_is_void_when_only_the_gradients_differ() -> None:
    mine, other = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)

    compare = compare_gradients(lambda: mine**2, lambda: 2 * other - 1, [(mine, other)])
    assert compare() == 0.0

    compare = compare_gradients(lambda: mine**2, lambda: other**3, [(mine, other)])
    with pytest.raises(ValueError, match="outputs of the gradients of ours and theirs must agree"):
        compare()


@pytest.mark.parametrize("module", [race_encoder, race_window, race_graph])
@pytest.mark.filterwarnings("ignore")
def test_peers_compute_the_same_in_every_race(module: object) -> None:
    seen = []
    for found in module.contests(quick=True):  # type: ignore[attr-defined]
        found.compare()
        found.ours()
        seen.append(found.name)
    assert len(set(seen)) == len(seen) >= 2


if importlib.util.find_spec("transformers"):  # the extra `bench`

    @pytest.mark.filterwarnings("ignore")
    def test_bert_computes_the_same() -> None:
        from benchmarks import race_bert

        for found in race_bert.contests(quick=True):
            assert found.compare() < 1e-4


def torchaudio_loads() -> bool:
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):  # missing, or built for another torch
        return False
    return True


if torchaudio_loads():

    @pytest.mark.filterwarnings("ignore")
    def test_conformer_computes_the_same_and_has_no_other_parameters() -> None:
        from benchmarks import race_audio

        for found in race_audio.contests(quick=True):
            assert found.compare() < 1e-4
            assert found.figures["parameters, ours"] == found.figures["parameters, theirs"]


def test_races_are_recorded_when_run_quickly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    races.main(["window", "memory", "--quick", "--results", str(tmp_path)])

    rows = record.read_rows(tmp_path, "races")
    shown = capsys.readouterr().out
    assert len(rows) == 4
    for row in rows:
        assert str(row["name"]).removeprefix("memory: ") in shown
        assert "benchmarks.races window memory" in str(row["command"])


def test_an_error_is_raised_when_the_race_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        races.main(["marathon"])
    complaint = f"names must be of {', '.join(races.GROUPS)}, got 'marathon'"
    assert complaint in capsys.readouterr().err


def test_padded_and_packed_batch_hold_the_same() -> None:
    ragged = Ragged.draw([2, 3], 4)

    assert torch.equal(ragged.padded[ragged.real], ragged.packed)
    assert ragged.fill == pytest.approx(5 / 6)


def test_batches_cut_from_a_sorted_pool_are_of_nearly_one_length() -> None:
    random = ragged_batches(4, 8, 8, 64, by_length=False)
    by_length = ragged_batches(4, 8, 8, 64, by_length=True)

    assert sorted(sum(random, [])) == sum(by_length, [])


def test_length_sorted_batches_are_those_at_three_percentiles_of_a_sorted_pool() -> None:
    batches = length_sorted_batches(2, 1, 9, pool=10)
    pool = ragged_batches(10, 2, 1, 9, by_length=True)

    assert batches == [pool[1], pool[5], pool[9]]


def test_products_of_torch_are_raced_without_onednn_and_the_switch_is_put_back() -> None:
    seen = []
    race_encoder.without_onednn(lambda: seen.append(torch.backends.mkldnn.enabled))()

    assert seen == [False]
    assert torch.backends.mkldnn.enabled


def test_graphs_have_self_loops_and_no_edge_between_them() -> None:
    graphs = Graphs.draw([4, 3], 1.5)
    source, target = graphs.edge_index

    assert torch.equal(graphs.batch[source], graphs.batch[target])
    assert int((source == target).sum()) == 7
    assert torch.equal(graphs.edge_index, torch.unique(graphs.edge_index, dim=1))
