from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from seqattn import DataError, Encoder, TextFrontEnd
from tasks.questions import QuestionClassification, Questions

LINES = ["ABBR:exp What is X ?", "HUM:ind Who is Y ?", "HUM:gr Which team is Z ?"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "TREC.train"
    file.write_bytes(
        "\n".join(LINES[i % 3] + f" {i} caf\xe9" for i in range(900)).encode("latin-1")
    )
    return str(file)


def test_splits_are_apart_and_whole(path: str) -> None:
    keys = [
        {example.key for example in Questions(path, split).read()}  # type: ignore[arg-type]
        for split in ("train", "val", "test")
    ]
    assert [len(found) for found in keys] == [250, 150, 500]
    assert len(set.union(*keys)) == 900


def test_labels_are_coarse_unless_fine_is_asked(path: str) -> None:
    coarse = {example.target for example in Questions(path, "test").read()}
    fine = {example.target for example in Questions(path, "test", fine=True).read()}
    assert coarse == {"ABBR", "HUM"}
    assert fine == {"ABBR:exp", "HUM:ind", "HUM:gr"}


def test_absent_file_says_where_the_data_is() -> None:
    with pytest.raises(DataError, match="the data is at https://"):
        list(Questions("absent", "train").read())


def test_head_sums_the_fine_probabilities(path: str) -> None:
    head = QuestionClassification(TextFrontEnd(), Encoder(8, 1, 2))
    examples = list(Questions(path, "val", fine=True).read())
    head.fit_vectorizers([e.source for e in examples], [e.target for e in examples])
    trainer = Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(examples[:8], batch_size=8, collate_fn=head.collate)
    trainer.fit(head, loader, loader)
    assert {"val/accuracy", "val/macro_f1"} <= trainer.callback_metrics.keys()
    head.eval()
    with torch.no_grad():
        output = head(head.collate(examples[:2]))
        shares = output.logits.softmax(-1)  # ABBR:exp, HUM:gr, HUM:ind
    found = head.decode(output, output.batch)[0]["scores"]
    assert found["ABBR"] == pytest.approx(float(shares[0, 0]), abs=1e-6)
    assert found["HUM"] == pytest.approx(float(shares[0, 1] + shares[0, 2]), abs=1e-6)
    loss = head.loss(output, output.batch).values[0]
    fine = head.labels.index(examples[0].target)
    coarse = found[examples[0].target.partition(":")[0]]
    expected = -torch.log(shares[0, fine]) - torch.log(torch.tensor(coarse))
    assert float(loss) == pytest.approx(float(expected), abs=1e-5)
