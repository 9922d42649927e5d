"""The rules of the source tree, read from its syntax trees."""

import ast
import fnmatch
import graphlib
import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import seqattn

ROOT = Path(__file__).parents[1]
CONTRACTS = {
    "errors",
    "recorded",
    "edges",
    "packing",
    "batch",
    "vectorizer",
    "collate",
    "sound",
    "graph",
    "graph_checks",
}
LATE_ONLY = {
    "datasets",
    "matplotlib",
    "networkx",
    "scipy",
    "soundfile",
    "torch_geometric",
    "torchaudio",
    "wandb",
}
# What a package may import besides itself and the contracts; a package that is not named may
# import whatever makes no cycle, but nothing of the packages in ABOVE.
ALLOWED = {
    **{contract: set() for contract in CONTRACTS},
    "attention": set(),
    "layers": {"attention"},
    "generation": {"attention", "layers"},
    "frontends": {"layers"},
    "data": set(),
}
# What only those named may import.
ABOVE = {
    "cli": {"cli", "commands", "__main__"},
    "commands": {"cli", "commands"},
    "__main__": set(),
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("seqattn", "tasks")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in MODULES.items()}


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def nodes_at_runtime(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree, but not into what only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if not is_for_types_only(node):
            yield node
            yield from nodes_at_runtime(node)


def names_imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the modules that a tree imports when it runs, and the line."""
    for node in nodes_at_runtime(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports must be absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in MODULES else str(node.module)), node.lineno


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def package_of(module: str) -> str:
    """Return the part of seqattn that a module belongs to: ``layers`` of ``seqattn.layers.x``."""
    return module.split(".")[1] if "." in module else ""


INTERNAL = {
    module: sorted({name for name, _ in names_imported(tree) if name.split(".")[0] == "seqattn"})
    for module, tree in TREES.items()
    if module.startswith("seqattn")
}


def test_source_is_found() -> None:
    assert {"seqattn", "seqattn.batch", "seqattn.layers.encoder", "tasks"} <= MODULES.keys()
    assert "seqattn.packing" in INTERNAL["seqattn.batch"]


@pytest.mark.parametrize("module", INTERNAL)
def test_imports_go_one_way(module: str) -> None:
    own = package_of(module)
    for name in INTERNAL[module]:
        other = package_of(name)
        allowed = {own, *CONTRACTS, *ALLOWED.get(own, {other})}
        assert other in allowed, f"{module} must not import {name}"
        assert own in ABOVE.get(other, {own}), f"{module} must not import {name}"


@pytest.mark.parametrize("module", [m for m in INTERNAL if package_of(m) == "heads"])
def test_heads_know_no_reader(module: str) -> None:
    wrong = ("seqattn.data.readers", "seqattn.data.module")
    assert not [name for name in INTERNAL[module] if name.startswith(wrong)]


def test_imports_make_no_cycle() -> None:
    graph = {module: set(names) - {module} for module, names in INTERNAL.items()}
    assert list(graphlib.TopologicalSorter(graph).static_order())


def test_library_does_not_know_the_tasks() -> None:
    for module in INTERNAL:
        names = [name for name, _ in names_imported(TREES[module])]
        assert not [name for name in names if name.split(".")[0] in ("tasks", "tests")], module


def is_task(module: str) -> bool:
    """Whether a module of tasks is one that a configuration names, and not what tasks share."""
    paths = (ROOT / "configs").glob("*.yaml")
    return any(f"{module}." in path.read_text("utf-8") for path in paths)


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("tasks.")])
def test_tasks_use_public_names_and_not_each_other(module: str) -> None:
    for node in nodes_at_runtime(TREES[module]):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("seqattn."):
            home = importlib.import_module(str(node.module))
            public = getattr(home, "__all__", ())
            private = [alias.name for alias in node.names if alias.name not in public]
            assert not private, f"{node.module} has no public name {private}"
    others = [name for name, _ in names_imported(TREES[module]) if name.startswith("tasks.")]
    assert not [name for name in others if is_task(name)]


@pytest.mark.parametrize("module", MODULES)
def test_heavy_libraries_are_imported_where_they_are_used(module: str) -> None:
    late = {found for function in functions(TREES[module]) for found in names_imported(function)}
    early = set(names_imported(TREES[module])) - late
    assert not {name.split(".")[0] for name, _ in early} & LATE_ONLY
    if package_of(module) not in ABOVE:  # a command is quick to answer by importing late
        assert {name.split(".")[0] for name, _ in late} <= LATE_ONLY | sys.stdlib_module_names


@pytest.mark.parametrize("module", MODULES)
def test_import_of_a_module_does_nothing_else(module: str) -> None:
    kinds = (
        *(ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Delete),
        *(ast.FunctionDef, ast.ClassDef),
    )
    for node in TREES[module].body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_script = isinstance(node, ast.If) and "__name__ ==" in ast.unparse(node.test)
        assert isinstance(node, kinds) or is_docstring or is_script or is_for_types_only(node), (
            f"line {node.lineno} must not run at import: {ast.unparse(node)}"
        )


@pytest.mark.parametrize("module", MODULES)
def test_files_and_functions_are_short(module: str) -> None:
    assert len(MODULES[module].read_text("utf-8").splitlines()) < 400
    for function in functions(TREES[module]):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        assert length <= 50, f"{function.name} must have at most 50 lines, got {length}"


@pytest.mark.parametrize("module", MODULES)
def test_arguments_are_named_and_defaults_immutable(module: str) -> None:
    for function in functions(TREES[module]):
        defaults = [*function.args.defaults, *filter(None, function.args.kw_defaults)]
        mutable = [d for d in defaults if isinstance(d, ast.List | ast.Dict | ast.Set)]
        assert not mutable, f"{function.name} has a mutable default"


def test_import_of_seqattn_imports_nothing_heavy() -> None:
    heavy = {"torch", "lightning", "numpy", "torchmetrics", "jsonargparse", *LATE_ONLY}
    code = f"import sys, seqattn; print(sorted({heavy!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", seqattn.__all__)
def test_public_name_resolves(name: str) -> None:
    assert getattr(seqattn, name).__name__ == name
    assert name in dir(seqattn)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'seqattn' has no attribute 'Encodr'"):
        _ = seqattn.Encodr


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_wheel_holds_seqattn_alone() -> None:
    patterns = project()["tool"]["setuptools"]["packages"]["find"]["include"]
    folders = [path.name for path in ROOT.iterdir() if path.is_dir() and "." not in path.name]
    found = [name for name in folders if any(fnmatch.fnmatch(name, p) for p in patterns)]
    assert found == ["seqattn"]


def test_wheel_holds_every_module_and_the_marker_of_types() -> None:
    folders = {path.parent for name, path in MODULES.items() if name.startswith("seqattn")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
    assert (ROOT / "seqattn" / "py.typed").is_file()
    assert "py.typed" in project()["tool"]["setuptools"]["package-data"]["seqattn"]


def test_scripts_of_the_wheel_exist() -> None:
    for script, place in project()["project"]["scripts"].items():
        module, _, name = place.partition(":")
        assert name in {f.name for f in functions(TREES[module])}, script


def test_tree_names_no_folder_of_a_machine() -> None:
    machine = re.compile(r"(?<![\w.:/])/(?:work|home|root|Users|mnt|opt|tmp)/\w")
    kinds = {".py", ".yaml", ".toml", ".md", ".json", ".csv", ".in", ""}
    ignored = {"__pycache__", "runs", "wandb", "build", "dist"}
    places = [ROOT / "pyproject.toml", ROOT / "README.md"]
    for folder in ("seqattn", "tasks", "configs", "tests", "benchmarks", ".ci"):
        places += (ROOT / folder).rglob("*")
    for path in places:
        if path.is_file() and path.suffix in kinds and not ignored & set(path.parts):
            found = machine.search(path.read_text("utf-8", errors="replace"))
            assert found is None, f"{path.relative_to(ROOT)} names {found.group()}"
