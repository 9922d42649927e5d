import copy
import enum
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

from seqattn import Encoder, Window
from seqattn.recorded import Recorded, build, class_path, default_arguments, resolve


class Part(Recorded):
    def __init__(self, width: int, depth: int = 2, *, rate: float = 0.5) -> None:
        """A part.

        Args:
            width: how wide it is.
            depth: how deep.
            rate: how fast.
        """
        self.made_of = (width, depth, rate)


class Forwarding(Part):
    """Takes its parent's arguments as they come."""

    def __init__(self, *args: Any, extra: str = "none", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.extra = extra


class Narrow(Part):
    """Decides one of its parent's arguments itself."""

    def __init__(self, *, name: str, **kwargs: Any) -> None:
        super().__init__(1, depth=7, **kwargs)
        self.name = name


class Popping(Part):
    """Takes an option that no signature names."""

    def __init__(self, width: int, **kwargs: Any) -> None:
        self.mode = kwargs.pop("mode", "plain")
        super().__init__(width, **kwargs)


class Silent(Part):
    """Has no constructor of its own."""


class Grandchild(Forwarding):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class Holder(Recorded, nn.Module):
    """Holds parts: one, several, and several by name."""

    def __init__(
        self,
        part: Recorded,
        parts: list[Recorded] | tuple[Recorded, ...] = (),
        named: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.part = part
        self.parts = list(parts)
        self.named = named or {}


class Nameless(Recorded):
    """Takes values that no name belongs to."""

    def __init__(self, *values: int) -> None:
        self.values = values


class Color(enum.StrEnum):
    RED = "red"


HERE = __name__


DEFAULTS = {"depth": 2, "rate": 0.5}


@pytest.mark.parametrize(
    ("part", "arguments"),
    [
        (Part(3), {"width": 3, **DEFAULTS}),
        (Part(3, 4, rate=0.1), {"width": 3, "depth": 4, "rate": 0.1}),
        (Part(depth=4, width=3), {"width": 3, "depth": 4, "rate": 0.5}),
        (Silent(3, rate=0.1), {"width": 3, "depth": 2, "rate": 0.1}),
        (Forwarding(3, 4), {"width": 3, "depth": 4, "extra": "none"}),
        (Forwarding(3, rate=0.1, extra="x"), {"width": 3, "rate": 0.1, "extra": "x"}),
        (Grandchild(3, 4, extra="x"), {"width": 3, "depth": 4, "extra": "x"}),
        (Narrow(name="n", rate=0.1), {"name": "n", "rate": 0.1}),
        (Popping(3, mode="odd", rate=0.1), {"width": 3, "mode": "odd", "rate": 0.1}),
    ],
)
def test_spec_names_the_arguments_given_and_makes_the_part_again(
    part: Part, arguments: dict[str, Any]
) -> None:
    spec = part.spec
    assert spec == {"class_path": f"{HERE}.{type(part).__name__}", "init_args": arguments}
    again = build(spec)
    assert type(again) is type(part)
    assert vars(again) == vars(part)


def test_spec_of_parts_in_parts() -> None:
    holder = Holder(Part(1), [Part(2), Silent(3)], {"first": Part(4), "rate": 0.1})
    again = build(holder.spec)
    assert again.spec == holder.spec
    assert holder.spec["init_args"]["part"] == Part(1).spec
    assert [part.made_of for part in again.parts] == [(2, 2, 0.5), (3, 2, 0.5)]
    assert again.named["first"].made_of == (4, 2, 0.5)
    assert again.named["rate"] == 0.1


def test_spec_of_a_tuple_is_a_list() -> None:
    assert Holder(Part(1), (Part(2),)).spec["init_args"]["parts"] == [Part(2).spec]


def test_spec_of_the_encoder_is_that_of_a_yaml_file() -> None:
    encoder = Encoder(8, 2, heads=2, pattern=["causal", Window(1, 0)])
    arguments = encoder.spec["init_args"]
    assert encoder.spec["class_path"] == "seqattn.Encoder"
    assert (arguments["dim"], arguments["depth"], arguments["heads"]) == (8, 2, 2)
    assert arguments["pattern"] == [
        "causal",
        {"class_path": "seqattn.Window", "init_args": {"left": 1, "right": 0}},
    ]
    assert arguments.keys() == inspect.signature(Encoder).parameters.keys()
    again = build(encoder.spec)
    assert [slots.pattern.is_causal for slots in again.slots] == [True, True]
    again.load_state_dict(encoder.state_dict())


def test_spec_is_that_of_the_moment_when_the_part_was_made() -> None:
    numbers = {"given": [1, 2]}
    holder = Holder(Part(1), named=numbers)
    numbers["given"].append(3)
    holder.spec["init_args"]["named"]["given"].append(4)
    assert holder.spec["init_args"]["named"] == {"given": [1, 2]}


@pytest.mark.parametrize(
    ("value", "plain"),
    [(Color.RED, "red"), (np.float64(0.5), 0.5), (True, True), (None, None)],
)
def test_spec_holds_plain_types_when_given_their_subclasses(value: Any, plain: Any) -> None:
    recorded = Part(value).spec["init_args"]["width"]
    assert recorded == plain
    assert type(recorded) is type(plain)


def test_spec_can_be_read_back_with_weights_only(tmp_path: Path) -> None:
    spec = Holder(Part(np.float64(1.0)), [Part(2)], {"color": Color.RED}).spec
    torch.save(spec, tmp_path / "spec.pt")
    assert torch.load(tmp_path / "spec.pt", weights_only=True) == spec


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda part: pickle.loads(pickle.dumps(part))]
)
def test_spec_stays_when_a_part_is_copied(duplicate: Any) -> None:
    holder = Holder(Part(1, rate=0.25), [Silent(2)])
    copied = duplicate(holder)
    assert copied.spec == holder.spec
    assert copied.part.made_of == (1, 2, 0.25)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.zeros(1), "Tensor"),
        (print, "builtin_function_or_method"),
        (Part, "type"),
        (Path("a"), "PosixPath"),
        ({1, 2}, "set"),
        ({1: "one"}, "dict"),
        ([0, [object()]], "object"),
        ({"deep": {"er": b"bytes"}}, "bytes"),
        (np.int64(3), "int64"),
    ],
)
def test_argument_is_refused_when_a_checkpoint_could_not_hold_it(value: Any, kind: str) -> None:
    message = f"width of Part must be plain data or a part of seqattn, .* got {kind}$"
    with pytest.raises(TypeError, match=message):
        Part(value)


def test_argument_is_refused_when_it_has_no_name() -> None:
    with pytest.raises(TypeError, match=r"arguments of Nameless must have names, .* got 1 for \*"):
        Nameless(1, 2)


def test_wrong_arguments_give_the_sentence_of_python() -> None:
    with pytest.raises(TypeError, match=r"__init__\(\) got an unexpected keyword argument 'wdth'"):
        Part(wdth=3)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'width'"):
        Part()


def test_class_path_is_the_public_name_when_there_is_one() -> None:
    assert class_path(Encoder) == "seqattn.Encoder"
    assert class_path(Part) == f"{HERE}.Part"


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "torch.nn.Linear",
        "subprocess.Popen",
        "os.nothing",
    ],
)
def test_class_is_refused_when_no_recorded_part(path: str) -> None:
    with pytest.raises(ValueError, match=f"must name a part of seqattn .*, got '{path}'"):
        build({"class_path": path, "init_args": {}})


@pytest.mark.parametrize("path", ["os.system", "builtins.eval", "torch.load"])
def test_class_is_refused_when_no_recorded_part_even_if_trusted(path: str) -> None:
    with pytest.raises(ValueError, match=f"must name a part of seqattn .*, got '{path}'"):
        build({"class_path": path, "init_args": {}}, trust=[path, path.partition(".")[0]])


@pytest.mark.parametrize("path", ["Linear", "", "."])
def test_class_is_refused_when_it_has_no_module(path: str) -> None:
    with pytest.raises(ValueError, match="must be imported already or be trusted"):
        resolve(path)


@pytest.mark.parametrize("spec", [{}, {"class_path": "seqattn.Window"}, {"a": 1, "init_args": {}}])
def test_spec_is_refused_when_incomplete(spec: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="spec must hold class_path and init_args, got"):
        build(spec)


CANARY = """
from pathlib import Path
from seqattn.recorded import Recorded

(Path(__file__).parent / "sang").touch()

class Bird(Recorded):
    def __init__(self, wings: int = 2) -> None:
        self.wings = wings
"""


@pytest.fixture
def cage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package on the path whose module leaves a file behind when it is imported."""
    package = tmp_path / "cage"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "canary.py").write_text(CANARY)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("cage", "cage.canary"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield package
    for name in ("cage", "cage.canary"):
        sys.modules.pop(name, None)


BIRD = {"class_path": "cage.canary.Bird", "init_args": {"wings": 3}}


@pytest.mark.parametrize("trust", [(), ("cage.can",), ("cag",), ("cage.canary.Birds",), ("cage.",)])
@pytest.mark.parametrize("deep", [False, True])
def test_nothing_is_imported_when_a_class_is_not_trusted(
    cage: Path, trust: tuple[str, ...], deep: bool
) -> None:
    spec = Holder(Part(1), [Part(2)]).spec
    spec["init_args"]["parts"] = [{"inner": BIRD}]
    with pytest.raises(ValueError, match=r"got 'cage.canary.Bird': import it first, or .* trust="):
        build(spec if deep else BIRD, trust)
    assert not (cage / "sang").exists()


@pytest.mark.parametrize("trust", ["cage", "cage.canary", "cage.canary.Bird"])
@pytest.mark.parametrize("deep", [False, True])
def test_class_is_imported_when_trusted(cage: Path, trust: str, deep: bool) -> None:
    spec = {"class_path": f"{HERE}.Holder", "init_args": {"part": BIRD}}
    bird = build(spec, [trust]).part if deep else build(BIRD, [trust])
    assert bird.wings == 3


def test_class_needs_no_trust_when_imported_already(cage: Path) -> None:
    build(BIRD, ["cage"])
    assert build(BIRD).wings == 3


def test_lazy_package_is_not_made_to_import_when_not_trusted(cage: Path) -> None:
    (cage / "__init__.py").write_text(
        "def __getattr__(name):\n"
        "    import importlib\n"
        "    return importlib.import_module('cage.canary').Bird\n"
    )
    __import__("cage")
    with pytest.raises(ValueError, match="got 'cage.Bird'"):
        build({"class_path": "cage.Bird", "init_args": {}})
    assert not (cage / "sang").exists()
    assert build({"class_path": "cage.Bird", "init_args": {}}, ["cage"]).wings == 2


def test_public_parts_are_built_in_a_fresh_process_without_trust() -> None:
    code = (
        "from seqattn.recorded import build\n"
        "print(build({'class_path': 'seqattn.Window', 'init_args': {'left': 1, 'right': 2}}).right)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"


def test_signature_is_that_of_the_constructor() -> None:
    assert str(inspect.signature(Part)) == str(inspect.signature(Part.__init__)).replace(
        "self, ", ""
    )


def parse(*arguments: str) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Part, "part")
    return parser.instantiate(parser.parse_args(list(arguments))).part


def test_command_line_makes_a_part_of_a_subclass() -> None:
    part = parse(f"--part={HERE}.Narrow", "--part.name=n", "--part.rate=0.25")
    assert isinstance(part, Narrow)
    assert part.made_of == (1, 7, 0.25)
    assert part.spec["init_args"]["name"] == "n"


def test_command_line_passes_on_the_arguments_of_the_parent() -> None:
    part = parse(f"--part={HERE}.Forwarding", "--part.width=7", "--part.extra=x")
    assert (part.made_of, part.extra) == ((7, 2, 0.5), "x")


def test_command_line_refuses_a_misspelt_argument_of_a_part() -> None:
    with pytest.raises(Exception, match="Option 'wdth' is not accepted"):
        parse(f"--part={HERE}.Silent", "--part.width=7", "--part.wdth=8")


def test_command_line_knows_the_help_of_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Part, "part")
    parser.print_help()
    text = capsys.readouterr().out
    assert "how wide it is" in text
    assert "args" not in text.replace("init_args", "")


class Maker(Recorded):
    """Makes parts of what it alone knows."""

    makes = frozenset({"parts"})

    def __init__(self, size: int, parts: dict[str, Any]) -> None:
        self.made = {name: make(size=size) for name, make in parts.items()}
        self.record(
            "parts", {name: {**part.spec, "init_args": {}} for name, part in self.made.items()}
        )


class Sized(Recorded):
    def __init__(self, size: int) -> None:
        self.size = size


def test_a_part_that_makes_parts_records_them_and_is_built_again() -> None:
    maker = Maker(3, {"a": Sized})
    path = f"{Sized.__module__}.Sized"
    parts = {"a": {"class_path": path, "init_args": {}}}
    assert maker.spec["init_args"] == {"size": 3, "parts": parts}
    again = build(maker.spec)
    assert again.made["a"].size == 3
    assert again.spec == maker.spec


def test_what_is_recorded_later_must_be_plain_too() -> None:
    maker = Maker(3, {})
    with pytest.raises(TypeError, match="parts of Maker must be plain data or a part of seqattn"):
        maker.record("parts", object())


def test_a_class_that_is_made_later_must_be_trusted_too() -> None:
    spec = Maker(3, {"a": Sized}).spec
    spec["init_args"]["parts"]["a"]["class_path"] = "antigravity.Part"
    with pytest.raises(ValueError, match="must be imported already or be trusted, got 'antigr"):
        build(spec)


def test_defaults_are_those_of_the_constructor_and_its_parents() -> None:
    found = default_arguments("seqattn.Encoder")
    assert found["mixer"] == "attention"
    assert found["dropout"] == 0.1
    assert not {"dim", "self"} & found.keys()
    assert default_arguments("not.imported.Class") == {}
    assert default_arguments("seqattn.Example") == {}
