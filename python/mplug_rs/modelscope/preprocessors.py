"""Preprocessors, which are not here: pictures and texts are made ready by what reads them."""

from __future__ import annotations

from ._absent import Absent

_NEAREST = (
    "pipelines, mplug_rs.Captioner, Answerer and Matcher take pictures and texts as they are and make them ready as the "
    "model's folder says"
)

Preprocessor = Absent("preprocessors.Preprocessor", _NEAREST)
MPlugPreprocessor = Absent("preprocessors.MPlugPreprocessor", _NEAREST)
load_image = Absent("preprocessors.load_image", _NEAREST)

__all__ = ["MPlugPreprocessor", "Preprocessor", "load_image"]
