"""Answers to questions about pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypedDict, Unpack, overload

from . import _native
from ._model import Model, OnError, prepared, raised, run_all
from ._pictures import Picture, batches, is_many
from ._results import Answer
from .errors import MplugError, OptionError


class AnswerOptions(TypedDict, total=False):
    """How a call goes through its questions; what is absent is the model's own."""

    answers: int | None
    """How many of each, best first; the best alone by default."""
    batch_size: int
    """Questions that pass through the model together (4); changes speed and memory, never an answer."""
    beams: int | None
    """Beam width."""
    min_new_tokens: int | None
    """Tokens before an answer may end."""
    max_new_tokens: int | None
    """Most tokens of an answer."""
    exif: bool
    """Turn PIL pictures upright by their EXIF entry; files always are."""
    on_error: OnError
    """``"return"`` puts an error into its question's place, ``"raise"``, the default, raises the first one."""
    progress: bool | None
    """A bar; by default over many questions where there is a terminal or a notebook."""


class Answerer(Model):
    """Answers questions about pictures.

    ``answerer(picture, question)`` gives an :class:`Answer`; with a list of questions a list of answers about the one picture,
    which is encoded once; with lists of both, of the same length, one answer each.
    """

    def _load(self) -> Any:
        return _native.Answerer(self._arguments)

    @overload
    def __call__(self, pictures: list[Any], questions: str | list[str], **options: Unpack[AnswerOptions]) -> list[Answer]: ...
    @overload
    def __call__(self, pictures: Picture, questions: list[str], **options: Unpack[AnswerOptions]) -> list[Answer]: ...
    @overload
    def __call__(self, pictures: Picture, questions: str, **options: Unpack[AnswerOptions]) -> Answer: ...

    def __call__(self, pictures: Any, questions: Any, **options: Unpack[AnswerOptions]) -> Any:
        """Answers about a picture, or about several.

        :param pictures: a picture, or as many as questions.
        :param questions: a question, or a list.
        :param options: :class:`AnswerOptions`.
        """
        return self._call(pictures, questions, **options)

    def _call(
        self,
        pictures: Any,
        questions: Any,
        *,
        answers: int | None = None,
        batch_size: int = 4,
        beams: int | None = None,
        min_new_tokens: int | None = None,
        max_new_tokens: int | None = None,
        exif: bool = False,
        on_error: OnError = "raise",
        progress: bool | None = None,
    ) -> Any:
        request = _request(beams, min_new_tokens, max_new_tokens)
        run = partial(self._batch, request=request, answers=answers, exif=exif)
        if isinstance(questions, str) and not is_many(pictures):
            return raised(run([(pictures, questions)])[0], on_error)
        pairs = _pairs(pictures, questions)
        return run_all(pairs, run, batch_size=batch_size, on_error=on_error, progress=progress)

    def stream(
        self,
        pairs: Iterable[tuple[Picture, str]],
        *,
        batch_size: int = 4,
        answers: int | None = None,
        beams: int | None = None,
        min_new_tokens: int | None = None,
        max_new_tokens: int | None = None,
        exif: bool = False,
    ) -> Iterator[Any]:
        """Answers one after the other, in order, while pairs of a picture and a question come. An error is a value."""
        request = _request(beams, min_new_tokens, max_new_tokens)
        for batch in batches(pairs, batch_size):
            yield from self._batch(batch, request=request, answers=answers, exif=exif)

    async def acall(self, pictures: Any, questions: Any, **options: Unpack[AnswerOptions]) -> Any:
        """A call on a thread of the event loop's executor."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, partial(self._call, pictures, questions, **options))

    def _batch(
        self, pairs: Sequence[tuple[Picture, str]], *, request: str, answers: int | None, exif: bool
    ) -> list[Any]:
        # A picture that comes again in the batch is encoded once.
        numbers: dict[int, int] = {}
        for picture, _ in pairs:
            numbers.setdefault(id(picture), len(numbers))
        different = {numbers[id(picture)]: picture for picture, _ in pairs}
        good, order = prepared([different[number] for number in range(len(different))], exif)
        asked = [(order[numbers[id(picture)]], question) for picture, question in pairs]
        questions = [(index, question) for index, question in asked if isinstance(index, int)]
        found = iter(self._native.answer(good, questions, 1 if answers is None else answers, request) if questions else [])
        results = [index if isinstance(index, MplugError) else next(found) for index, _ in asked]
        return [_result(entry, answers is None) for entry in results]


def _request(beams: int | None, min_new_tokens: int | None, max_new_tokens: int | None) -> str:
    return json.dumps({"beams": beams, "min_new_tokens": min_new_tokens, "max_new_tokens": max_new_tokens})


def _pairs(pictures: Any, questions: Any) -> list[tuple[Picture, str]]:
    if isinstance(questions, str):
        return [(picture, questions) for picture in pictures]
    questions = list(questions)
    if not is_many(pictures):
        return [(pictures, question) for question in questions]
    pictures = list(pictures)
    if len(pictures) != len(questions):
        raise OptionError(
            f"questions: expected as many as pictures, {len(pictures)}, or one of them, found {len(questions)}"
        )
    return list(zip(pictures, questions, strict=True))


def _result(found: Any, is_best_alone: bool) -> Any:
    if isinstance(found, MplugError):
        return found
    all_of_them = [
        Answer(text, raw_text, score, tuple(token_ids), is_finished=is_finished)
        for text, raw_text, score, token_ids, is_finished in found
    ]
    return all_of_them[0] if is_best_alone else all_of_them
