"""Trainers, which are not here: ``mplug_rs.train.run`` trains by a recipe."""

from __future__ import annotations

from ._absent import Absent

_NEAREST = "mplug_rs.train.run('recipe.toml'), or `mplug train recipe.toml`, trains by a recipe"


def _absent(name: str) -> Absent:
    return Absent(f"trainers.{name}", _NEAREST)


build_trainer = _absent("build_trainer")
EpochBasedTrainer = _absent("EpochBasedTrainer")
NlpEpochBasedTrainer = _absent("NlpEpochBasedTrainer")
TrainingArgs = _absent("TrainingArgs")
Hook = _absent("Hook")
Priority = _absent("Priority")

__all__ = ["EpochBasedTrainer", "Hook", "NlpEpochBasedTrainer", "Priority", "TrainingArgs", "build_trainer"]
