"""What all three models have in common."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, Literal, TypeAlias

from . import _pictures
from .errors import MplugError

Precision: TypeAlias = Literal["f32", "bf16", "int8"]
"""The precision of a model's products."""
Language: TypeAlias = Literal["zh", "en"]
"""A language of captions."""
OnError: TypeAlias = Literal["raise", "return"]
"""Whether a picture's error is raised, or stands among the results in the picture's place."""
ModelName: TypeAlias = "str | os.PathLike[str] | None"
"""A folder, or a model's name on the hub. ``None`` is the built-in demo model, which knows drawn pictures only."""

_DEMO = (
    "this is the small built-in demo model, which knows drawn pictures only (shapes and simple objects); "
    "give the name or the folder of a model for photographs"
)


class Model:
    """A model and how it was opened. It is pickled as that, and loaded anew."""

    def __init__(
        self,
        model: ModelName = None,
        *,
        precision: Precision | None = None,
        image_size: int | None = None,
        strict: bool = False,
        allow_urls: bool = False,
        allowed_hosts: Sequence[str] = (),
        adapter: str | os.PathLike[str] | None = None,
    ) -> None:
        if model is None:
            warnings.warn(_DEMO, UserWarning, stacklevel=3)
        name = None if model is None else os.fsdecode(model)
        self._arguments: tuple[Any, ...] = (
            name,
            precision,
            image_size,
            strict,
            allow_urls,
            list(allowed_hosts),
            None if adapter is None else os.fsdecode(adapter),
        )
        self._native: Any = self._load()

    def _load(self) -> Any:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return {"_arguments": self._arguments}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._arguments = state["_arguments"]
        self._native = self._load()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._arguments[0] or 'demo'!r})"


def prepared(pictures: Sequence[Any], exif: bool) -> tuple[list[Any], list[MplugError | int]]:
    """The pictures that reach the engine, and for each of all its index among them, or why it does not reach it."""
    good: list[Any] = []
    order: list[MplugError | int] = []
    for picture in pictures:
        try:
            ready = _pictures.prepare(picture, exif=exif)
        except MplugError as error:
            order.append(error)
            continue
        order.append(len(good))
        good.append(ready)
    return good, order


def in_order(order: Iterable[MplugError | int], found: Sequence[Any]) -> Iterator[Any]:
    """The results of all pictures, errors as values."""
    return (entry if isinstance(entry, MplugError) else found[entry] for entry in order)


def raised(found: Any, on_error: OnError) -> Any:
    """A result; an error is raised, unless it is to be returned."""
    if isinstance(found, MplugError) and on_error == "raise":
        raise found
    return found


def run_all(
    items: Iterable[Any],
    run: Callable[[list[Any]], list[Any]],
    *,
    batch_size: int,
    on_error: OnError,
    progress: bool | None,
) -> list[Any]:
    """The results of all items, batch by batch, with a bar."""
    results: list[Any] = []
    bar = Bar(len(items) if isinstance(items, Sized) else None, progress)
    try:
        for batch in _pictures.batches(items, batch_size):
            results.extend(raised(found, on_error) for found in run(batch))
            bar.advance(len(batch))
    finally:
        bar.close()
    return results


class Bar:
    """A bar on standard error over work on many pictures, where there is a terminal or a notebook to see it."""

    LEAST = 32
    """Shorter work has no bar."""

    def __init__(self, total: int | None, shown: bool | None) -> None:
        is_long = total is None or total >= self.LEAST
        self._is_shown = is_long and (sys.stderr.isatty() or _is_notebook()) if shown is None else shown
        self._total = total
        self._done = 0

    def advance(self, count: int) -> None:
        """``count`` more are done."""
        self._done += count
        if self._is_shown:
            of = "" if self._total is None else f"/{self._total}"
            print(f"\r{self._done}{of} pictures", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """The work is over."""
        if self._is_shown and self._done:
            print(file=sys.stderr)
        self._is_shown = False


class DownloadBar:
    """A line on standard error that says how much of a model is here."""

    def __init__(self, shown: bool | None) -> None:
        self.is_shown = sys.stderr.isatty() or _is_notebook() if shown is None else shown
        self._files: dict[str, tuple[int, int]] = {}

    def show(self, path: str, have: int, size: int) -> None:
        """``have`` of the ``size`` bytes of a file are here. Called from several threads."""
        self._files[path] = (have, size)
        files = list(self._files.values())
        here, all_of_it = (sum(column) / 1e6 for column in zip(*files, strict=True))
        print(f"\r{here:.1f}/{all_of_it:.1f} MB", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> DownloadBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._files:
            print(file=sys.stderr)


def _is_notebook() -> bool:
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None else None
    return found is not None and type(found).__name__ == "ZMQInteractiveShell"
