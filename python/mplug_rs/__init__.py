"""mPLUG: captions in Chinese and English, answers to questions about pictures, and how well a text fits a picture.

>>> import mplug_rs
>>> captioner = mplug_rs.Captioner("caption-base-zh")  # doctest: +SKIP
>>> print(captioner("photo.jpg"))  # doctest: +SKIP
一群人在海滩上
"""

from __future__ import annotations

import os
from pathlib import Path

from . import _native, errors, metrics
from ._model import DownloadBar
from ._results import Answer, Caption, Explanation, Keyword, Sampling, WordMap
from .answerer import Answerer
from .batch_captioner import BatchCaptioner
from .captioner import Captioner
from .errors import (
    FetchError,
    InternalError,
    ModelError,
    ModelNotFound,
    MplugError,
    OptionError,
    PictureError,
    Unsupported,
)
from .matcher import Matcher, check
from .training import TrainingSummary, train

__version__: str = _native.VERSION


def pull(name: str, revision: str | None = None, *, progress: bool | None = None) -> Path:
    """Makes sure that a model of ModelScope's hub is on this machine, and gives its folder. A stopped download goes on.

    A bar shows how far it is where there is a terminal; ``progress`` says it otherwise.
    """
    with DownloadBar(progress) as bar:
        return _native.pull(name, revision, bar.show if bar.is_shown else None)


def find_model(name: str | os.PathLike[str]) -> Path:
    """The folder of a model that is on this machine, by its name or path. Nothing is downloaded."""
    return Path(_native.find_model(os.fsdecode(name)))


def set_threads(threads: int | None) -> None:
    """How many threads models run on, in this process; ``None`` for one for each processor.

    ``MPLUG_THREADS``, or else ``OMP_NUM_THREADS``, says it where this is not called.
    """
    _native.set_threads(threads)


__all__ = [
    "Answer",
    "Answerer",
    "BatchCaptioner",
    "Caption",
    "Captioner",
    "Explanation",
    "FetchError",
    "InternalError",
    "Keyword",
    "Matcher",
    "ModelError",
    "ModelNotFound",
    "MplugError",
    "OptionError",
    "PictureError",
    "Sampling",
    "TrainingSummary",
    "Unsupported",
    "WordMap",
    "__version__",
    "check",
    "errors",
    "find_model",
    "metrics",
    "pull",
    "set_threads",
    "train",
]
