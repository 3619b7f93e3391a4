"""Figures of captions against references: those of the reference evaluator, where the tokens are its."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from . import _native
from .errors import OptionError

Metric: TypeAlias = Literal["bleu", "meteor", "rouge_l", "cider", "plain_cider", "accuracy"]
"""What can be computed. METEOR has its exact and stem modules alone, and is called ``meteor_exact_stem``."""
Tokens: TypeAlias = Literal["ptb", "char", "jieba", "aic", "none"]
"""How captions become tokens."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of a set of captions."""

    corpus: dict[str, float]
    """The figure of all captions, by name: ``cider``, ``bleu_4``."""
    images: dict[str, npt.NDArray[np.float64]]
    """The figure of each caption, by name."""
    tokens: Tokens
    """How captions became tokens."""


def evaluate(
    references: Sequence[Sequence[str]],
    candidates: Sequence[str],
    *,
    metrics: Sequence[Metric] = ("bleu", "rouge_l", "cider"),
    tokens: Tokens | None = None,
) -> Evaluation:
    """Scores ``candidates[i]`` against ``references[i]``, of which there is at least one.

    :param tokens: by the references' language if ``None``: ``ptb`` for English, ``char`` for Chinese.
    """
    if isinstance(references, str) or any(isinstance(texts, str) for texts in references):
        raise OptionError("references: expected a list of texts for each candidate, found a text")
    name, figures = _native.evaluate(
        [str(text) for text in candidates], [list(texts) for texts in references], list(metrics), tokens
    )
    corpus = {key: whole for key, (whole, _) in figures.items()}
    images = {key: np.array(each, dtype=np.float64) for key, (_, each) in figures.items()}
    return Evaluation(corpus, images, cast(Tokens, name))
