"""Programs that were written for the package ``modelscope``: the card's sample as printed, a scorer of pictures, and every shape of
input; against what the original computed with golden models, a hub and a picture server of this machine."""

from __future__ import annotations

import csv
import importlib
import pickle
import re
import subprocess
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, fixture_picture, records
from modelscope_support import SAMPLES, hub, picture_server, run, serving
from PIL import Image

import mplug_rs
from mplug_rs import FetchError, ModelNotFound, OptionError, PictureError, Unsupported
from mplug_rs.modelscope.hub.snapshot_download import snapshot_download
from mplug_rs.modelscope.models import Model
from mplug_rs.modelscope.msdatasets import MsDataset
from mplug_rs.modelscope.outputs import OutputKeys
from mplug_rs.modelscope.pipelines import Pipeline, pipeline
from mplug_rs.modelscope.trainers import Hook, build_trainer
from mplug_rs.modelscope.utils.constant import Tasks

Golden = Callable[[str], Path]

CAPTION_ID = "damo/mplug_image-captioning_coco_base_zh"
ANSWER_ID = "damo/mplug_visual-question-answering_coco_large_en"
MATCH_ID = "damo/mplug_image-text-retrieval_flickr30k_large_en"
HOST = "alice-open.oss-cn-zhangjiakou.aliyuncs.com"
NAMES = ["noise_rgb.png", "grad_rgb.png", "wide.png", "photo_like.jpg", "shapes_gray.png", "tiny7x5.png"]


def originals(model: str) -> dict[str, Any]:
    """The original's result of each picture."""
    return {entry["image"]: entry["result"] for entry in records(model)["pipeline"]}


@pytest.fixture(scope="module")
def caption(golden: Golden) -> Pipeline:
    return pipeline(Tasks.image_captioning, model=golden("tiny"))


@pytest.fixture(scope="module")
def ask(golden: Golden) -> Pipeline:
    return pipeline("visual-question-answering", str(golden("tiny_vqa")))


@pytest.fixture(scope="module")
def match(golden: Golden) -> Pipeline:
    return pipeline(task=Tasks.image_text_retrieval, model=golden("tiny_large_itr"))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No model is on this machine, and no hub is there unless the test makes one."""
    for name in ["MODELSCOPE_API_TOKEN", "MODELSCOPE_DOMAIN", "MPLUG_OFFLINE", "MPLUG_RESOLVE"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "cache"


# Whole programs.


def test_the_cards_first_sample_runs_as_printed(golden: Golden, empty_cache: Path, tmp_path: Path) -> None:
    expected = f"{originals('tiny')['noise_rgb.png']}\n"
    certificate = tmp_path / "ca.pem"
    picture = fixture_picture("noise_rgb.png")
    with (
        hub({CAPTION_ID: golden("tiny")}) as models,
        picture_server(picture, HOST, certificate) as pictures,
    ):
        variables = {
            "MODELSCOPE_ENDPOINT": f"http://127.0.0.1:{models.port}",
            "MPLUG_RESOLVE": f"{HOST}=127.0.0.1:{pictures.port}",
            "SSL_CERT_FILE": str(certificate),
        }
        first = run("card_captioning.py", variables=variables)
        assert (first.stdout, first.stderr, first.returncode) == (expected, "", 0)
        assert pictures.asked == ["/mPLUG/image_captioning.png"]
        assert any("FilePath=pytorch_model.bin" in request for request in models.asked)
        assert list(empty_cache.rglob("pytorch_model.bin"))

        # What was downloaded is found, and the hub is left alone.
        models.asked.clear()
        second = run("card_captioning.py", variables=variables)
        assert (second.stdout, second.stderr, models.asked) == (expected, "", [])


def test_a_scorer_of_pictures_runs(golden: Golden, tmp_path: Path) -> None:
    entries = records("tiny_vqa")["pipeline"]
    table = tmp_path / "questions.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["picture", "id", "question", "needs"])
        rows.writerows([fixture_picture(entry["image"]), "1", entry["text"], ""] for entry in entries)
    done = run("picture_scores.py", str(golden("tiny_vqa")), str(table))
    assert done.returncode == 0, done.stderr
    answers = [entry["result"]["text"] for entry in entries]
    assert [line for line in done.stdout.splitlines() if not line.endswith(": 0.00")] == answers
    assert done.stderr.count("UserWarning: device: gpu") == 1 and done.stderr.count("Warning") == 1


def test_the_pages_code_runs(golden: Golden, empty_cache: Path, tmp_path: Path) -> None:
    english, chinese = (ROOT / "docs" / "from-modelscope.md").read_text(encoding="utf-8").split("\n---\n")

    def blocks(page: str, kind: str) -> list[str]:
        found = re.findall(rf"^```{kind}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        return [re.sub(r" *#.*", "", block) for block in found]

    assert blocks(english, "python") == blocks(chinese, "python") and blocks(english, "sh") == blocks(chinese, "sh")
    sample = (SAMPLES / "card_captioning.py").read_text(encoding="utf-8")
    assert blocks(english, "python")[0] == sample
    # The second sample is run by a test of its own.
    training = re.sub(r" *#.*", "", (SAMPLES / "card_training.py").read_text(encoding="utf-8"))
    programs = blocks(english, "python")
    programs.remove(training)

    # The search and replace makes the sample of the card's.
    (tmp_path / "program.py").write_text(sample.replace("mplug_rs.", ""), encoding="utf-8")
    subprocess.run(blocks(english, "sh")[0], shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / "program.py").read_text(encoding="utf-8") == sample

    program = tmp_path / "page.py"
    program.write_text("\n".join(programs), encoding="utf-8")
    picture, certificate = fixture_picture("noise_rgb.png"), tmp_path / "ca.pem"
    (tmp_path / "photo.jpg").write_bytes(picture.read_bytes())
    models = {CAPTION_ID: golden("tiny"), ANSWER_ID: golden("tiny_vqa"), MATCH_ID: golden("tiny_large_itr")}
    with hub(models) as server, picture_server(picture, HOST, certificate) as pictures:
        variables = {
            "MODELSCOPE_ENDPOINT": f"http://127.0.0.1:{server.port}",
            "MPLUG_RESOLVE": f"{HOST}=127.0.0.1:{pictures.port}",
            "SSL_CERT_FILE": str(certificate),
        }
        done = run(str(program), cwd=tmp_path, variables=variables)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    raw = originals("tiny")["noise_rgb.png"]["caption"]
    assert lines[0] == str({"caption": raw})
    assert lines[6] == raw.replace(" ", "") and lines[7].startswith(f"{raw} -")
    assert len(lines) == 11


# Inputs and results.


def test_captions_have_the_originals_shape_and_text(caption: Pipeline) -> None:
    for name, expected in originals("tiny").items():
        if "gray16" in name:  # which the original shows white
            continue
        assert caption(str(fixture_picture(name))) == expected, name


def test_a_caption_needs_no_text_and_ignores_one(caption: Pipeline) -> None:
    path = str(fixture_picture("photo_like.jpg"))
    expected = originals("tiny")["photo_like.jpg"]
    pil = Image.open(path)
    array = np.asarray(pil.convert("RGB"))
    for entry in [path, pil, array, (path,), (pil, "what?"), {"image": path}, {"image": pil, "question": "what?"}, Path(path)]:
        assert caption(entry) == expected, type(entry)
    with open(path, "rb") as file:
        assert caption(file) == expected


def test_lists_give_lists_and_batches_change_nothing(caption: Pipeline) -> None:
    entries = [str(fixture_picture(name)) for name in NAMES]
    expected = [originals("tiny")[name] for name in NAMES]
    assert caption(entries) == expected
    for batch_size in [1, 2, 5, 100]:
        assert caption(entries, batch_size=batch_size) == expected, batch_size
    mixed = [entries[0], Image.open(entries[1]), {"image": entries[2]}, (entries[3], "a text")]
    assert caption(mixed, batch_size=3) == expected[:4]
    assert caption([]) == []
    assert caption([entries[0]]) == expected[:1]


def test_an_iterator_gives_results_while_its_inputs_come(caption: Pipeline) -> None:
    taken: list[str] = []

    def pictures() -> Iterator[str]:
        for name in NAMES[:3]:
            taken.append(name)
            yield str(fixture_picture(name))

    found = caption(pictures())
    assert next(found) == originals("tiny")[NAMES[0]]
    assert taken == NAMES[:1]
    assert list(found) == [originals("tiny")[name] for name in NAMES[1:3]]


def test_files_are_turned_upright_and_pil_pictures_taken_as_they_are(caption: Pipeline) -> None:
    for name in ["exif3.jpg", "exif6.jpg"]:
        path = fixture_picture(name)
        assert caption(str(path)) == originals("tiny")[name]
        pil = Image.open(path)
        assert caption(pil) == caption(np.asarray(pil.convert("RGB"))) != caption(str(path)), name


def test_answers_have_the_originals_shape_and_text(ask: Pipeline) -> None:
    entries = records("tiny_vqa")["pipeline"]
    for entry in entries:
        path, question = str(fixture_picture(entry["image"])), entry["text"]
        pil = Image.open(path)
        shapes: list[Any] = [
            {"image": pil, "question": question},
            {"image": path, "text": question},
            {"image": path, "question": question, "text": "what?", "id": 7},
            (path, question),
            (pil, question),
        ]
        for shape in shapes:
            assert ask(shape) == entry["result"], shape
        assert ask({"image": path, "question": question})[OutputKeys.TEXT] == entry["result"]["text"]
    pairs = [(str(fixture_picture(entry["image"])), entry["text"]) for entry in entries]
    for batch_size in [None, 1, 3]:
        assert ask(pairs, batch_size=batch_size) == [entry["result"] for entry in entries], batch_size


def test_scores_have_the_originals_shape_and_values(match: Pipeline) -> None:
    entries = records("tiny_large_itr")["pipeline"]
    pairs = [(str(fixture_picture(entry["image"])), entry["text"]) for entry in entries]
    singles = []
    for pair, entry in zip(pairs, entries, strict=True):
        found = match({"image": pair[0], "text": pair[1]})
        assert list(found) == [OutputKeys.SCORES]
        scores = found[OutputKeys.SCORES]
        assert all(type(score) is float for score in scores)
        assert scores == pytest.approx(entry["result"]["scores"], abs=1e-5)
        assert match(pair) == match({"image": Image.open(pair[0]), "question": pair[1]}) == found
        singles.append(found)
    for batch_size in [None, 1, 2, 4]:
        assert match(pairs, batch_size=batch_size) == singles, batch_size
    # A picture with several texts is the same as each of them alone.
    texts = [text for _, text in pairs]
    same = pairs[0][0]
    assert match([(same, text) for text in texts]) == [match((same, text)) for text in texts]


def test_a_pipeline_can_be_pickled(ask: Pipeline) -> None:
    entry = records("tiny_vqa")["pipeline"][3]
    again = pickle.loads(pickle.dumps(ask))
    assert again((str(fixture_picture(entry["image"])), entry["text"])) == entry["result"]


@pytest.mark.parametrize("entry", [{"image": "a.png"}, "a.png", ("a.png",), ("a.png", 3), {"image": "a.png", "question": None}])
def test_an_input_without_a_question_says_what_is_expected(ask: Pipeline, match: Pipeline, entry: object) -> None:
    for asked in [ask, match]:
        with pytest.raises(OptionError, match="'question': text"):
            asked(entry)


def test_wrong_inputs_are_named(caption: Pipeline) -> None:
    with pytest.raises(OptionError, match="expected the key 'image'"):
        caption({"img": "a.png"})
    with pytest.raises(PictureError, match=r"nothing-here\.png"):
        caption("nothing-here.png")
    with pytest.raises(PictureError, match=r"nothing-here\.png"):
        caption([str(fixture_picture("wide.png")), "nothing-here.png"])
    with pytest.raises(TypeError, match="expected a picture"):
        caption(17)
    with pytest.raises(Unsupported, match="https address"):
        caption("oss://bucket/a.png")
    with pytest.raises(OptionError, match="batch_size"):
        caption([str(fixture_picture("wide.png"))], batch_size=0)


# Models, devices, addresses.


def test_a_gpu_gives_one_warning_and_the_cpus_results(golden: Golden, caption: Pipeline) -> None:
    path = str(fixture_picture("wide.png"))
    for device in ["gpu", "cuda", "cuda:0", "GPU:1"]:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            on_gpu = pipeline(Tasks.image_captioning, model=golden("tiny"), device=device)
            assert on_gpu(path) == on_gpu([path])[0] == caption(path)
        (warning,) = heard
        assert str(warning.message).startswith(f"device: {device}: models run on the CPU")
        assert warning.category is UserWarning and warning.filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline(Tasks.image_captioning, model=golden("tiny"), device="cpu")
    with pytest.raises(OptionError, match="device: expected cpu"):
        pipeline(Tasks.image_captioning, model=golden("tiny"), device="tpu")


def test_models_come_from_the_hub_by_id_and_revision(
    golden: Golden, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub({ANSWER_ID: golden("tiny_vqa")}) as server:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", f"http://127.0.0.1:{server.port}")
        # The original's choice for this task is an mPLUG model, and so it is here.
        ask = pipeline(Tasks.visual_question_answering, model_revision="v1.0.1")
        assert server.asked and all("Revision=v1.0.1" in request for request in server.asked)
        entry = records("tiny_vqa")["pipeline"][3]
        assert ask((str(fixture_picture(entry["image"])), entry["text"])) == entry["result"]

        folder = snapshot_download(ANSWER_ID, "v1.0.1")
        assert isinstance(folder, str) and (Path(folder) / "config.yaml").exists()
        assert Path(folder).is_relative_to(empty_cache)
        server.asked.clear()
        assert snapshot_download(ANSWER_ID, local_files_only=True) == folder
        pipeline(Tasks.visual_question_answering, ANSWER_ID)
        assert not server.asked
        # Another revision is another model: the hub is asked, though this machine has one.
        pipeline(Tasks.visual_question_answering, ANSWER_ID, model_revision="master")
        assert any("Revision=master" in request for request in server.asked)

        with pytest.raises(ModelNotFound):
            pipeline(Tasks.image_captioning, model="someone/else")
    with pytest.raises(FetchError):
        pipeline(Tasks.image_captioning, model=CAPTION_ID)
    with pytest.raises(ModelNotFound, match="no-such-folder"):
        pipeline(Tasks.image_captioning, model="./no-such-folder")


def test_private_addresses_are_refused_and_not_connected_to(caption: Pipeline, empty_cache: Path) -> None:
    content = fixture_picture("wide.png").read_bytes()
    with serving(lambda _: content) as server:
        for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"]:
            address = f"http://{host}:{server.port}/a.png"
            for entry in [address, {"image": address}, [address]]:
                with pytest.raises(FetchError, match="expected a public one"):
                    caption(entry)
        assert not server.asked
    with pytest.raises(FetchError, match="link-local"):
        caption("http://169.254.169.254/latest/meta-data")


# What the original has and this package has not.


@pytest.mark.parametrize(
    ("use", "nearest"),
    [
        (lambda: Model.from_pretrained(CAPTION_ID), r"pipeline\(task, model='owner/name'\)"),
        (lambda: MsDataset.load("a/b", use_streaming=True), "rows are read at once"),
        (lambda: build_trainer(name="nlp-base-trainer", default_args={}), "a model's name or its folder"),
        (lambda: build_trainer(name="ofa"), "nlp-base-trainer"),
        (lambda: types.new_class("Mine", (Hook,)), r"mplug_rs\.train\(recipe, callbacks"),
        (lambda: pipeline("text-classification", model="a/b"), "image-captioning"),
        (lambda: pipeline(), "image-captioning"),
        (lambda: pipeline(Tasks.image_captioning), CAPTION_ID),
        (lambda: pipeline(Tasks.image_text_retrieval), MATCH_ID),
        (lambda: pipeline(Tasks.image_captioning, model=["a/b", "c/d"]), "several models"),  # type: ignore[arg-type]
        (lambda: pipeline(Tasks.image_captioning, "a/b", preprocessor=object()), r"vocab\.txt"),  # type: ignore[arg-type]
        (lambda: pipeline(Tasks.image_captioning, "a/b", config_file="c.json"), "folder"),  # type: ignore[arg-type]
        (lambda: pipeline(Tasks.image_captioning, "a/b", pipeline_name="ofa"), "the task says"),
        (lambda: pipeline(Tasks.image_captioning, "a/b", device_map="auto"), "set_threads"),
        (lambda: snapshot_download(CAPTION_ID, cache_dir="x"), "MODELSCOPE_CACHE"),
    ],
)
def test_what_is_not_here_names_what_is_nearest(use: Callable[[], object], nearest: str) -> None:
    with pytest.raises(Unsupported, match=nearest):
        use()


def test_options_that_change_nothing_are_taken_and_others_named(golden: Golden, caption: Pipeline) -> None:
    harmless: dict[str, Any] = {"auto_collate": False, "compile": True, "ignore_file_pattern": [r"\w+\.h5"]}
    made = pipeline(
        Tasks.image_captioning, golden("tiny"), framework="pytorch", pipeline_name="image-captioning", **harmless
    )
    path = str(fixture_picture("wide.png"))
    assert made(path) == caption(path)
    with pytest.raises(TypeError, match=r"'precision'.*mplug_rs\.Captioner"):
        pipeline(Tasks.image_captioning, golden("tiny"), precision="int8")
    with pytest.raises(Unsupported, match=r"num_beams.*mplug_rs\.Captioner"):
        caption(path, num_beams=3)
    with pytest.raises(AttributeError, match=r"mplug_rs\.Captioner"):
        _ = caption.model  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="modelscope beside this one"):
        _ = Tasks.ocr_detection  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("modelscope", ["Model", "MsDataset", "Pipeline", "Tasks", "pipeline", "snapshot_download"]),
        ("modelscope.pipelines", ["Pipeline", "pipeline"]),
        ("modelscope.pipelines.base", ["Pipeline"]),
        ("modelscope.pipelines.builder", ["pipeline"]),
        ("modelscope.pipelines.multi_modal", ["ImageCaptioningPipeline", "VisualQuestionAnsweringPipeline"]),
        ("modelscope.utils.constant", ["DEFAULT_MODEL_REVISION", "ModeKeys", "ModelFile", "Tasks"]),
        ("modelscope.outputs", ["OutputKeys"]),
        ("modelscope.models", ["Model", "TorchModel"]),
        ("modelscope.models.multi_modal", ["MPlugForAllTasks"]),
        ("modelscope.preprocessors", ["MPlugPreprocessor", "Preprocessor", "load_image"]),
        ("modelscope.msdatasets", ["MsDataset"]),
        ("modelscope.metainfo", ["Hooks", "Models", "Pipelines", "Preprocessors", "Trainers"]),
        ("modelscope.trainers", ["EpochBasedTrainer", "Hook", "NlpEpochBasedTrainer", "TrainingArgs", "build_trainer"]),
        ("modelscope.utils.config", ["Config", "ConfigDict"]),
        ("modelscope.hub.snapshot_download", ["snapshot_download"]),
    ],
)
def test_imports_need_one_search_and_replace(module: str, names: list[str]) -> None:
    found = importlib.import_module(f"mplug_rs.{module}")
    assert [name for name in names if not hasattr(found, name)] == []


def test_constants_are_the_originals() -> None:
    metainfo = importlib.import_module("mplug_rs.modelscope.metainfo")
    assert metainfo.Trainers.nlp_base_trainer == "nlp-base-trainer"
    assert metainfo.Models.mplug == metainfo.Trainers.mplug == "mplug"
    assert (OutputKeys.CAPTION, OutputKeys.TEXT, OutputKeys.SCORES) == ("caption", "text", "scores")
    tasks = (Tasks.image_captioning, Tasks.visual_question_answering, Tasks.image_text_retrieval)
    assert tasks == ("image-captioning", "visual-question-answering", "image-text-retrieval")
    assert issubclass(mplug_rs.Unsupported, NotImplementedError)
