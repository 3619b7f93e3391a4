"""The original's class of mPLUG models, which is not here: a pipeline is given the model's id or folder."""

from __future__ import annotations

from .._absent import Absent
from . import _NEAREST

MPlugForAllTasks = Absent("models.multi_modal.MPlugForAllTasks", _NEAREST)

__all__ = ["MPlugForAllTasks"]
