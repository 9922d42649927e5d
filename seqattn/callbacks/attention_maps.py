"""A callback that draws what the heads look at, after each validation."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from seqattn.batch import Example
from seqattn.callbacks.attention_graphs import draw_graph
from seqattn.callbacks.attention_pictures import draw_weights, save_picture
from seqattn.callbacks.wandb import SafeWandbLogger
from seqattn.heads.base import TaskHead
from seqattn.layers.decoder import Decoder
from seqattn.layers.slots import require_choice
from seqattn.maps import AttentionMap, Where, attention_maps, choose_heads, stack_of


class AttentionMaps(Callback):
    """Draws attention maps of a few validation examples, always the same ones.

    The pictures are ``attention/epoch-<epoch>-step-<step>-<number>.png`` in the run's directory
    (that of ``metrics.csv``), else in the Trainer's ``default_root_dir``, and the panel
    ``val/attention`` of a W&B logger. An example with edges has a second picture, ``…-graph.png``.
    Training keeps its kernels: see :func:`seqattn.attention_maps`.

    A head with a decoder also has ``…-cross.png``: what each symbol that is written reads of the
    source. The symbols are those of the example's target, or without one the head's own output.

    Args:
        layers: counted from 0, or from the end if negative; None for all that attend. They are
            those of every part that is drawn.
        heads: counted likewise; None for all.
        examples: how many, the first ones that are not too long; or the keys of examples.
        every_n_epochs: draws after the validations of every n-th epoch.
        contributions: whether the pictures also tell how much each head changes each position.
        max_length: most positions of an example that is not named by its key. Time and memory of
            a map grow with the square of its length, and a long one is hard to read.
        where: the parts that are drawn, some of ``encoder``, ``decoder`` and ``cross``; None for
            the encoder, if it attends, and ``cross``, if there is a decoder.

    Raises:
        ValueError: if a number is below 1, or a part is unknown, missing or named twice.
    """

    def __init__(
        self,
        layers: list[int] | None = None,
        heads: list[int] | None = None,
        examples: int | list[str] = 4,
        every_n_epochs: int = 1,
        contributions: bool = False,
        max_length: int = 256,
        where: list[Where] | None = None,
    ) -> None:
        for name, number in (
            ("examples", len(examples) if isinstance(examples, list) else examples),
            ("every_n_epochs", every_n_epochs),
            ("max_length", max_length),
        ):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        for part in where or ():
            require_choice("where", part, get_args(Where))
        if where is not None and not 0 < len(where) == len(set(where)):
            raise ValueError(f"where must name at least one part and none twice, got {where}")
        self.where = where
        self.layers = layers
        self.heads = heads
        self.examples = examples
        self.every_n_epochs = every_n_epochs
        self.contributions = contributions
        self.max_length = max_length
        self._directory = Path()
        self._parts: list[Where] = []
        self._chosen: list[Example] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run's directory; refuse before training starts what would fail after it.

        Raises:
            TypeError: if the module is no head.
            IndexError: if there is no such layer or head.
            ValueError: if a layer named has no attention, or none has; if a part is named that the
                head has not.
            ModuleNotFoundError: if matplotlib is missing, or networkx for a graph.
        """
        if not isinstance(pl_module, TaskHead):
            raise TypeError(f"AttentionMaps needs a TaskHead, got {type(pl_module).__name__}")
        require_installed("matplotlib", "wandb")
        self._parts = parts_to_draw(pl_module) if self.where is None else self.where
        if "encoder" in self._parts and pl_module.encoder.reads_edges:
            require_installed("networkx", "graph")
        for part in self._parts:
            choose_heads(stack_of(pl_module, part), self.layers, self.heads, cross=part == "cross")
        self._directory = Path(trainer.log_dir or trainer.default_root_dir) / "attention"
        self._chosen = []

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw; every process computes, since a sharded model needs them all, and rank 0 draws.

        Raises:
            ValueError: if the validation set has not the examples asked for.
        """
        assert isinstance(pl_module, TaskHead)
        if not self._chosen:
            self._chosen = self._choose(trainer, pl_module)
        if trainer.sanity_checking or (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        pictures: dict[str, str] = {}
        for part in self._parts:
            found = self._maps(pl_module, part)
            if trainer.is_global_zero:
                pictures |= self._draw(trainer, part, found)
        for logger in trainer.loggers if trainer.is_global_zero else ():
            if isinstance(logger, WandbLogger):
                _log_pictures(logger, pictures, trainer.global_step)

    def _maps(self, head: TaskHead, part: Where) -> list[AttentionMap]:
        """Return the maps of the chosen examples, written by their targets where all have one."""
        targets = [example.target for example in self._chosen]
        is_given = part != "encoder" and all(target is not None for target in targets)
        return attention_maps(
            head,
            [example.source for example in self._chosen],
            self.layers,
            self.heads,
            where=part,
            targets=targets if is_given else None,
            contributions=self.contributions,
        )

    def _choose(self, trainer: Trainer, head: TaskHead) -> list[Example]:
        """Return the examples to draw."""
        if isinstance(self.examples, list):
            by_key = {example.key: example for example in validation_examples(trainer)}
            for key in self.examples:
                if key not in by_key:
                    raise ValueError(f"examples must be keys of the validation set, got {key!r}")
            return [by_key[key] for key in self.examples]
        chosen: list[Example] = []
        for example in validation_examples(trainer):
            if 0 < head.collate.length(example) <= self.max_length:
                chosen.append(example)
            if len(chosen) == self.examples:
                break
        if not chosen:
            raise ValueError(
                f"max_length must let an example of the validation set pass, got {self.max_length}"
            )
        return chosen

    def _draw(self, trainer: Trainer, part: Where, maps: Sequence[AttentionMap]) -> dict[str, str]:
        """Write the pictures of one part; return their titles by path."""
        self._directory.mkdir(parents=True, exist_ok=True)
        moment = f"epoch {trainer.current_epoch}, step {trainer.global_step}"
        name = f"epoch-{trainer.current_epoch:04d}-step-{trainer.global_step:07d}"
        pictures: dict[str, str] = {}
        for number, (example, found) in enumerate(zip(self._chosen, maps, strict=True)):
            title = f"{example.key or number} · {moment}"
            path = self._directory / f"{name}-{number}.png"
            if part != "encoder":
                title, path = f"{title} · {part}", path.with_stem(f"{path.stem}-{part}")
            save_picture(draw_weights(found, title), path)
            pictures[str(path)] = title
            if found.edge_index is not None:
                path = path.with_stem(f"{path.stem}-graph")
                save_picture(draw_graph(found, title), path)
                pictures[str(path)] = title
        return pictures


def parts_to_draw(head: TaskHead) -> list[Where]:
    """Return the parts of a head whose maps are drawn where none are named."""
    has_decoder = isinstance(getattr(head, "decoder", None), Decoder)
    attends = any(slots.attends for slots in head.encoder.slots)
    parts: list[Where] = ["encoder"] if attends or not has_decoder else []
    return [*parts, "cross"] if has_decoder else parts


def validation_examples(trainer: Trainer) -> Iterator[Example]:
    """Yield the validation examples: of our data module, or of any DataLoader of examples.

    Raises:
        ValueError: if the data set holds anything else.
    """
    module = getattr(trainer, "datamodule", None)
    if module is not None and hasattr(module, "examples"):
        yield from module.examples("val")
        return
    loaders: Any = trainer.val_dataloaders
    for loader in loaders if isinstance(loaders, list) else [loaders]:
        dataset = getattr(loader, "dataset", ())
        is_indexed = hasattr(dataset, "__len__")
        for item in (dataset[i] for i in range(len(dataset))) if is_indexed else dataset:
            example = item[0] if isinstance(item, tuple) else item
            if not isinstance(example, Example):
                raise ValueError(
                    "the validation set must hold seqattn.Example objects for AttentionMaps, "
                    f"got {type(example).__name__}"
                )
            yield example


def require_installed(module: str, extra: str) -> None:
    """Check that a package is there, without importing it.

    Raises:
        ModuleNotFoundError: if it is not; names the extra.
    """
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(
            f"AttentionMaps needs {module}, which is not installed: pip install 'seqattn[{extra}]'",
            name=module,
        )


def _log_pictures(logger: WandbLogger, pictures: dict[str, str], step: int) -> None:
    send = partial(
        logger.log_image,
        key="val/attention",
        images=list(pictures),
        step=step,
        caption=list(pictures.values()),
    )
    if isinstance(logger, SafeWandbLogger):
        logger.attempt(send)
    else:
        send()
