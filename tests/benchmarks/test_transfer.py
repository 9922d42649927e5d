from __future__ import annotations

from benchmarks.transfer import pretraining_spec, read_config, summarize


def test_mean_and_deviation_are_over_the_seeds() -> None:
    accuracies = {1: 0.9, 2: 0.8, 3: 0.7}
    rows = [
        {
            "name": f"labels 0.1 start scratch seed {seed}",
            "figures": {"context_accuracy": value, "context_macro_f1": 0.5},
        }
        for seed, value in accuracies.items()
    ]

    found = summarize([*rows, {"name": "pretraining masked", "figures": {"perplexity": 3.0}}])

    assert found == [
        {
            "run": "labels 0.1 start scratch",
            "seeds": 3,
            "context_accuracy": "0.8000 ± 0.1000",
            "context_macro_f1": "0.5000 ± 0.0000",
        }
    ]


def test_pretraining_has_the_parts_of_the_tagger_that_are_taken() -> None:
    tagger = read_config("python_roles")["model"]["init_args"]
    causal = pretraining_spec("causal")["init_args"]
    masked = pretraining_spec("masked")["init_args"]

    assert masked["frontend"] == tagger["frontend"]
    assert masked["encoder"] == tagger["encoder"]
    sizes = tagger["encoder"]["init_args"]
    assert causal["encoder"]["init_args"] == {**sizes, "pattern": "causal"}
