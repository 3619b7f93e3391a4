"""What a recipe is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..utils.config import Config, ConfigDict


@dataclass(frozen=True)
class Sources:
    """What a recipe is made of."""

    config: Config
    """The configuration, with the caller's changes."""
    hooks: Sequence[ConfigDict]
    """Its hooks."""
    task: str
    """The task."""
    model: Path
    """The folder of the model to start from."""
    work_dir: Path
    """The run folder."""
    train: Path
    """The rows to learn from."""
    train_rows: int
    """Their number."""
    held_out: Path | None
    """The rows to evaluate on."""
    held_out_pictures: int
    """The number of their pictures, or of their questions."""
    max_epochs: int
    """How often all rows are seen."""
    seed: int
    """The seed."""
    use_fp16: bool
    """Whether products are rounded to 16 bits."""
