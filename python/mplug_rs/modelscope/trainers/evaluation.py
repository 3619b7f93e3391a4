"""Figures of a model on rows that have been written: what it says about each picture, against what people did."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from ... import metrics
from ...answerer import Answerer
from ...captioner import Captioner
from ...errors import OptionError, Unsupported
from ...metrics import Metric
from ..utils.constant import Tasks

_FAMILIES = ("bleu", "rouge_l", "cider", "accuracy")
_BATCH = 4


def evaluate(task: str, model: str, rows: Path, wanted: Sequence[str] | None) -> dict[str, float]:
    """The figures of a task's model.

    :param wanted: names of figures, or of their families; all that the task has if ``None``.
    """
    lines = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    if task == Tasks.image_captioning:
        return _of_captions(model, lines, _chosen(wanted, _FAMILIES))
    if task == Tasks.visual_question_answering:
        return _of_answers(model, lines, _chosen(wanted, ("accuracy",)))
    raise Unsupported("evaluate: retrieval is evaluated while it trains (EvaluationHook), and by `mplug eval --model DIR --dataset FILE`")


def _chosen(wanted: Sequence[str] | None, families: Sequence[str]) -> list[Metric]:
    if wanted is None:
        return cast("list[Metric]", list(families))
    for name in wanted:
        if name not in families:
            raise OptionError(f"evaluation.metrics: expected {', '.join(families)}, found {name}")
    return cast("list[Metric]", list(wanted))


def _of_captions(model: str, lines: Iterable[dict[str, Any]], families: list[Metric]) -> dict[str, float]:
    references: dict[str, list[str]] = {}
    for line in lines:
        references.setdefault(line["path"], []).extend(line["captions"])
    captioner = Captioner(model)
    candidates = [caption.text for caption in captioner(list(references), batch_size=_BATCH)]
    return metrics.evaluate(list(references.values()), candidates, metrics=families).corpus


def _of_answers(model: str, lines: Sequence[dict[str, Any]], families: list[Metric]) -> dict[str, float]:
    right = [line["answer"] if isinstance(line["answer"], list) else [line["answer"]] for line in lines]
    answerer = Answerer(model)
    pairs = [line["path"] for line in lines], [line["question"] for line in lines]
    candidates = [answer.text for answer in answerer(*pairs, batch_size=_BATCH)]
    return metrics.evaluate(right, candidates, metrics=families).corpus
