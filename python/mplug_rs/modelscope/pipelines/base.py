"""What the pipelines of all tasks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, TypeAlias, overload

from ..._pictures import batches
from ...errors import Unsupported

Result: TypeAlias = dict[str, Any]
"""One entry, under a key of :class:`~mplug_rs.modelscope.outputs.OutputKeys`."""

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

    An input is a picture (a path, an address, a PIL picture, an array of uint8), ``(picture, text)``, or ``{"image": picture}`` with
    ``"question"`` or ``"text"`` beside it. A result depends on its input alone, whatever ``batch_size`` is.
    """

    @overload
    def __call__(self, input: list[Any], *, batch_size: int | None = None, **options: Any) -> list[Result]: ...
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
            return [result for batch in batches(input, batch_size or 4) for result in self._run(batch)]
        if isinstance(input, Iterator) and not hasattr(input, "read"):
            return (result for batch in batches(input, batch_size or 1) for result in self._run(batch))
        return self._run([input])[0]

    @abstractmethod
    def _run(self, batch: list[Any]) -> list[Result]:
        """The results of inputs that pass through the model together."""

    def __getattr__(self, name: str) -> Any:
        nearest = f"; {_NEAREST_PARTS}" if name in _PARTS else ""
        raise AttributeError(f"{type(self).__name__} has no attribute {name}{nearest}")
