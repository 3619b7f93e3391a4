"""One recipe of ``mplug train`` that says what a trainer's configuration and arguments say. Everything that training reads of them is
read here; what has no place in a recipe is an error that names the nearest key."""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import OptionError, Unsupported
from ..utils.config import ConfigDict
from ..utils.constant import Tasks
from .options import Options, Tables
from .run_hooks import RunHooks
from .schedule import schedule
from .sources import Sources

OBJECTIVES = {
    Tasks.image_captioning: "captioning",
    Tasks.visual_question_answering: "answering",
    Tasks.image_text_retrieval: "retrieval",
}
"""The objective of each task."""

# Examples that pass through the network side by side, of one thread. Beyond it memory grows and speed does not.
_MICRO_BATCH = 4
# Most tokens of a text: `MPlugPreprocessor`'s `tokenizer_max_length`.
_TEXT_TOKENS = 25

_TRAIN_KEYS = {
    "train_iters_per_epoch": "run.steps",
    "optimizer_hook": "optimizer.clip_norm",
    "lr_scheduler_hook": "schedule.kind",
    "use_fp16": "run.precision",
    "seed": "seed",
}
"""Entries of ``train`` that are not taken, with the recipe's keys for them."""
_KNOWN_TRAIN_KEYS = {
    "work_dir",
    "max_epochs",
    "dataloader",
    "optimizer",
    "lr_scheduler",
    "hooks",
    "checkpoint",
    "logging",
}
@dataclass(frozen=True)
class Plan:
    """What a trainer runs."""

    recipe: Tables
    """The recipe."""
    steps_per_epoch: int
    """Optimizer steps of an epoch."""
    save_every: int
    """Steps from one checkpoint to the next."""
    by_epoch: bool
    """Whether checkpoints are called by their epochs."""
    keeps_best: bool
    """Whether the best model is written too."""
    best_metric: str
    """What the original calls the figure that decides."""
    most_files: int | None
    """How many weight files are kept; all if ``None``."""


def plan(sources: Sources) -> Plan:
    """The recipe of a trainer.

    :raises Unsupported: for what a recipe cannot say.
    :raises OptionError: for what cannot be.
    """
    train = sources.config.get("train", ConfigDict())
    _check_train(train)
    loader = Options("train.dataloader", train.get("dataloader", {}))
    optimizer = Options("train.optimizer", _needed(train, "optimizer"))
    options = Options("train.optimizer.options", optimizer.take("options", {}))
    accumulated = options.whole("cumulative_iters", 1)
    batch = loader.whole("batch_size_per_gpu", None)
    per_epoch = math.ceil(sources.train_rows / (batch * accumulated))
    hooks = RunHooks(sources, per_epoch, accumulated)
    threads = _threads()
    is_ordered = sources.task == Tasks.image_text_retrieval
    recipe = {
        "output": os.fspath(sources.work_dir),
        "seed": sources.seed,
        "objective": _objective(sources),
        "start": _start(sources),
        "data": {
            "kind": "annotations",
            "train": os.fspath(sources.train),
            **({} if sources.held_out is None else {"held_out": os.fspath(sources.held_out)}),
            "shuffle": bool(loader.take("shuffle", True)),
        },
        "run": {
            "epochs": sources.max_epochs,
            "drop_last": bool(loader.take("drop_last", False)),
            "batch_size": batch * accumulated,
            # Negatives come from the micro-batch.
            "micro_batch_size": batch if is_ordered else min(math.ceil(batch * accumulated / threads), _MICRO_BATCH),
            "threads": threads,
            "data_threads": max(1, loader.whole("workers_per_gpu", 1, least=0)),
            "precision": "f16" if sources.use_fp16 else "f32",
            **hooks.run,
        },
        "optimizer": _optimizer(optimizer, options),
        "schedule": schedule(Options("train.lr_scheduler", train.get("lr_scheduler") or {}), accumulated),
        "evaluation": hooks.evaluation,
    }
    # They decide how fast batches come, not what is in them.
    loader.leave("pin_memory", "persistent_workers", "prefetch_factor")
    loader.finish("run.batch_size, run.data_threads and data.shuffle")
    return Plan(
        recipe,
        per_epoch,
        hooks.run["checkpoint_every"],
        hooks.by_epoch,
        hooks.keeps_best,
        hooks.best_metric,
        hooks.most_files,
    )


def _needed(train: Mapping[str, Any], key: str) -> Any:
    if train.get(key) is None:
        raise OptionError(
            f"train.{key}: expected a dict such as {{'type': 'AdamW', 'lr': 1e-5, 'weight_decay': 0.02}}, found none; the model's "
            "configuration.json or cfg_modify_fn sets it"
        )
    return train[key]


def _check_train(train: Mapping[str, Any]) -> None:
    for key, value in train.items():
        if key in _KNOWN_TRAIN_KEYS or value in (None, False):
            continue
        nearest = _TRAIN_KEYS.get(key)
        if nearest is None:
            warnings.warn(f"train.{key}: nothing reads it here, and the original has no such entry", UserWarning, stacklevel=2)
            continue
        raise Unsupported(f"train.{key}: not taken here; a recipe of mplug_rs.train has {nearest}")


def _threads() -> int:
    """The processors that may be used, or fewer where the environment says so, as for the engine."""
    for name in ["MPLUG_THREADS", "OMP_NUM_THREADS"]:
        if os.environ.get(name, "").isdecimal():
            return max(1, int(os.environ[name]))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _objective(sources: Sources) -> Tables:
    objective: Tables = {"kind": OBJECTIVES[sources.task]}
    if sources.task == Tasks.image_text_retrieval:
        settings = _settings(sources.model)
        is_distilled = settings.get("distill", "true").lower() not in ("false", "no", "off")
        objective |= {
            "queue_size": int(settings.get("queue_size", 65536)),
            "momentum": float(settings.get("momentum", 0.995)),
            "distillation": float(settings.get("alpha", 0.4)) if is_distilled else 0.0,
        }
    return objective


def _start(sources: Sources) -> Tables:
    preprocessor = sources.config.get("preprocessor") or {}
    tokens = preprocessor.get("tokenizer_max_length") or (preprocessor.get("train") or {}).get("tokenizer_max_length")
    return {
        "model": os.fspath(sources.model),
        "max_text_tokens": tokens or _TEXT_TOKENS,
        "dropout": _dropout(sources.model),
    }


def _settings(model: Path) -> dict[str, str]:
    """The plain entries of ``config.yaml``."""
    path = model / "config.yaml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {name: value.strip("'\"") for name, value in re.findall(r"^(\w+):[ \t]*([^#\s][^#\n]*?)[ \t]*(?:#.*)?$", text, re.MULTILINE)}


def _dropout(model: Path) -> float:
    """The dropout of texts, which the original's network takes from the BERT configuration."""
    path = model / _settings(model).get("bert_config", "config_bert.json")
    bert = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    of_hidden, of_attention = bert.get("hidden_dropout_prob", 0.1), bert.get("attention_probs_dropout_prob", 0.1)
    if of_hidden != of_attention:
        warnings.warn(
            f"{path}: hidden_dropout_prob {of_hidden} and attention_probs_dropout_prob {of_attention} differ; {of_hidden} is used for both",
            UserWarning,
            stacklevel=2,
        )
    return float(of_hidden)


def _optimizer(optimizer: Options, options: Options) -> Tables:
    kind = str(optimizer.needed("type"))
    read: dict[str, Callable[[], Tables]] = {
        "AdamW": lambda: {"kind": "adamw", "weight_decay": optimizer.number("weight_decay", 0.01), **_moments(optimizer)},
        "Adam": lambda: {"kind": "adam", "weight_decay": optimizer.number("weight_decay", 0.0), **_moments(optimizer)},
        "SGD": lambda: {
            "kind": "sgd",
            "weight_decay": optimizer.number("weight_decay", 0.0),
            "momentum": optimizer.number("momentum", 0.0),
            "nesterov": bool(optimizer.take("nesterov", False)),
        },
    }
    if kind not in read:
        raise Unsupported(f"train.optimizer.type: expected {', '.join(read)}, found {kind}; a recipe has optimizer.kind")
    clip = Options("train.optimizer.options.grad_clip", options.take("grad_clip") or {})
    tables = {
        **read[kind](),
        "learning_rate": optimizer.number("lr", 1e-3),
        # One group of parameters, as the original's trainer has it.
        "groups": "single",
        "clip_norm": clip.number("max_norm", 0.0),
    }
    if clip.number("norm_type", 2.0) != 2.0:
        raise Unsupported("train.optimizer.options.grad_clip.norm_type: expected 2, as optimizer.clip_norm has it")
    options.leave("loss_keys")
    clip.finish("optimizer.clip_norm")
    options.finish("optimizer.clip_norm and run.batch_size")
    optimizer.finish("optimizer.kind, learning_rate, weight_decay, betas, eps, momentum and nesterov")
    return tables


def _moments(optimizer: Options) -> Tables:
    betas = optimizer.take("betas", (0.9, 0.999))
    return {"betas": [float(beta) for beta in betas], "eps": optimizer.number("eps", 1e-8)}
