"""What the pipelines of all tasks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from ..._pictures import batches
from ...errors import Unsupported

Result: TypeAlias = dict[str, Any]
"""One entry, under a key of :class:`~mplug_rs.modelscope.outputs.OutputKeys`."""

_LIST_BATCH = 4
"""Inputs of a list that pass through the model together where the caller does not say."""

_NEAREST_OPTIONS = (
    "a call takes batch_size; the options of the search (beams, min_new_tokens, max_new_tokens, sample) are those of "
    "mplug_rs.Captioner and mplug_rs.Answerer"
)
_NEAREST_PARTS = (
    "a pipeline here is one call; mplug_rs.Captioner, Answerer and Matcher give scores, token ids, several results and features"
)
_PARTS = frozenset({"model", "models", "preprocessor", "preprocess", "forward", "postprocess", "cfg", "device"})


class Pipeline(ABC):
    """A model with its task. Called with one input it gives a result, with a list of inputs a list of results.

    An input is a picture (a path, an address, a PIL picture, an array of uint8), ``(picture, text)``, or ``{"image": picture}``
    with ``"question"`` or ``"text"`` beside it. A result depends on its input alone, whatever ``batch_size`` is.
    """

    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload] # an input may be anything else but a list
        self, input: list[Any], *, batch_size: int | None = None, **options: Any
    ) -> list[Result]: ...
    @overload
    def __call__(
        self, input: Iterator[Any], *, batch_size: int | None = None, **options: Any
    ) -> Iterator[Result]: ...
    @overload
    def __call__(self, input: Any, *, batch_size: int | None = None, **options: Any) -> Result: ...

    def __call__(self, input: Any, *, batch_size: int | None = None, **options: Any) -> Any:
        """Gives the result of an input, or a list of the results of a list; of an iterator, results while its inputs come.

        :param batch_size: inputs that pass through the model together; changes speed and memory, never a result.
        """
        if options:
            raise Unsupported(f"{', '.join(sorted(options))}: not taken here; {_NEAREST_OPTIONS}")
        if isinstance(input, list):
            return self._run(input, _LIST_BATCH if batch_size is None else batch_size)
        if isinstance(input, Iterator) and not hasattr(input, "read"):
            size = 1 if batch_size is None else batch_size
            return (result for batch in batches(input, size) for result in self._run(batch, size))
        return self._run([input], 1)[0]

    @abstractmethod
    def _run(self, inputs: list[Any], batch_size: int) -> list[Result]:
        """The result of each input."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            nearest = f"; {_NEAREST_PARTS}" if name in _PARTS else ""
            raise AttributeError(f"{type(self).__name__} has no attribute {name}{nearest}")
