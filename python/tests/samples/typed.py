"""How the package looks to a type checker: never run, only checked."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

import mplug_rs
from mplug_rs import Answer, Caption


def captions(captioner: mplug_rs.Captioner) -> None:
    one: Caption = captioner("a.jpg")
    best: list[Caption] = captioner(Path("a.jpg"), captions=3)
    many: list[Caption] = captioner(["a.jpg", b"..."], batch_size=8, language="zh")
    best_of_many: list[list[Caption]] = captioner(["a.jpg"], captions=2, sample=mplug_rs.Sampling(seed=1))
    lazily: Iterator[Path] = Path("photos").glob("*.jpg")
    all_of_them: list[Caption] = captioner(lazily, on_error="return")
    print(one.text, best[0].score, many[0].token_ids, best_of_many, all_of_them)


def answers(answerer: mplug_rs.Answerer) -> None:
    one: Answer = answerer("a.jpg", "what is it?")
    several: list[Answer] = answerer("a.jpg", ["what is it?", "how many?"])
    print(one, several)


def scores(matcher: mplug_rs.Matcher) -> npt.NDArray[np.float32]:
    return matcher(["a.jpg", "b.jpg"], ["a dog", "a cat"])


def figures() -> float:
    return mplug_rs.metrics.evaluate([["a dog"]], ["a dog"]).corpus["cider"]
