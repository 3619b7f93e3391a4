"""The pipelines of mPLUG's tasks."""

from __future__ import annotations

import os
from itertools import groupby
from typing import Any

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

    def _run(self, batch: list[Any]) -> list[Result]:
        pictures = [picture_of(entry) for entry in batch]
        captions = self._captioner(pictures, batch_size=len(batch))
        return [{OutputKeys.CAPTION: caption.raw_text} for caption in captions]


class VisualQuestionAnsweringPipeline(Pipeline):
    """Gives ``{"text": answer}``, with a space between Chinese characters, as the original does."""

    def __init__(self, model: Folder) -> None:
        self._answerer = Answerer(model, allow_urls=True)

    def _run(self, batch: list[Any]) -> list[Result]:
        pictures, questions = zip(*map(pair_of, batch), strict=True)
        answers = self._answerer(list(pictures), list(questions), batch_size=len(batch))
        return [{OutputKeys.TEXT: answer.raw_text} for answer in answers]


class ImageTextRetrievalPipeline(Pipeline):
    """Gives ``{"scores": [p0, p1]}``: the probabilities that the text does not fit the picture, and that it does."""

    def __init__(self, model: Folder) -> None:
        self._matcher = Matcher(model, allow_urls=True)

    def _run(self, batch: list[Any]) -> list[Result]:
        results: list[Result] = []
        # A picture with several texts is encoded once.
        for _, group in groupby(map(pair_of, batch), key=lambda pair: id(pair[0])):
            pairs = list(group)
            fits = self._matcher(pairs[0][0], [text for _, text in pairs]).tolist()
            results.extend({OutputKeys.SCORES: [1.0 - fit, fit]} for fit in fits)
        return results
