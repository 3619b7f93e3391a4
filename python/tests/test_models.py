"""Captions, answers and scores: the original's from golden models, and every kind of picture and option."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLES, fixture_picture, golden_tensor, records
from PIL import Image

import mplug_rs
from mplug_rs import Answerer, Caption, Captioner, Matcher, MplugError, OptionError, PictureError


def comparable(model: str) -> list[dict[str, object]]:
    """The original's records, without the picture that it shows wrongly (16-bit gray, clipped to white)."""
    return [entry for entry in records(model)["pipeline"] if "gray16" not in entry["image"]]


@pytest.mark.parametrize("model", ["tiny", "tiny_large"])
def test_captions_are_the_originals(golden: Callable[[str], Path], model: str) -> None:
    captioner = Captioner(golden(model))
    entries = comparable(model)
    found = captioner([fixture_picture(str(entry["image"])) for entry in entries], batch_size=8)
    expected = [entry["result"]["caption"] for entry in entries]  # type: ignore[index]
    assert [caption.raw_text for caption in found] == expected
    assert len(expected) == 28


@pytest.mark.parametrize("model", ["tiny_vqa", "tiny_large_vqa"])
def test_answers_are_the_originals(golden: Callable[[str], Path], model: str) -> None:
    answerer = Answerer(golden(model))
    entries = comparable(model)
    pictures = [fixture_picture(str(entry["image"])) for entry in entries]
    found = answerer(pictures, [str(entry["text"]) for entry in entries], batch_size=3)
    assert [answer.raw_text for answer in found] == [entry["result"]["text"] for entry in entries]  # type: ignore[index]


def test_scores_are_the_originals(golden: Callable[[str], Path]) -> None:
    matcher = Matcher(golden("tiny_large_itr"))
    for entry in comparable("tiny_large_itr"):
        score = matcher(fixture_picture(str(entry["image"])), str(entry["text"]))
        assert score == pytest.approx(entry["result"]["scores"][1], abs=1e-5)  # type: ignore[index]


def test_a_picture_may_be_many_things(captioner: Captioner) -> None:
    path = next(example for example in EXAMPLES if example.suffix == ".png")
    expected = captioner(path)
    pil = Image.open(path)
    array = np.asarray(pil.convert("RGB"))
    alpha = np.dstack([array, np.full(array.shape[:2], 7, np.uint8)])
    content = path.read_bytes()
    for picture in [str(path), content, bytearray(content), memoryview(content), io.BytesIO(content), pil, array, alpha]:
        assert captioner(picture) == expected, type(picture)
        assert captioner({"image": picture if not isinstance(picture, io.BytesIO) else content}) == expected
    with path.open("rb") as file:
        assert captioner(file) == expected
    strided = np.flip(np.flip(array, axis=1).copy(), axis=1)
    assert captioner(strided) == expected
    gray = np.asarray(pil.convert("L"))
    assert captioner(gray) == captioner(np.dstack([gray] * 3))


def test_what_is_no_picture_says_what_would_be(captioner: Captioner) -> None:
    for wrong in [3, None, np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 2), np.uint8), object()]:
        with pytest.raises(TypeError, match="expected a picture"):
            captioner(wrong)
    with pytest.raises(TypeError, match="'rb'"):
        captioner(io.StringIO("text"))
    with pytest.raises(OptionError, match="'image'"):
        captioner({"picture": 1})


def test_broken_pictures_harm_no_other(captioner: Captioner, tmp_path: Path) -> None:
    whole = EXAMPLES[0].read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "no.png").write_bytes(b"no picture")
    pictures = [EXAMPLES[0], tmp_path / "cut.png", tmp_path / "gone.png", b"", tmp_path / "no.png", EXAMPLES[1]]
    found = captioner(pictures, batch_size=2, on_error="return")
    kinds = [found_one.reason if isinstance(found_one, PictureError) else "caption" for found_one in found]
    assert kinds == ["caption", "truncated", "missing", "truncated", "unsupported", "caption"]
    assert found[2].source == str(tmp_path / "gone.png") and str(found[2]).startswith(str(tmp_path / "gone.png"))
    assert [found[0], found[5]] == [captioner(EXAMPLES[0]), captioner(EXAMPLES[1])]
    with pytest.raises(PictureError, match="gone.png"):
        captioner([EXAMPLES[0], tmp_path / "gone.png"])
    streamed = list(captioner.stream(iter(pictures), batch_size=4))
    assert [type(one) for one in streamed] == [type(one) for one in found]


def test_batches_change_nothing(captioner: Captioner) -> None:
    one_by_one = [captioner(picture, captions=2) for picture in EXAMPLES]
    for batch_size in [1, 3, 16]:
        assert captioner(EXAMPLES, captions=2, batch_size=batch_size) == one_by_one
        assert list(captioner.stream(iter(EXAMPLES), captions=2, batch_size=batch_size)) == one_by_one
    assert captioner(iter(EXAMPLES)) == captioner(EXAMPLES)
    with pytest.raises(OptionError, match="batch_size"):
        captioner(EXAMPLES, batch_size=0)


def test_options_mean_what_they_say(captioner: Captioner) -> None:
    picture = next(example for example in EXAMPLES if "cat" in example.name)
    assert "猫" in str(captioner(picture)) and "cat" in str(captioner(picture, language="en"))
    assert "猫" not in str(captioner(picture, forbid="猫"))
    assert "树" in str(captioner(picture, include=["树"], max_new_tokens=30, beams=8))
    assert str(captioner(picture, prefix="一张")).startswith("一张")
    best = captioner(picture, captions=3)
    assert len(best) == 3 and best[0].score >= best[1].score >= best[2].score
    tagged = captioner(picture, tags=3)
    assert isinstance(tagged, Caption) and "猫" in [tag.word for tag in tagged.tags]
    drawn = [str(captioner(picture, sample=mplug_rs.Sampling(temperature=2.0, seed=seed))) for seed in range(4)]
    assert len(set(drawn)) > 1
    assert drawn[1] == str(captioner(picture, sample=mplug_rs.Sampling(temperature=2.0, seed=1)))
    for name, value in [("captions", 9), ("language", "fr"), ("diverse", 2.0), ("min_new_tokens", 99), ("prefix", "\U0001f600")]:
        with pytest.raises(OptionError):
            captioner(picture, **{name: value})
    with pytest.raises(TypeError):
        captioner(picture, beam=3)


def test_answers(answerer: Answerer) -> None:
    picture = next(example for example in EXAMPLES if "cars" in example.name)
    assert str(answerer(picture, "图里有几辆汽车？")) == "三辆"
    assert list(map(str, answerer(picture, ["what colour are the cars?", "is there a cat?"]))) == ["red", "no"]
    pairs = [(picture, "is there a cat?"), (EXAMPLES[0], "is there a cat?")]
    together = answerer([pair[0] for pair in pairs], "is there a cat?")
    assert list(answerer.stream(iter(pairs))) == together
    assert len(answerer(picture, "is there a cat?", answers=2)) == 2
    with pytest.raises(OptionError, match="questions"):
        answerer([picture], ["one?", "two?"])
    for number in [0, 9]:
        with pytest.raises(OptionError):
            answerer(picture, "is there a cat?", answers=number)
    with pytest.raises(TypeError):
        list(answerer.stream(iter(pairs), beam=3))
    broken = answerer([picture, b"no"], "is there a cat?", on_error="return")
    assert str(broken[0]) == "no" and isinstance(broken[1], MplugError)


def test_scores_and_features(matcher: Matcher) -> None:
    picture = next(example for example in EXAMPLES if "cat-and-moon" in example.name)
    right, wrong = matcher(picture, ["an orange cat below the moon", "a black dog"])
    assert right > 0.5 > wrong
    assert mplug_rs.check("an orange cat below the moon", picture, matcher) == pytest.approx(float(right))
    table = matcher(EXAMPLES[:3], ["a cat", "a dog"])
    assert table.shape == (3, 2) and table.dtype == np.float32
    assert matcher(EXAMPLES[:3], "a cat").shape == (3,)
    images, texts = matcher.image_features(EXAMPLES[:3]), matcher.text_features(["a cat", "a dog"])
    assert images.shape[0] == 3 and (images @ texts.T).shape == (3, 2)
    assert np.isnan(matcher([picture, b"no"], ["a cat"], on_error="return")[1]).all()


def test_async_calls_give_the_same(captioner: Captioner) -> None:
    async def both() -> list[Caption]:
        return await asyncio.gather(*(captioner.acall(picture) for picture in EXAMPLES[:4]))

    assert asyncio.run(both()) == captioner(EXAMPLES[:4])


def test_models_that_cannot_be_opened_are_named(tmp_path: Path, golden: Callable[[str], Path]) -> None:
    with pytest.raises(mplug_rs.ModelNotFound, match="nowhere"):
        Captioner(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="mplug_rs.pull"):
        Captioner("damo/mplug_image-captioning_coco_base_zh")
    with pytest.raises(mplug_rs.ModelError, match="expected a model for image-captioning"):
        Captioner(golden("tiny_vqa"))
    with pytest.raises(OptionError, match="precision"):
        Captioner(golden("tiny"), precision="f64")  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="demo model"):
        Captioner()


def test_captions_are_values(captioner: Captioner) -> None:
    caption = captioner(EXAMPLES[0])
    assert caption == captioner(EXAMPLES[0]) and hash(caption) == hash(captioner(EXAMPLES[0]))
    assert caption._asdict()["text"] == caption.text == str(caption)
    assert "<p>" in caption._repr_html_()
    with pytest.raises(AttributeError):
        caption.text = "another"  # type: ignore[misc]


def test_captions_that_never_ended_are_marked_and_replaced(captioner: Captioner) -> None:
    found = captioner(EXAMPLES[:3], captions=5)
    assert all(captions[0].is_finished for captions in found)
    assert not all(caption.is_finished for captions in found for caption in captions)
    finished = captioner(EXAMPLES[:3], captions=5, finished_only=True)
    assert all(len(captions) == 5 and all(caption.is_finished for caption in captions) for captions in finished)


def test_web_addresses_are_opened_where_they_are_allowed(captioner: Captioner) -> None:
    with pytest.raises(PictureError, match="allow_urls"):
        captioner("https://example.org/cat.jpg")
    with pytest.warns(UserWarning):
        allowed = Captioner(allow_urls=True)
    with pytest.raises(mplug_rs.FetchError, match="expected a public one"):
        allowed("http://127.0.0.1:9/cat.jpg")


def test_metrics() -> None:
    references = [["a cat on a mat", "the cat is on the mat"], ["two dogs"]]
    found = mplug_rs.metrics.evaluate(references, ["a cat on a mat", "two dogs"])
    assert found.tokens == "ptb" and found.corpus["bleu_1"] == pytest.approx(1.0)
    assert found.images["cider"].shape == (2,)
    zh = mplug_rs.metrics.evaluate([["一只猫"]], ["一只狗"], metrics=["rouge_l"])
    assert zh.tokens == "char" and list(zh.corpus) == ["rouge_l"]
    with pytest.raises(OptionError, match="metrics"):
        mplug_rs.metrics.evaluate(references, ["a", "b"], metrics=["bleurt"])  # type: ignore[list-item]
    with pytest.raises(OptionError, match="references"):
        mplug_rs.metrics.evaluate(["a cat"], ["a cat"])


def test_heic_says_how_it_can_be_opened(captioner: Captioner) -> None:
    with pytest.raises(PictureError, match="HEIC.*pillow-heif") as raised:
        captioner(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert raised.value.reason == "unsupported"


@pytest.mark.parametrize("model", ["tiny_itr", "tiny_large_itr"])
def test_features_are_the_originals(golden: Callable[[str], Path], model: str) -> None:
    matcher = Matcher(golden(model))
    names = records(model)["batch_images"]
    if model == "tiny_itr":  # the pictures of the other are of another size than the files
        expected = golden_tensor(model, "image_feat")
        found = matcher.image_features([fixture_picture(name) for name in names])
        assert np.abs(found - expected).max() < 1e-3
    texts = matcher.text_features(records(model)["questions"])
    assert np.abs(texts - golden_tensor(model, "text_feat")).max() < 1e-4


def test_maps_say_where_words_stand(captioner: Captioner) -> None:
    path = next(example for example in EXAMPLES if example.stem == "cars")
    explanation = captioner.explain(path)
    assert explanation.caption == captioner(path)
    assert "".join(word.text for word in explanation.words) == explanation.caption.text
    cars = next(word for word in explanation.words if word.text == "三辆")
    assert cars.values.shape == (8, 8) and cars.most_lost is not None and cars.most_lost > 0
    assert cars.values[4:].sum() > cars.values[:4].sum(), "the cars are in the lower half"
    looked = captioner.explain(path, method="attention", language="en", max_new_tokens=3)
    assert len(looked.caption.token_ids) == 3 and all(word.most_lost is None for word in looked.words)
    assert all(0 <= word.values.min() and word.values.sum() <= 1.001 for word in looked.words)


def test_a_map_of_what_is_none_says_why(captioner: Captioner) -> None:
    with pytest.raises(OptionError, match="method: expected 'ablation' or 'attention', found 'eyes'"):
        captioner.explain(EXAMPLES[0], method="eyes")  # type: ignore[arg-type]
    with pytest.raises(PictureError):
        captioner.explain(b"no picture")
    with pytest.raises(OptionError, match="'image'"):
        captioner.explain({"picture": 1})
