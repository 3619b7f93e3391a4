"""The module paths of the package ``modelscope``, for programs that were written for its mPLUG models.

Such a program runs here when ``modelscope`` in its imports becomes ``mplug_rs.modelscope``: :func:`pipeline` for captions, answers
and how well a text fits a picture. Names that training programs import are there too, and say what is nearest when they are used.
"""

from __future__ import annotations

from .hub.snapshot_download import snapshot_download
from .models import Model
from .msdatasets import MsDataset
from .pipelines import Pipeline, pipeline
from .utils.constant import Tasks

__all__ = ["Model", "MsDataset", "Pipeline", "Tasks", "pipeline", "snapshot_download"]
