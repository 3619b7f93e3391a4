"""Trainers as ModelScope's: made of a model, datasets and a configuration, they run one recipe of ``mplug train``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import OptionError, Unsupported
from ...training import Callback, Event, train
from ..msdatasets import MsDataset
from ..pipelines.builder import check_device, folder_of
from ..utils.config import Config
from ..utils.constant import ModelFile, Tasks
from .configuration import rebuilt
from .evaluation import evaluate
from .log import print_line
from .output import Output
from .recipe import OBJECTIVES, plan
from .rows import RowsWriter
from .sources import Sources

_NEAREST = {
    "arg_parse_fn": "a recipe of mplug_rs.train and its settings",
    "callbacks": "mplug_rs.train(recipe, callbacks=[...]), functions that hear of every event",
    "data_collator": "run.batch_size of a recipe",
    "efficient_tuners": "[lora] of a recipe (mplug_rs.train)",
    "launcher": "`mpirun -n N mplug train recipe.toml`",
    "optimizers": "train.optimizer and train.lr_scheduler of the configuration",
    "preprocessor": "the model's folder, which says how pictures and texts are made ready",
    "remove_unused_data": "remap_columns: the columns image, question and answer are read",
    "samplers": "train.dataloader.shuffle of the configuration",
    "train_iters_per_epoch": "run.steps of a recipe",
    "val_iters_per_epoch": "evaluation.pictures of a recipe",
}
"""Arguments that are not taken, with the nearest thing."""
# They decide how torch and the hub's client work.
_HARMLESS = frozenset({"auto_collate", "compile", "compile_options", "third_party", "trust_remote_code"})


class EpochBasedTrainer:
    """Trains a model on the rows of a dataset: ``image``, ``answer``, and ``question`` where the task has one.

    What the configuration, its hooks and the arguments say becomes ``recipe.toml`` in ``work_dir``, and :func:`mplug_rs.train` runs it.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        cfg_file: str | os.PathLike[str] | None = None,
        cfg_modify_fn: Callable[[Config], Config] | None = None,
        *,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        max_epochs: int | None = None,
        work_dir: str | os.PathLike[str] | None = None,
        model_revision: str | None = None,
        seed: int = 42,
        use_fp16: bool = False,
        device: str = "cpu",
        task: str | None = None,
        cfg_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """Opens the model's folder and its configuration; nothing is written.

        :param model: a folder, or a model's name on the hub; downloaded where it is not in the cache.
        :param cfg_file: a configuration in the place of the model's ``configuration.json``.
        :param cfg_modify_fn: changes the configuration, and returns it.
        :param train_dataset: the rows to learn from.
        :param eval_dataset: the rows that evaluations read.
        :param max_epochs: how often all rows are seen; ``train.max_epochs`` of the configuration if ``None``.
        :param work_dir: where everything goes; ``train.work_dir`` of the configuration, or else ``./work_dir``, if ``None``.
        :param model_revision: a branch, a tag or a commit of the hub's.
        :param seed: decides the order of the rows, and dropout.
        :param use_fp16: rounds products to 16 bits.
        :param device: ``cpu``; others give a warning and run on the CPU.
        :param task: what the model is trained for, where the configuration does not say it: a backbone.
        :param cfg_options: entries of the configuration by their chains of names, set after ``cfg_modify_fn``.
        """
        _check_options(options)
        if not isinstance(model, (str, os.PathLike)):
            raise Unsupported(f"model: expected a model's name or its folder, found {type(model).__name__}")
        check_device(device)
        self.model_dir = folder_of(os.fsdecode(model), model_revision)
        file = os.fspath(cfg_file) if cfg_file else os.path.join(self.model_dir, ModelFile.CONFIGURATION)
        self.cfg, self._hooks = rebuilt(Config.from_file(file), cfg_modify_fn, cfg_options)
        self.work_dir = os.fsdecode(work_dir or self.cfg.safe_get("train.work_dir") or "./work_dir")
        self.task = task or str(self.cfg.get("task"))
        if self.task not in OBJECTIVES:
            raise Unsupported(f"task: expected {', '.join(OBJECTIVES)}, the tasks of mPLUG, found {self.task}")
        epochs = max_epochs if max_epochs is not None else self.cfg.safe_get("train.max_epochs")
        if not isinstance(epochs, int) or epochs < 1:
            raise OptionError(f"max_epochs: expected a whole number from 1 on, or train.max_epochs in the configuration, found {epochs!r}")
        self.max_epochs = epochs
        self.train_dataset = _dataset("train_dataset", train_dataset)
        self.eval_dataset = _dataset("eval_dataset", eval_dataset)
        self.metric_values: dict[str, float] | None = None
        """The figures of the last evaluation."""
        self._seed, self._use_fp16 = seed, use_fp16
        # What cannot be said in a recipe is an error now, and not when training begins.
        self._plan = plan(self._sources(Path("train.jsonl"), Path("eval.jsonl")))

    def recipe(self) -> dict[str, Any]:
        """The recipe that :meth:`train` runs, with the rows written to ``work_dir/data``."""
        writer = RowsWriter(self.task, Path(self.work_dir) / "data")
        rows = writer.write(self._needed_dataset(), "train", keeps_rows=True)
        held_out = None
        if self.eval_dataset is not None:
            held_out = writer.write(self.eval_dataset, "eval", keeps_rows=False)
        self._plan = plan(self._sources(rows, held_out))
        return self._plan.recipe

    def train(self, checkpoint_path: str | os.PathLike[str] | None = None, load_all_state: bool = True, **options: Any) -> None:
        """Trains. ``work_dir/output`` then has the model, as :func:`~mplug_rs.modelscope.pipelines.pipeline` opens it.

        :param checkpoint_path: goes on from a checkpoint of this ``work_dir``: ``epoch_2.pth``, a folder ``step-…``, or ``last``.
        :param load_all_state: not to be ``False``: give the checkpoint's ``output`` as model to start anew from it.
        """
        if not load_all_state or any(value not in (None, False) for value in options.values()):
            raise Unsupported("train: load_all_state=False: not taken here; build_trainer(model='WORK_DIR/output') starts anew from its weights")
        recipe = self.recipe()
        output = Output(Path(self.work_dir), self._plan)
        step = None if checkpoint_path is None else output.step_of(checkpoint_path)
        events: list[Callback] = [self._hear, print_line, output.hear]
        train(recipe, resume=step == "last", from_step=step if isinstance(step, int) else None, callbacks=events)
        output.finish()

    def evaluate(self, checkpoint_path: str | os.PathLike[str] | None = None, **options: Any) -> dict[str, float]:
        """Figures of the trained model on ``eval_dataset``: of captions BLEU, ROUGE-L and CIDEr-D, and how many are exactly as written; of
        answers the accuracy.

        :param checkpoint_path: a folder of a model; ``work_dir/output`` if ``None``, and the model to start from where nothing was trained.
        """
        if any(value is not None for value in options.values()):
            raise Unsupported(f"evaluate: {', '.join(options)}: not taken here; Captioner and Answerer give what a model writes")
        if self.eval_dataset is None:
            raise OptionError("eval_dataset: expected a dataset, found none")
        trained = os.path.join(self.work_dir, ModelFile.TRAIN_OUTPUT_DIR)
        folder = checkpoint_path or (trained if os.path.isdir(trained) else self.model_dir)
        with tempfile.TemporaryDirectory() as rows:
            path = RowsWriter(self.task, Path(rows)).write(self.eval_dataset, "eval", keeps_rows=False)
            self.metric_values = evaluate(self.task, os.fspath(folder), path, self.cfg.safe_get("evaluation.metrics"))
        return self.metric_values

    @property
    def timestamp(self) -> str:
        """The name of the last start's logs in ``work_dir``: ``{timestamp}.log`` and ``{timestamp}.log.json``."""
        logs = sorted(path.name for path in Path(self.work_dir).glob("[0-9]*_[0-9]*.log.json"))
        if not logs:
            raise AttributeError("timestamp: nothing was trained yet")
        return logs[-1].removesuffix(".log.json")

    def _hear(self, event: Event) -> None:
        if event["event"] == "evaluated":
            self.metric_values = dict(event["metrics"])

    def _needed_dataset(self) -> MsDataset:
        if self.train_dataset is None:
            raise OptionError("train_dataset: expected a dataset, found none")
        return self.train_dataset

    def _sources(self, rows: Path, held_out: Path | None) -> Sources:
        has_held_out = self.eval_dataset is not None and held_out is not None
        return Sources(
            config=self.cfg,
            hooks=self._hooks,
            task=self.task,
            model=Path(self.model_dir),
            work_dir=Path(self.work_dir),
            train=rows,
            train_rows=1 if self.train_dataset is None else len(self.train_dataset),
            held_out=held_out if has_held_out else None,
            held_out_pictures=_examples(self.eval_dataset, self.task),
            max_epochs=self.max_epochs,
            seed=self._seed,
            use_fp16=self._use_fp16,
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(
                f"{type(self).__name__} has no attribute {name}; it has train, evaluate, recipe, cfg, work_dir, timestamp and metric_values, "
                "and mplug_rs.train(recipe, callbacks=[...]) runs what recipe() gives"
            )


class NlpEpochBasedTrainer(EpochBasedTrainer):
    """The trainer of the models' cards, ``nlp-base-trainer``."""


class MPlugTrainer(EpochBasedTrainer):
    """The trainer ``mplug``, which trains a backbone for a ``task``."""


def _check_options(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name in _HARMLESS or value in (None, False, (None, None)):
            continue
        if name in _NEAREST:
            raise Unsupported(f"{name}: not taken here; the nearest is {_NEAREST[name]}")
        raise TypeError(f"{name}: no argument of a trainer")


def _dataset(name: str, given: Any) -> MsDataset | None:
    if given is None or isinstance(given, MsDataset):
        return given
    if isinstance(given, list):
        raise Unsupported(f"{name}: expected one dataset, found a list; put their rows into one")
    return MsDataset(given)


def _examples(dataset: MsDataset | None, task: str) -> int:
    """What evaluations count: questions, or else pictures."""
    if dataset is None:
        return 0
    if task == Tasks.visual_question_answering or "image" not in dataset.column_names:
        return len(dataset)
    images = [image if isinstance(image, str) else number for number, image in enumerate(dataset["image"])]
    return len(set(images))
