"""Training by a recipe."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import _native


@dataclass(frozen=True, slots=True)
class Summary:
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


def run(
    recipe: str | os.PathLike[str],
    settings: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    callback: Callable[[dict[str, Any]], object] | None = None,
) -> Summary:
    """Trains as a recipe (TOML) says.

    ``settings`` take the place of the recipe's: ``{"run.steps": 100}``. ``callback`` gets every event as a dict, such as
    ``{"event": "step", "step": 50, "loss": 2.1, ...}``. Ctrl-C, or an exception of the callback, ends the run after the step at
    hand; its state is saved, and ``resume=True`` goes on.
    """
    pairs = [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in (settings or {}).items()]
    hear = None if callback is None else lambda event: callback(json.loads(event))
    return Summary(*_native.train(os.fsdecode(recipe), pairs, resume, hear))
