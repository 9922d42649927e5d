from pathlib import Path

from seqattn.commands.given_config import given_text


def test_one_config_alone_is_kept_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# mine\nx: 1   # one")
    words = ["fit", "--config", str(path), "--ckpt_path", "last"]
    assert given_text(words) == "# mine\nx: 1   # one"


def test_several_configs_are_documents_and_options_are_comments(tmp_path: Path) -> None:
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        path.write_text(f"name: {path.stem}\n")
    words = ["fit", f"-c={paths[0]}", "--config", str(paths[1]), "--x=1", "--y", "two words"]
    assert given_text(words).splitlines() == [
        "# to run it again: seqattn fit --config resolved.yaml, which holds every value",
        "# override: --x=1",
        "# override: '--y=two words'",
        f"--- # {paths[0]}",
        "name: a",
        f"--- # {paths[1]}",
        "name: b",
    ]


def test_options_alone_are_comments() -> None:
    assert given_text(["fit", "--x=1"]).endswith("# override: --x=1\n")
