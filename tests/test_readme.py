"""What the README shows works as it stands."""

import re
from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

import seqattn
from seqattn import Encoder, Example, TextFrontEnd

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
OWN_HEAD = next(block for block in BLOCKS if "class " in block)


def test_commands_stand_at_the_top() -> None:
    lines = README.splitlines()
    first, second = (
        next(i for i, line in enumerate(lines, 1) if extra in line)
        for extra in ('".[all]"', '".[all,test]"')
    )
    assert first <= 15
    assert second <= 20


def test_own_head_trains_saves_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(OWN_HEAD.splitlines()) <= 20
    (tmp_path / "my_head.py").write_text(OWN_HEAD, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    name = re.findall(r"class (\w+)\(", OWN_HEAD)[0]
    head = getattr(__import__("my_head"), name)(TextFrontEnd(), Encoder(8, 1, 2))
    examples = [Example(["a", "b"], ["A", "B"], str(i)) for i in range(4)]
    trainer = Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(head, DataLoader(examples, batch_size=2, collate_fn=head.collate))
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    again = seqattn.load(tmp_path / "own.ckpt", trust=["my_head"])
    assert again.predict([["a", "b"]]) == head.predict([["a", "b"]])


@pytest.mark.parametrize("path", re.findall(r"\]\(((?:docs|benchmarks|configs)[^)#]*)\)", README))
def test_links_lead_to_files(path: str) -> None:
    assert (Path(__file__).parent.parent / path).exists()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"configs/[a-z_0-9]+\.yaml", README))))
def test_named_configs_exist(path: str) -> None:
    assert (Path(__file__).parent.parent / path).exists()
