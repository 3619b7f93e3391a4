"""Models as objects, which are not here: a pipeline is given the model's id or folder."""

from __future__ import annotations

from .._absent import Absent

_NEAREST = (
    "give the model's id or folder itself: mplug_rs.modelscope.pipelines.pipeline(task, model='owner/name'), "
    "or mplug_rs.Captioner, Answerer or Matcher('owner/name')"
)

Model = Absent("models.Model", _NEAREST)
TorchModel = Absent("models.TorchModel", _NEAREST)

__all__ = ["Model", "TorchModel"]
