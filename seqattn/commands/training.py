"""The LightningCLI behind fit, validate, test and predict, through its public hooks only."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonargparse
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from seqattn.callbacks.prediction_writer import PredictionWriter
from seqattn.callbacks.run_files import GivenConfig
from seqattn.callbacks.wandb import SafeWandbLogger
from seqattn.checkpoint import SavedHead
from seqattn.commands.config_files import ConfigFiles, config_paths
from seqattn.commands.defaults import default_callbacks
from seqattn.commands.given_config import given_text
from seqattn.commands.loggers import WandbSettings, make_loggers
from seqattn.commands.mistakes import Explainer, UserMistake
from seqattn.commands.report import print_best, print_metrics
from seqattn.commands.run_directory import (
    CHECKPOINT_VARIABLE,
    DIRECTORY_VARIABLE,
    Runs,
    config_name,
    is_child_process,
)
from seqattn.commands.saved_model import model_of_checkpoint
from seqattn.commands.threads import share_threads
from seqattn.heads.trained_module import TrainedModule

_DEFAULTS = {
    "use_distributed_sampler": False,  # our sampler shards by itself
    "enable_model_summary": False,
}
_MAIN_PARSER = {"prog": "seqattn", "exit_on_error": False, "allow_abbrev": False}
_OWN_OPTIONS = (
    "Options of the command itself: --trust NAME lets a config name classes of that package "
    "(repeatable); --debug shows Lightning's messages and tracebacks."
)


class SequenceCLI(LightningCLI):
    """Parses the command line, makes head, data and Trainer, and runs the sub-command.

    Args:
        arguments: the command line after the command's name.
        trust: packages whose classes a checkpoint may name.
    """

    def __init__(self, arguments: Sequence[str], trust: Sequence[str] = ()) -> None:
        self.arguments = list(arguments)
        self.trust = list(trust)
        self.saved: SavedHead | None = None
        self.run_directory = Path()
        super().__init__(
            TrainedModule,
            LightningDataModule,
            save_config_callback=None,
            seed_everything_default=1,
            trainer_defaults=_DEFAULTS,
            parser_kwargs={**_MAIN_PARSER, **_subparser_settings()},
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            args=self.arguments,
        )

    # --- parsing ----------------------------------------------------------------------------

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what seqattn's runs have beyond a Trainer's."""
        parser.add_argument(
            "--patience",
            type=int | None,
            default=None,
            help="Stop after so many validations without a better value of the head's monitor.",
        )
        parser.add_class_arguments(WandbSettings, "wandb")
        parser.add_lightning_class_args(PredictionWriter, "predictions")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, complain in one sentence, and read the checkpoint before anything else runs."""
        fault = ConfigFiles(config_paths(self.arguments)).fault()
        if fault:
            raise UserMistake(fault)
        words = [*self.arguments, *model_of_checkpoint(self.arguments, self.trust)]
        try:
            self.config = parser.parse_args(words)
        except jsonargparse.ArgumentError as error:
            raise UserMistake(self._explain(parser, str(error))) from error
        self._complete()

    def _explain(self, parser: LightningArgumentParser, message: str) -> str:
        words = [word for word in self.arguments if not word.startswith("-")]
        known = self._subcommand_parsers
        name = next((word for word in words if word in known), None)
        chosen = known[name] if name else parser
        files = ConfigFiles(config_paths(self.arguments))
        keys = list(chosen.get_defaults(skip_validation=True).keys())
        return Explainer(files, self.arguments, keys).explain(message)

    def _complete(self) -> None:
        """Find the checkpoint, and name the run."""
        command = str(self.config.subcommand)
        chosen = self.config[command]
        paths = config_paths(self.arguments)
        root = Path(chosen.trainer.default_root_dir or os.getcwd())
        self.runs = Runs(root, config_name(paths, chosen.ckpt_path))
        self.checkpoint = self._find_checkpoint(command, chosen.ckpt_path)
        # LightningCLI would let a checkpoint's hyper-parameters override the command line.
        self.config[command].ckpt_path = None

    def _find_checkpoint(self, command: str, given: str | None) -> str | None:
        """Return the file that `--ckpt_path` means, read and found whole."""
        if given is None:
            if command != "fit":
                raise UserMistake(f"{command} needs --ckpt_path: a file, `best` or `last`")
            return None
        if "://" in given:
            raise UserMistake(f"ckpt_path must be a local file, got {given!r}")
        inherited = os.environ.get(CHECKPOINT_VARIABLE) if is_child_process() else None
        if given in ("last", "best") and inherited is None:
            given = str(self.runs.newest_valid(given, SavedHead.read))
        path = inherited or given
        self.saved = SavedHead.read(path)
        os.environ[CHECKPOINT_VARIABLE] = path
        return path

    # --- making -----------------------------------------------------------------------------

    def before_instantiate_classes(self) -> None:
        """Put the checkpoint's path back."""
        self.config[self.config.subcommand].ckpt_path = self.checkpoint

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the head to the checkpoint, then make the Trainer with the run's parts."""
        if self.saved is not None:
            self.saved.require_same_architecture(self.model.spec)
            self.model.restore_vectorizers(self.saved.vectorizers)
        self._make_directory()
        chosen = self.config[self.config.subcommand]
        given = self._get(self.config_init, "trainer")
        if given["callbacks"] is None or isinstance(given["callbacks"], Callback):
            given["callbacks"] = [given["callbacks"]] if given["callbacks"] else []
        given["callbacks"] += default_callbacks(
            str(self.config.subcommand),
            given=given,
            head=self.model,
            data=self.datamodule,
            directory=self.run_directory,
            config=self._given_config(),
            patience=chosen.patience,
            wandb=self._get(self.config_init, "wandb"),
        )
        given["logger"] = make_loggers(
            given["logger"], self._get(self.config_init, "wandb"), self.run_directory
        )
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (ValueError, TypeError) as error:
            raise UserMistake(f"trainer: {error}") from error
        share_threads(trainer.num_devices)
        return trainer

    def _make_directory(self) -> None:
        """Make the run's directory on rank 0; a process that rank 0 starts takes it over."""
        if is_child_process():
            self.run_directory = Path(os.environ.get(DIRECTORY_VARIABLE, self.runs.folder))
        else:
            self.run_directory = self.runs.create()
            os.environ[DIRECTORY_VARIABLE] = str(self.run_directory)

    def _given_config(self) -> GivenConfig:
        """Return the run's configuration as text: as given, and every value in force."""
        command = str(self.config.subcommand)
        parser, chosen = self._subcommand_parsers[command], self.config[command].clone()
        chosen.pop("config", None)
        return GivenConfig(
            command=shlex.join(["seqattn", *self.arguments]),
            given=given_text(self.arguments),
            resolved=parser.dump(chosen, skip_unset=False, skip_validation=True),
            parent=self.checkpoint,
        )

    # --- running ----------------------------------------------------------------------------

    def after_fit(self) -> None:
        """Print where the best checkpoint lies, and its metrics."""
        if self.trainer.is_global_zero:
            print_best(self.trainer, self.run_directory)
        self._close_loggers()

    def after_validate(self) -> None:
        """Close what is still open."""
        self._close_loggers()

    def after_test(self) -> None:
        """Close what is still open."""
        self._close_loggers()

    def after_predict(self) -> None:
        """Say where the predictions are."""
        if self.trainer.is_global_zero:
            print(f"predictions  {self.run_directory / 'predictions.jsonl'}")
        self._close_loggers()

    def _close_loggers(self) -> None:
        for logger in self.trainer.loggers:
            if isinstance(logger, SafeWandbLogger):
                logger.finish()

    def validate(
        self,
        model: LightningModule,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | None = None,
        verbose: bool = True,
        weights_only: bool | None = None,
    ) -> None:
        """Evaluate on the validation set and print the metrics."""
        found = self.trainer.validate(model, None, ckpt_path, False, datamodule, weights_only)
        self._show(found, verbose)

    def test(
        self,
        model: LightningModule,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | None = None,
        verbose: bool = True,
        weights_only: bool | None = None,
    ) -> None:
        """Evaluate on the test set and print the metrics."""
        found = self.trainer.test(model, None, ckpt_path, False, datamodule, weights_only)
        self._show(found, verbose)

    def predict(
        self,
        model: LightningModule,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | None = None,
        return_predictions: bool | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Write the predictions of the prediction set; nothing is kept in memory."""
        self.trainer.predict(model, None, datamodule, False, ckpt_path, weights_only)

    def _show(self, found: Sequence[Any], verbose: bool) -> None:
        if verbose and self.trainer.is_global_zero:
            for metrics in found:
                print_metrics(metrics)
            print(f"run directory  {self.run_directory}")


def _subparser_settings() -> dict[str, dict[str, Any]]:
    """Return what each sub-command's parser is made with."""
    lines = {
        "fit": "Train and validate.",
        "validate": "Evaluate a checkpoint on the validation set.",
        "test": "Evaluate a checkpoint on the test set.",
        "predict": "Write a checkpoint's predictions, in input order.",
    }
    return {name: {"description": f"{line} {_OWN_OPTIONS}"} for name, line in lines.items()}
