"""The pipelines of mPLUG's tasks."""

from __future__ import annotations

import os
from itertools import groupby
from typing import Any

from ..._pictures import batches
from ...answerer import Answerer
from ...captioner import Captioner
from ...matcher import Matcher
from ..outputs import OutputKeys
from .base import Pipeline, Result
from .inputs import pair_of, picture_of

Folder = str | os.PathLike[str]


class ImageCaptioningPipeline(Pipeline):
    """Gives ``{"caption": text}``, with a space between Chinese characters, as the original does."""

    def __init__(self, model: Folder) -> None:
        self._captioner = Captioner(model, allow_urls=True)

    def _run(self, inputs: list[Any], batch_size: int) -> list[Result]:
        captions = self._captioner([picture_of(entry) for entry in inputs], batch_size=batch_size)
        return [{OutputKeys.CAPTION: caption.raw_text} for caption in captions]


class VisualQuestionAnsweringPipeline(Pipeline):
    """Gives ``{"text": answer}``, with a space between Chinese characters, as the original does."""

    def __init__(self, model: Folder) -> None:
        self._answerer = Answerer(model, allow_urls=True)

    def _run(self, inputs: list[Any], batch_size: int) -> list[Result]:
        pairs = [pair_of(entry) for entry in inputs]
        answers = self._answerer(
            [picture for picture, _ in pairs], [question for _, question in pairs], batch_size=batch_size
        )
        return [{OutputKeys.TEXT: answer.raw_text} for answer in answers]


class ImageTextRetrievalPipeline(Pipeline):
    """Gives ``{"scores": [p0, p1]}``: the probabilities that the text does not fit the picture, and that it does."""

    def __init__(self, model: Folder) -> None:
        self._matcher = Matcher(model, allow_urls=True)

    def _run(self, inputs: list[Any], batch_size: int) -> list[Result]:
        results: list[Result] = []
        for batch in batches([pair_of(entry) for entry in inputs], batch_size):
            # A picture with several texts is encoded once.
            for _, group in groupby(batch, key=lambda pair: id(pair[0])):
                pairs = list(group)
                fits = self._matcher(pairs[0][0], [text for _, text in pairs]).tolist()
                results.extend({OutputKeys.SCORES: [1.0 - fit, fit]} for fit in fits)
        return results
