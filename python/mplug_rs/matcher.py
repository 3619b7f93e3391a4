"""How well texts fit pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from . import _native
from ._model import Model, OnError, in_order, prepared, raised
from ._pictures import Picture, batches, is_many
from .errors import MplugError

Scores: TypeAlias = npt.NDArray[np.float32]
"""Probabilities, or features, of float32."""


class Matcher(Model):
    """Gives the probability that a text describes a picture, and features of pictures and texts for search."""

    def _load(self) -> Any:
        return _native.Matcher(self._arguments)

    def __call__(
        self,
        pictures: Any,
        texts: str | Sequence[str],
        *,
        batch_size: int = 4,
        exif: bool = False,
        on_error: OnError = "raise",
    ) -> Scores:
        """The probability of each text for each picture.

        The shape is ``(pictures, texts)``; a single picture, and a single text, have no axis. With ``on_error="return"`` a picture
        that cannot be used has a row of NaN.
        """
        lines = [texts] if isinstance(texts, str) else list(texts)
        is_single = not is_many(pictures)
        rows: list[Any] = []
        for batch in batches([pictures] if is_single else pictures, batch_size):
            good, order = prepared(batch, exif)
            found = self._native.score(good, lines) if good else []
            rows.extend(raised(row, on_error) for row in in_order(order, found))
        nothing = [float("nan")] * len(lines)
        scores = np.array([nothing if isinstance(row, MplugError) else row for row in rows], dtype=np.float32)
        scores = scores.reshape(len(rows), len(lines))
        if isinstance(texts, str):
            scores = scores[:, 0]
        return np.asarray(scores[0] if is_single else scores, dtype=np.float32)

    def image_features(self, pictures: Any, *, batch_size: int = 4, exif: bool = False) -> Scores:
        """A feature ``(size,)`` of a picture, or ``(pictures, size)`` of several: their products with texts' are similarities."""
        is_single = not is_many(pictures)
        rows: list[Any] = []
        for batch in batches([pictures] if is_single else pictures, batch_size):
            good, order = prepared(batch, exif)
            found = self._native.image_features(good) if good else []
            rows.extend(raised(row, "raise") for row in in_order(order, found))
        features = np.array(rows, dtype=np.float32)
        return np.asarray(features[0] if is_single else features, dtype=np.float32)

    def text_features(self, texts: str | Sequence[str]) -> Scores:
        """A feature ``(size,)`` of a text, or ``(texts, size)`` of several."""
        lines = [texts] if isinstance(texts, str) else list(texts)
        features = np.array(self._native.text_features(lines), dtype=np.float32)
        return np.asarray(features[0] if isinstance(texts, str) else features, dtype=np.float32)

    async def acall(self, pictures: Any, texts: str | Sequence[str], **options: Any) -> Scores:
        """A call on a thread of the event loop's executor."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, partial(self, pictures, texts, **options))


def check(caption: str, picture: Picture, matcher: Matcher) -> float:
    """The probability that a caption is true of a picture."""
    return float(matcher(picture, str(caption)))
