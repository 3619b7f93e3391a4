"""
The engine of `mplug_rs`.
"""

from _typeshed import SupportsGetItem
from os import PathLike
from pathlib import Path
from typing import Any, Final, SupportsIndex, final

__all__ = ["VERSION", "Answerer", "Captioner", "Matcher", "_panic", "convert", "evaluate", "find_model", "picture_columns", "pull", "pull_dataset", "record_columns", "set_threads", "train"]

VERSION: Final[str]
"""
The version of the package.
"""

@final
class Answerer:
    """
    A loaded model that answers questions.
    """
    def __new__(cls, /, arguments: tuple[str | PathLike[str] | None, str | None, SupportsIndex | None, bool, bool, SupportsGetItem[int, str], str | PathLike[str] | None]) -> Answerer: ...
    def answer(self, /, pictures: SupportsGetItem[int, tuple[SupportsIndex, SupportsIndex, SupportsGetItem[int, SupportsIndex]] | tuple[str, str | PathLike[str]] | SupportsGetItem[int, SupportsIndex]], questions: SupportsGetItem[int, tuple[SupportsIndex, str]], answers: SupportsIndex, request: str) -> list[Any]:
        """
        The answers to each `(index of a picture, question)`, best first, or an exception in their place. A picture is encoded once.
        `request` is a `SearchRequest` in JSON.
        """

@final
class Captioner:
    """
    A loaded captioning model.
    """
    def __new__(cls, /, arguments: tuple[str | PathLike[str] | None, str | None, SupportsIndex | None, bool, bool, SupportsGetItem[int, str], str | PathLike[str] | None]) -> Captioner: ...
    def caption(self, /, pictures: SupportsGetItem[int, tuple[SupportsIndex, SupportsIndex, SupportsGetItem[int, SupportsIndex]] | tuple[str, str | PathLike[str]] | SupportsGetItem[int, SupportsIndex]], request: str) -> list[Any]:
        """
        Captions of each picture, or an exception in its place. `request` is a `CaptionRequest` in JSON.
        """
    def explain(self, /, picture: tuple[SupportsIndex, SupportsIndex, SupportsGetItem[int, SupportsIndex]] | tuple[str, str | PathLike[str]] | SupportsGetItem[int, SupportsIndex], request: str, attention: bool) -> tuple[tuple[str, str, float, list[int], bool], int, list[tuple[str, float, float | None, list[float]]]]:
        """
        The best caption of a picture, the patches a side of its maps, and for each word its text, its log-probability, the largest loss
        of that, and its map. `request` is a `CaptionRequest` in JSON; by `attention`, or else by ablation.
        """
    def records(self, /, rows: SupportsGetItem[int, tuple[str, str | SupportsGetItem[int, SupportsIndex] | None]], request: str, options: tuple[bool, SupportsIndex, SupportsIndex | None, SupportsIndex | None]) -> list[str]:
        """
        The record of each row, a line of JSON. A row is what its record calls it, and its picture: a path, an address, or the bytes of
        a file. `request` is a `CaptionRequest` in JSON; `options` are whether Chinese keeps its spaces, the pictures that pass through
        the model together, and the most pixels and bytes of a picture.
        """

@final
class Matcher:
    """
    A loaded model that matches pictures and texts.
    """
    def __new__(cls, /, arguments: tuple[str | PathLike[str] | None, str | None, SupportsIndex | None, bool, bool, SupportsGetItem[int, str], str | PathLike[str] | None]) -> Matcher: ...
    def image_features(self, /, pictures: SupportsGetItem[int, tuple[SupportsIndex, SupportsIndex, SupportsGetItem[int, SupportsIndex]] | tuple[str, str | PathLike[str]] | SupportsGetItem[int, SupportsIndex]]) -> list[Any]:
        """
        The feature of each picture, or an exception.
        """
    def score(self, /, pictures: SupportsGetItem[int, tuple[SupportsIndex, SupportsIndex, SupportsGetItem[int, SupportsIndex]] | tuple[str, str | PathLike[str]] | SupportsGetItem[int, SupportsIndex]], texts: SupportsGetItem[int, str]) -> list[Any]:
        """
        For each picture the probability of each text, or an exception.
        """
    def text_features(self, /, texts: SupportsGetItem[int, str]) -> list[list[float]]:
        """
        The feature of each text.
        """

def _panic() -> None:
    """
    Panics, on purpose: a test sees that nothing but an `InternalError` comes of it.
    """

def convert(source: str | PathLike[str], dest: str | PathLike[str], trainer: bool = False, adapter: str | PathLike[str] | None = None) -> None:
    """
    Writes the model of `source` to the folder `dest`, which must not be there. `trainer` chooses PyTorch's format with the prefix
    `model.`, as ModelScope's trainer writes it, in the place of PyTorch's own; `adapter` is merged into the weights.
    """

def evaluate(candidates: SupportsGetItem[int, str], references: SupportsGetItem[int, SupportsGetItem[int, str]], metrics: SupportsGetItem[int, str] | None = None, tokens: str | None = None) -> tuple[str, dict[str, tuple[float, list[float]]]]:
    """
    The name of the tokenization, and the figures by name.
    """

def find_model(named: str | PathLike[str]) -> Path:
    """
    The folder of a model that is here, by its path or name. Nothing is downloaded.
    """

def picture_columns() -> list[str]:
    """
    The names of columns that may hold pictures where none is named, the first of them that can.
    """

def pull(name: str, revision: str | None = None, progress: Any | None = None) -> Path:
    """
    Makes sure that a model is on this machine, and gives its folder. `progress` gets a file's name, the bytes of it that are here,
    and its size. Ctrl-C keeps what came.
    """

def pull_dataset(name: str, revision: str | None = None, progress: Any | None = None) -> Path:
    """
    Makes sure that the files of a dataset's repository are on this machine, and gives their folder. `progress` and Ctrl-C as for
    `pull`.
    """

def record_columns() -> str:
    """
    The columns of a table of records, in JSON: the name, the kind and whether there may be nothing in it.
    """

def set_threads(threads: SupportsIndex | None = None) -> None:
    """
    Makes the engine's pool of this process one of `threads` threads; without, of one for each processor.
    """

def train(recipe: SupportsGetItem[int, SupportsIndex] | str | PathLike[str], settings: SupportsGetItem[int, tuple[str, str]], resume: bool = False, from_step: SupportsIndex | None = None, callback: Any | None = None) -> tuple[int, float | None, tuple[float, float] | None, bool, int]:
    """
    Trains as `recipe` says, with `settings` in the place of its own. `resume` goes on from the last checkpoint, `from_step`
    from that of this step. `callback` gets every event as JSON; where it raises, the step at hand is saved, and the exception comes out
    here. Ctrl-C is such an exception.
    """
