"""What models give: captions, answers, keywords."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Keyword(NamedTuple):
    """A word of a picture's captions."""

    word: str
    weight: float
    """The share of the captions' probability that has it: 1 if all captions do."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A text that a model wrote. ``str(caption)`` is its text."""

    text: str
    """For people: Chinese without spaces between its characters."""
    raw_text: str
    """As the original gives it: one space between Chinese characters."""
    score: float
    """Length-penalised log-probability; the plain log-probability when sampled."""
    token_ids: tuple[int, ...]
    """What was generated, without the start token and the prefix, with the end token where one came."""
    tags: tuple[Keyword, ...] = ()
    """Keywords of the picture, if they were requested; of the best caption alone."""
    is_finished: bool = True
    """Whether the end token came last; others were cut at the longest length, or when a better one ended."""

    def __str__(self) -> str:
        return self.text

    def _asdict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def _repr_html_(self) -> str:
        """For notebooks: the text, with the score and the keywords in small print."""
        tags = " ".join(html.escape(tag.word) for tag in self.tags)
        small = f"score {self.score:.3f}" + (f" · {tags}" if tags else "")
        return f"<p>{html.escape(self.text)}<br><small>{small}</small></p>"


class Answer(Caption):
    """An answer to a question."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class WordMap:
    """A word of a caption and the part of the picture that it stands on."""

    text: str
    log_prob: float
    """The word's log-probability with the whole picture."""
    most_lost: float | None
    """By ablation: the largest loss of that when one part is left out, in nats."""
    values: npt.NDArray[np.float32]
    """A value for each patch of the picture, row by row from the top left: nats by ablation, probabilities by attention."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a caption stands on. Punctuation has no map."""

    caption: Caption
    words: tuple[WordMap, ...]
    """In their order."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Draws words at random in place of the search for the best text."""

    temperature: float = 1.0
    top_k: int = 10
    top_p: float = 1.0
    seed: int = 0
