"""Trainers: a model, datasets and a configuration, which become one recipe of ``mplug train``."""

from __future__ import annotations

from .._absent import Absent
from .builder import build_trainer
from .trainer import EpochBasedTrainer, MPlugTrainer, NlpEpochBasedTrainer

_HOOKS = "mplug_rs.train(recipe, callbacks=[...]) has functions that hear of every step and evaluation"

TrainingArgs = Absent(
    "trainers.TrainingArgs", "build_trainer's cfg_modify_fn sets what it holds, and so does a recipe of mplug_rs.train"
)
Hook = Absent("trainers.Hook", _HOOKS)
Priority = Absent("trainers.Priority", _HOOKS)

__all__ = ["EpochBasedTrainer", "Hook", "MPlugTrainer", "NlpEpochBasedTrainer", "Priority", "TrainingArgs", "build_trainer"]
