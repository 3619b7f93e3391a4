"""Makes a trainer of its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import Unsupported
from ..metainfo import Trainers
from .trainer import EpochBasedTrainer, MPlugTrainer, NlpEpochBasedTrainer

_TRAINERS: dict[str, type[EpochBasedTrainer]] = {
    Trainers.default: EpochBasedTrainer,
    Trainers.nlp_base_trainer: NlpEpochBasedTrainer,
    Trainers.mplug: MPlugTrainer,
}


def build_trainer(name: str = Trainers.default, default_args: Mapping[str, Any] | None = None) -> EpochBasedTrainer:
    """Makes a trainer: ``build_trainer(Trainers.nlp_base_trainer, dict(model=..., train_dataset=..., max_epochs=2))``.

    :param name: one of :class:`~mplug_rs.modelscope.metainfo.Trainers`.
    :param default_args: arguments of :class:`~mplug_rs.modelscope.trainers.EpochBasedTrainer`.
    """
    if name not in _TRAINERS:
        raise Unsupported(f"name: expected {', '.join(_TRAINERS)}, the trainers of mPLUG, found {name}")
    return _TRAINERS[name](**(default_args or {}))
