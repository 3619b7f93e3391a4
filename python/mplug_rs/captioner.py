"""Captions of pictures."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np

from . import _native
from ._model import Language, Model, OnError, in_order, prepared, raised, run_all
from ._pictures import Picture, batches, is_many
from ._results import Caption, Explanation, Keyword, Sampling, WordMap
from .errors import MplugError, OptionError


class GenerationOptions(TypedDict, total=False):
    """How captions are written; what is absent is the model's own."""

    language: Language | None
    """Of a model that writes several."""
    prefix: str | None
    """Every caption begins with this text."""
    forbid: str | Sequence[str]
    """Words, or several in a row, that no caption has."""
    include: str | Sequence[str]
    """Words, or several in a row, that every caption has."""
    diverse: float | None
    """Of several captions, leave out those that differ from a better one in less than this share of their tokens."""
    finished_only: bool
    """Replace captions that never ended (``is_finished`` is false) by captions that did; not where they are sampled."""
    tags: int | None
    """The largest number of keywords of a picture, which are ``tags`` of its best caption."""
    beams: int | None
    """Beam width."""
    min_new_tokens: int | None
    """Tokens before a caption may end."""
    max_new_tokens: int | None
    """Most tokens of a caption."""
    sample: Sampling | None
    """Draw words at random."""


class CaptionOptions(GenerationOptions, total=False):
    """How captions are written, and how pictures are taken."""

    exif: bool
    """Turn PIL pictures upright by their EXIF entry; files always are."""


class CallOptions(CaptionOptions, total=False):
    """How a call goes through its pictures."""

    batch_size: int
    """Pictures that pass through the model together (4); changes speed and memory, never a caption."""
    on_error: OnError
    """``"return"`` puts a picture's error into its place, ``"raise"``, the default, raises the first one."""
    progress: bool | None
    """A bar; by default over many pictures where there is a terminal or a notebook."""


class Captioner(Model):
    """Writes captions.

    ``captioner(picture)`` gives a :class:`Caption`, ``captioner([picture, ...])`` a list of them, with ``captions=n`` the ``n`` best
    of each, best first. A caption depends on its picture alone: not on its neighbours, their number or the number of threads.
    """

    def _load(self) -> Any:
        return _native.Captioner(self._arguments)

    @overload
    def __call__(self, pictures: list[Any], *, captions: None = None, **options: Unpack[CallOptions]) -> list[Caption]: ...
    @overload
    def __call__(self, pictures: list[Any], *, captions: int, **options: Unpack[CallOptions]) -> list[list[Caption]]: ...
    @overload
    def __call__(self, pictures: Picture, *, captions: None = None, **options: Unpack[CallOptions]) -> Caption: ...
    @overload
    def __call__(self, pictures: Picture, *, captions: int, **options: Unpack[CallOptions]) -> list[Caption]: ...
    @overload
    def __call__(self, pictures: Iterator[Any], *, captions: None = None, **options: Unpack[CallOptions]) -> list[Caption]: ...
    @overload
    def __call__(self, pictures: Iterator[Any], *, captions: int, **options: Unpack[CallOptions]) -> list[list[Caption]]: ...

    def __call__(self, pictures: Any, *, captions: int | None = None, **options: Unpack[CallOptions]) -> Any:
        """Captions of a picture, or of several.

        :param pictures: a picture, or a list, tuple or iterator of pictures: a path, bytes, a file object, a PIL picture, an array of
            uint8, ``{"image": picture}``; an address where ``allow_urls`` was given.
        :param captions: how many of each, best first; at most as many as beams. The best alone by default.
        :param options: :class:`CallOptions`.
        """
        return self._call(pictures, captions, **options)

    def _call(
        self,
        pictures: Any,
        captions: int | None,
        *,
        batch_size: int = 4,
        on_error: OnError = "raise",
        progress: bool | None = None,
        **options: Unpack[CaptionOptions],
    ) -> Any:
        run = self._batch_runner(captions, **options)
        if not is_many(pictures):
            return raised(run([pictures])[0], on_error)
        return run_all(pictures, run, batch_size=batch_size, on_error=on_error, progress=progress)

    def stream(
        self,
        pictures: Iterable[Picture],
        *,
        batch_size: int = 4,
        captions: int | None = None,
        **options: Unpack[CaptionOptions],
    ) -> Iterator[Any]:
        """Captions one after the other, in the pictures' order, while the pictures come: no more than a batch is held.

        A picture's error is a value among the results: ``isinstance(found, MplugError)``.
        """
        run = self._batch_runner(captions, **options)
        for batch in batches(pictures, batch_size):
            yield from run(batch)

    def explain(
        self,
        picture: Picture,
        *,
        method: Literal["ablation", "attention"] = "ablation",
        exif: bool = False,
        **options: Unpack[GenerationOptions],
    ) -> Explanation:
        """Writes the best caption of a picture, and finds which part of the picture each of its words stands on.

        :param method: ``"ablation"`` leaves parts of the picture out and measures how much less likely a word becomes, in nats;
            ``"attention"``, which is faster, takes how much the decoder looks at a part.
        :param exif: turn a PIL picture upright by its EXIF entry.
        :param options: :class:`GenerationOptions`.
        """
        if method not in ("ablation", "attention"):
            raise OptionError(f"method: expected 'ablation' or 'attention', found {method!r}")
        good, order = prepared([picture], exif)
        raised(order[0], "raise")
        found, grid, words = self._native.explain(good[0], request_of(None, **options), method == "attention")
        text, raw_text, score, token_ids, is_finished = found
        caption = Caption(text, raw_text, score, tuple(token_ids), (), is_finished)
        maps = (WordMap(text, log_prob, lost, np.array(values, np.float32).reshape(grid, grid)) for text, log_prob, lost, values in words)
        return Explanation(caption, tuple(maps))

    async def acall(self, pictures: Any, *, captions: int | None = None, **options: Unpack[CallOptions]) -> Any:
        """A call on a thread of the event loop's executor."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, partial(self._call, pictures, captions, **options))

    def _batch_runner(
        self, captions: int | None, *, exif: bool = False, **options: Unpack[GenerationOptions]
    ) -> Callable[[Sequence[Picture]], list[Any]]:
        """What gives the results of a batch, errors as values."""
        request = request_of(captions, **options)

        def run(batch: Sequence[Picture]) -> list[Any]:
            good, order = prepared(batch, exif)
            found = self._native.caption(good, request) if good else []
            return [_result(entry, captions is None) for entry in in_order(order, found)]

        return run


def request_of(
    captions: int | None,
    *,
    language: Language | None = None,
    prefix: str | None = None,
    forbid: str | Sequence[str] = (),
    include: str | Sequence[str] = (),
    diverse: float | None = None,
    finished_only: bool = False,
    tags: int | None = None,
    beams: int | None = None,
    min_new_tokens: int | None = None,
    max_new_tokens: int | None = None,
    sample: Sampling | None = None,
) -> str:
    """What the native module takes: a ``CaptionRequest`` in JSON."""
    return json.dumps(
        {
            "captions": captions,
            "language": language,
            "prefix": prefix,
            "forbidden_words": _words(forbid),
            "required_words": _words(include),
            "min_difference": diverse,
            "finished_only": finished_only,
            "keywords": tags,
            "beams": beams,
            "min_new_tokens": min_new_tokens,
            "max_new_tokens": max_new_tokens,
            "sampling": None if sample is None else dataclasses.asdict(sample),
        }
    )


def _words(words: str | Sequence[str]) -> list[str]:
    return [words] if isinstance(words, str) else list(words)


def _result(found: Any, is_best_alone: bool) -> Caption | list[Caption] | MplugError:
    if isinstance(found, MplugError):
        return found
    captions, keywords = found
    tags = tuple(Keyword(word, weight) for word, weight in keywords)
    all_of_them = [
        Caption(text, raw_text, score, tuple(token_ids), tags if index == 0 else (), is_finished)
        for index, (text, raw_text, score, token_ids, is_finished) in enumerate(captions)
    ]
    if not is_best_alone:
        return all_of_them
    if not all_of_them:
        return MplugError("no caption with every required word was found; more `beams` or `max_new_tokens` may help")
    return all_of_them[0]


