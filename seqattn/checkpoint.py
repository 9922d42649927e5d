"""A checkpoint is a model: read it safely, make its head again, take its weights."""

from __future__ import annotations

import logging
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from seqattn.recorded import Recorded, Spec, build, default_arguments

if TYPE_CHECKING:
    from seqattn.heads.base import TaskHead
    from seqattn.heads.trained_module import TrainedModule

log = logging.getLogger(__name__)

FORMAT = 1

# What may differ between a checkpoint and the run that goes on from it.
_TRAINING_ARGUMENTS = frozenset(
    {
        "learning_rate",
        "schedule",
        "warmup_steps",
        "weight_decay",
        "label_smoothing",
        "clip_norm",
        "init_from",
        "dropout",
        "attention_dropout",
        "word_dropout",
        "feature_dropout",
        "class_weights",
        "unseen_labels",
        "kernel",
        "weights",
        "monitor",
        "noise",
        "time_mask",
        "shift",
        "crop_share",
        "silence_seconds",
        "speeds",
        "vocal_tract",
        "equalizer_db",
        "noise_folder",
        "colored_noise",
        "noise_snr",
        "room_folder",
        "time_masks",
        "time_mask_share",
        "frequency_masks",
        "frequency_mask_share",
        "corrupt",
        "piece_seconds",
    }
)

# What may differ besides of the heads themselves: how they write, and what is measured.
_DECODING = re.compile(
    r"model(\.heads\.[^.]+)?\.(width|length_penalty|max_length|max_length_factor|min_length|"
    r"temperature|top_k|top_p|decode_examples|metrics)"
)

# What may differ besides between front-ends that share vocabulary and weights: their layout.
_LAYOUT_ARGUMENTS = frozenset({"begin", "max_tokens", "token_length", "embedding_norm"})

# What an evaluation counts; no knowledge of the model.
_METERS = ("metrics.", "mean_losses.", "unseen.")


@dataclass(frozen=True)
class SavedHead:
    """What a checkpoint says of its head, or of several that share an encoder.

    Args:
        path: the file, for messages.
        spec: class path and arguments of the head.
        vectorizers: fitted state of source and target vectorizer; of several heads
            ``{"tasks": {name: states}}``.
        weights: the head's parameters and buffers by name.
    """

    path: str
    spec: Spec
    vectorizers: dict[str, Any]
    weights: Mapping[str, Tensor]

    @classmethod
    def read(cls, path: str | Path, map_location: str = "cpu") -> Self:
        """Read a checkpoint without running any code that it holds.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is truncated, no checkpoint of seqattn, or holds more than plain data.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"the checkpoint must be a file, got {str(path)!r}")
        return cls.from_checkpoint(_load_safely(path, map_location), str(path))

    @classmethod
    def from_checkpoint(cls, checkpoint: Mapping[str, Any], path: str) -> Self:
        """Take what a loaded checkpoint says.

        Raises:
            ValueError: if it is no checkpoint of seqattn, or of a newer format.
        """
        block = checkpoint.get("seqattn") if isinstance(checkpoint, Mapping) else None
        if not isinstance(block, Mapping):
            raise ValueError(f"{path} must be a checkpoint of seqattn, got one without its block")
        version = block.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise ValueError(
                f"{path} must have format {FORMAT} or older, got {version}: "
                "it was written by a newer seqattn"
            )
        found = {**block, "state_dict": checkpoint.get("state_dict")}
        for name in ("spec", "vectorizers", "state_dict"):
            if not isinstance(found.get(name), Mapping):
                raise ValueError(f"{path} must hold {name}, got {type(found.get(name)).__name__}")
        if not isinstance(found["spec"].get("init_args"), Mapping):
            raise ValueError(f"{path} must hold a spec with init_args, got {sorted(found['spec'])}")
        saved = cls(path, found["spec"], found["vectorizers"], found["state_dict"])
        saved._require_states()
        return saved

    def _require_states(self) -> None:
        """Check that every head's spec and source vectorizer are there."""
        states = self.vectorizers.get("tasks", {"": self.vectorizers})
        heads = self.spec["init_args"].get("heads") if "tasks" in self.vectorizers else {"": {}}
        if not (isinstance(states, Mapping) and isinstance(heads, Mapping)):
            raise ValueError(f"{self.path} must hold tasks by name, got {type(states).__name__}")
        if states.keys() != heads.keys():
            raise ValueError(f"{self.path} must hold the heads {list(states)}, got {list(heads)}")
        for found in states.values():
            if not (isinstance(found, Mapping) and isinstance(found.get("source"), Mapping)):
                raise ValueError(
                    f"{self.path} must hold the state of the source vectorizer, got none"
                )

    @property
    def tasks(self) -> list[str]:
        """Names of the heads that share the encoder; none of a head alone."""
        return list(self.vectorizers.get("tasks", ()))

    def of_task(self, task: str) -> Self:
        """Return one of several heads, with the shared encoder.

        Raises:
            ValueError: if there is no such task.
        """
        if not self.tasks:
            raise ValueError(
                f"task is for checkpoints of several tasks, got {task!r} for {self.path}"
            )
        if task not in self.tasks:
            names = ", ".join(map(repr, self.tasks))
            raise ValueError(f"task must be one of {names} for {self.path}, got {task!r}")
        arguments, prefix = self.spec["init_args"], f"heads.{task}."
        head = arguments["heads"][task]
        return replace(
            self,
            spec={**head, "init_args": {**head["init_args"], "encoder": arguments["encoder"]}},
            vectorizers=self.vectorizers["tasks"][task],
            weights={
                name.removeprefix(prefix): weight
                for name, weight in self.weights.items()
                if name.startswith(prefix)
            },
        )

    @staticmethod
    def block_of(head: TrainedModule) -> dict[str, Any]:
        """Return the block that a checkpoint of this head carries."""
        return {
            "format": FORMAT,
            "spec": head.spec,
            "vectorizers": head.vectorizer_states(),
        }

    def has_frontend(self, frontend: Recorded) -> bool:
        """Return whether a front-end makes the same vocabulary and layers, of whatever layout."""
        ignored = _TRAINING_ARGUMENTS | _LAYOUT_ARGUMENTS
        saved = self.spec["init_args"].get("frontend")
        return not _differences(saved, frontend.spec, "frontend", ignored)

    def require_same_architecture(self, spec: Spec) -> None:
        """Check that a configured head is the saved one, training arguments aside.

        Raises:
            ValueError: naming every key that differs, with both values.
        """
        differences = _differences(self.spec, spec, "model", _TRAINING_ARGUMENTS)
        if differences:
            raise ValueError(
                f"the model must be that of the checkpoint {self.path}, got "
                + "; ".join(
                    f"{key}: {new!r} (checkpoint: {old!r})" for key, old, new in differences
                )
            )

    def require_same_states(self, head: TrainedModule) -> None:
        """Check that a built head has the saved vocabulary and labels.

        Raises:
            ValueError: naming the vectorizer that differs.
        """
        saved = _flat(self.vectorizers)
        for name, state in _flat(head.vectorizer_states()).items():
            if state != saved.get(name):
                raise ValueError(
                    f"the {name} vocabulary must be that of {self.path}, got another: "
                    "make the head with seqattn.load, or fit on the same data"
                )

    def require_same_weights(self, head: TrainedModule) -> None:
        """Check that a built head has parameters of the saved names and shapes.

        Raises:
            ValueError: naming the first that differs.
        """
        saved = {name: tuple(weight.shape) for name, weight in self.weights.items()}
        own = {name: tuple(weight.shape) for name, weight in head.state_dict().items()}
        for name in sorted(saved.keys() | own.keys()):
            if saved.get(name) != own.get(name):
                raise ValueError(
                    f"the weights in {self.path} must fit its model, got {name} of shape "
                    f"{saved.get(name)} in the file and {own.get(name)} in the model"
                )

    def restore(self, trust: str | Sequence[str] = ()) -> TrainedModule:
        """Return the head with its vocabulary, labels and weights.

        Raises:
            ValueError: if a class is not trusted, a part's arguments or a vectorizer's state are
                not its own, or the weights do not fit.
        """
        spec = {**self.spec, "init_args": {**self.spec["init_args"], "init_from": None}}
        head: TrainedModule = build(spec, trust)
        head.restore_vectorizers(self.vectorizers)
        self.require_same_weights(head)
        head.load_state_dict(dict(self.weights))
        return head.eval()


def load(
    path: str | Path,
    *,
    trust: str | Sequence[str] = (),
    task: str | None = None,
    map_location: str = "cpu",
) -> TaskHead | Any:
    """Return the head of a checkpoint, ready for raw input: no YAML, no data.

    Args:
        path: a ``.ckpt`` that the Trainer wrote.
        trust: modules, packages or class paths of your own that may be imported for it; one name,
            or several.
        task: which head of a joint checkpoint; without, that gives the whole :class:`MultiTask`.
        map_location: device of the weights.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is truncated or damaged, no checkpoint of seqattn, holds more than plain
            data, names a class that is neither imported nor trusted, or has no such task.
    """
    saved = SavedHead.read(path, map_location)
    return (saved if task is None else saved.of_task(task)).restore(trust)


def transfer_weights(saved: SavedHead, head: TaskHead) -> None:
    """Take every weight that has the same name and shape; log what was taken and what not.

    Front-end weights are taken only where the vocabulary is the same, and never those of the
    output layer and of a decoder's embedding where the labels are not: their rows would stand for
    something else. The log has the parts at level INFO, and every parameter at level DEBUG.
    """
    own = {name: w for name, w in head.state_dict().items() if not name.startswith(_METERS)}
    skipped = _foreign_prefixes(saved, head)
    taken = {
        name: weight
        for name, weight in saved.weights.items()
        if name in own and own[name].shape == weight.shape and not name.startswith(skipped)
    }
    head.load_state_dict(taken, strict=False)
    new = [name for name in own if name not in taken]
    sentence = "init_from %s: took %d of %d tensors (%s); new: %s"
    log.info(sentence, saved.path, len(taken), len(own), _summary(list(taken)), _summary(new))
    for name in own:
        log.debug("init_from %s: %s %s", saved.path, "took" if name in taken else "new:", name)


def _foreign_prefixes(saved: SavedHead, head: TaskHead) -> tuple[str, ...]:
    own_target, target = head.vectorizer_states().get("target"), saved.vectorizers.get("target")
    source = saved.vectorizers.get("source")
    is_foreign = source is None or not head.frontend.vectorizer.has_vocabulary_of(source)
    prefixes = ["frontend."] if is_foreign else []
    if own_target != target or (is_foreign and not own_target):  # its labels are the symbols
        prefixes += ["output.", "target_embedding.", "ctc_output."]
    return tuple(prefixes)


def _flat(states: Mapping[str, Any]) -> dict[str, Any]:
    """Return the vectorizers' states by their names in a sentence, of one head or several."""
    return {
        name if not task else f"{name} ({task})": state
        for task, found in states.get("tasks", {"": states}).items()
        for name, state in found.items()
    }


def _summary(names: Sequence[str]) -> str:
    """Return 'encoder (38), output (2)' for a list of parameter names."""
    counts: dict[str, int] = {}
    for name in names:
        part = name.partition(".")[0]
        counts[part] = counts.get(part, 0) + 1
    return ", ".join(f"{part} ({count})" for part, count in sorted(counts.items())) or "nothing"


def _load_safely(path: Path, map_location: str) -> Mapping[str, Any]:
    if not _is_archive(path):
        with path.open("rb") as file:
            start = file.read(2)
        kind = "truncated" if start == b"PK" or not start else "no checkpoint of torch"
        raise ValueError(f"the checkpoint must be a whole file, got {str(path)!r}: it is {kind}")
    _require_undamaged(path)
    try:
        loaded: Mapping[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)", str(error))
        found = f"the object {name[1]}" if name else "other objects"
        raise ValueError(
            f"the checkpoint must hold plain data only, got {str(path)!r}, "
            f"which holds {found} and was not opened"
        ) from None
    except (RuntimeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from None
    return loaded


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # its last bytes look like those of one
        return False


def _require_undamaged(path: Path) -> None:
    """Compare every record with its checksum, which torch writes and does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            record = archive.testzip()
    except Exception as error:  # a damaged directory makes zipfile stumble in any of many ways
        raise _damaged(path, error) from None
    if record is not None:
        raise _damaged(path, ValueError(f"the checksum of {record} is another"))


def _damaged(path: Path, error: Exception) -> ValueError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ValueError(
        f"the checkpoint must be a whole file, got {str(path)!r}: it is damaged ({first})"
    )


def _differences(
    old: Any, new: Any, key: str, ignored: frozenset[str]
) -> list[tuple[str, Any, Any]]:
    """List the keys at which two specifications differ, ignored arguments aside.

    An argument that the old one does not know, as it was not yet there, had its default.
    """
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return [] if old == new else [(key, old, new)]
    found: list[tuple[str, Any, Any]] = []
    if "class_path" in old and isinstance(old.get("init_args"), Mapping):
        defaults = default_arguments(str(old["class_path"]))
        old = {**old, "init_args": {**defaults, **old["init_args"]}}
        given = new.get("init_args")
        new = {**new, "init_args": {**defaults, **given}} if isinstance(given, Mapping) else new
    for name in sorted({*old, *new} - ignored):
        inner = key if name == "init_args" else f"{key}.{name}"
        if _DECODING.fullmatch(inner):
            continue
        found += _differences(old.get(name), new.get(name), inner, ignored)
    return found


__all__ = ["FORMAT", "SavedHead", "load", "transfer_weights"]
