"""Training by a recipe."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from . import _native
from .errors import OptionError

Event: TypeAlias = dict[str, Any]
"""What happened, as a line of the run's ``log.jsonl`` has it: ``event`` says what, such as ``step`` or ``evaluated``."""
Callback: TypeAlias = Callable[[Event], object]
"""What hears of events."""


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """How a run ended."""

    steps: int
    """Steps done in all."""
    loss: float | None
    """Mean loss of the last log line; ``None`` if the run was finished already."""
    best: tuple[float, float] | None
    """The best evaluation's score, of the figure that decides, and its loss."""
    stopped_early: bool
    """Whether nothing became better."""
    skipped: int
    """Pictures that could not be read."""


def train(
    recipe: str | os.PathLike[str] | Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    from_step: int | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainingSummary:
    """Trains as a recipe says: a file in TOML, or its tables as a mapping.

    Ctrl-C, or an exception of a callback, ends the run after the step at hand; its state is saved, and ``resume=True`` goes on.

    :param settings: these take the place of the recipe's: ``{"run.steps": 100}``.
    :param resume: goes on from the last checkpoint of the run in the recipe's ``output``.
    :param from_step: goes on from the checkpoint of this step; later ones are set aside.
    :param callbacks: each gets every event as a dict, such as ``{"event": "step", "step": 50, "loss": 2.1, ...}``.
    """
    for callback in callbacks:
        if not callable(callback):
            raise OptionError(f"callbacks: expected functions of an event, found {type(callback).__name__}")
    given = json.dumps(recipe).encode() if isinstance(recipe, Mapping) else os.fsdecode(recipe)
    pairs = [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in (settings or {}).items()]

    def hear(text: str) -> None:
        event = json.loads(text)
        for callback in callbacks:
            callback(event)

    return TrainingSummary(*_native.train(given, pairs, resume, from_step, hear if callbacks else None))
