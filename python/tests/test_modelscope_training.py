"""Fine-tuning programs that were written for the package ``modelscope``: the card's second sample as printed, datasets of every kind,
and every option of the trainer, as a recipe."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, fixture_picture
from modelscope_support import SAMPLES, hub, run
from PIL import Image

from mplug_rs import ModelNotFound, OptionError, Unsupported
from mplug_rs.modelscope.metainfo import Trainers
from mplug_rs.modelscope.msdatasets import MsDataset
from mplug_rs.modelscope.msdatasets.table import Dataset
from mplug_rs.modelscope.pipelines import pipeline
from mplug_rs.modelscope.trainers import EpochBasedTrainer, build_trainer
from mplug_rs.modelscope.trainers.configuration import DEFAULT_HOOKS
from mplug_rs.modelscope.utils.config import Config
from mplug_rs.modelscope.utils.constant import Tasks

Golden = Callable[[str], Path]

CAPTION_ID = "damo/mplug_image-captioning_coco_base_zh"
DATASET_ID = "modelscope/coco_captions_small_slice"
# What the original's trainer computed (reference/make_card_fixtures.py).
CARD: dict[str, Any] = json.loads((ROOT / "fixtures" / "schedules" / "card.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of the card, with five pictures."""
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "images").mkdir()
    for name, _ in CARD["rows"]:
        shutil.copy(fixture_picture(name), folder / "images" / name)
    for split, rows in [("train", CARD["rows"]), ("test", CARD["rows"][:2])]:
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["image:FILE", "answer:Value"])
            table.writerows([f"images/{name}", text] for name, text in rows)
    return folder


@pytest.fixture(scope="module")
def model(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden captioning model without dropout."""
    folder = tmp_path_factory.mktemp("models") / "model"
    shutil.copytree(golden("tiny"), folder)
    bert = json.loads((folder / "config_bert.json").read_text())
    bert |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config_bert.json").write_text(json.dumps(bert))
    return folder


def rows(dataset: Path, split: str) -> MsDataset:
    """A split with the columns that trainers read."""
    table = MsDataset.load(str(dataset))[split].remap_columns({"image:FILE": "image", "answer:Value": "answer"})
    return MsDataset(table.map(lambda _: {"question": "what the picture describes?"}))


def trainer(model: Path, dataset: Path, work_dir: Path, modify: Callable[[Any], Any] | None = None, **more: Any) -> EpochBasedTrainer:
    """The card's trainer, with other things in the configuration."""
    arguments = {"model": str(model), "train_dataset": rows(dataset, "train"), "eval_dataset": rows(dataset, "test")}
    return build_trainer(
        Trainers.nlp_base_trainer, {**arguments, "max_epochs": 2, "work_dir": str(work_dir), "cfg_modify_fn": modify, **more}
    )


def setting(**entries: Any) -> Callable[[Any], Any]:
    """Sets entries of ``train``, their tables written with ``__``."""

    def modify(cfg: Any) -> Any:
        cfg.merge_from_dict({f"train.{name.replace('__', '.')}": value for name, value in entries.items()})
        return cfg

    return modify


# The card's sample.


def test_the_cards_second_sample_runs_as_printed(model: Path, dataset: Path, tmp_path: Path) -> None:
    sample = (SAMPLES / "card_training.py").read_text(encoding="utf-8")
    program = tmp_path / "program.py"
    ending = "\nprint(trainer.work_dir)\nprint(trainer.timestamp)\n"
    program.write_text(sample + ending, encoding="utf-8")
    with hub({CAPTION_ID: model}, {DATASET_ID: dataset}) as server:
        variables = {
            "MODELSCOPE_ENDPOINT": f"http://127.0.0.1:{server.port}",
            "MODELSCOPE_CACHE": str(tmp_path / "cache"),
            "TMPDIR": str(tmp_path),
        }
        done = run(str(program), cwd=tmp_path, variables=variables)
        assert done.returncode == 0, done.stderr
        asked = len(server.asked)
        # A second run finds the dataset in the cache.
        assert run(str(program), cwd=tmp_path, variables=variables).returncode == 0
        assert not any("/datasets/" in request for request in server.asked[asked:])
    work_dir, timestamp = done.stdout.split()
    left = {path.name for path in Path(work_dir).iterdir()}
    assert {"epoch_2.pth", "output", f"{timestamp}.log", f"{timestamp}.log.json"} <= left and "epoch_1.pth" not in left
    assert done.stderr.count("- modelscope - INFO - epoch [") == 6 and "epoch [2][3/3]" in done.stderr
    output = Path(work_dir) / "output"
    assert {"pytorch_model.bin", "configuration.json", "config.yaml", "config_bert.json", "vocab.txt"} <= {
        path.name for path in output.iterdir()
    }
    assert (output / "eval_result.txt").read_text() == "null"
    caption = pipeline(Tasks.image_captioning, model=str(output))(str(fixture_picture("wide.png")))
    assert caption["caption"]


def test_the_loss_curve_is_the_originals(model: Path, dataset: Path, tmp_path: Path) -> None:
    made = trainer(model, dataset, tmp_path / "run", setting(dataloader__shuffle=False, logging={"interval": 1}))
    made.train()
    steps = [event for event in events(tmp_path / "run") if event["event"] == "step"]
    assert len(steps) == len(CARD["losses"]) == 6
    for step, loss, rate in zip(steps, CARD["losses"], CARD["rates"], strict=True):
        assert step["loss"] == pytest.approx(loss, rel=1e-5) and step["learning_rate"] == pytest.approx(rate, rel=1e-9)


def events(work_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work_dir / "log.jsonl").read_text().splitlines()]


def test_hooks_decide_what_is_saved_and_evaluated(model: Path, dataset: Path, tmp_path: Path) -> None:
    def modify(cfg: Any) -> Any:
        cfg.train.hooks = [
            {"type": "CheckpointHook", "interval": 1, "max_checkpoint_num": 1},
            {"type": "EvaluationHook", "interval": 1},
            {"type": "BestCkptSaverHook", "metric_key": "loss", "rule": "min"},
            {"type": "EarlyStopHook", "metric_key": "loss", "rule": "min", "patience": 5},
            {"type": "TensorboardHook"},
        ]
        return cfg

    made = trainer(model, dataset, tmp_path / "run", modify)
    made.train()
    left = {path.name for path in made_of(tmp_path / "run")}
    assert {"epoch_2.pth", "output", "output_best", "tensorboard"} <= left and "epoch_1.pth" not in left
    found = events(tmp_path / "run")
    assert [event["step"] for event in found if event["event"] == "evaluated"] == [3, 6]
    assert made.metric_values is not None and "loss" in made.metric_values
    assert json.loads((tmp_path / "run" / "output" / "eval_result.txt").read_text()) == pytest.approx(made.metric_values)
    figures = made.evaluate()
    assert {"bleu_4", "rouge_l", "cider", "accuracy"} <= set(figures) and made.metric_values == figures

    # The run goes on from an epoch of it, to more of them.
    longer = trainer(model, dataset, tmp_path / "run", modify, max_epochs=3)
    longer.train(checkpoint_path=tmp_path / "run" / "epoch_2.pth")
    assert (tmp_path / "run" / "epoch_3.pth").exists()
    with pytest.raises(OptionError, match="epoch_N"):
        longer.train(checkpoint_path=tmp_path / "run" / "report.html")
    # What another run left is not trained over.
    with pytest.raises(OptionError, match="resume"):
        made.train()


def made_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def test_answering_is_trained_and_evaluated(golden: Golden, tmp_path: Path) -> None:
    pictures = [str(fixture_picture(name)) for name, _ in CARD["rows"]]
    table = Dataset({"image": pictures, "question": ["这是什么？"] * 5, "answer": ["一", ["二", "二", "一"], "三", "四", "五"]})

    def modify(cfg: Any) -> Any:
        cfg.train.hooks = [{"type": "EvaluationHook"}, {"type": "BestCkptSaverHook", "metric_key": "accuracy"}]
        cfg.train.dataloader.batch_size_per_gpu = 5
        return cfg

    sets = {"train_dataset": MsDataset(table), "eval_dataset": MsDataset(table)}
    made = build_trainer(
        Trainers.mplug,
        {**sets, "model": str(golden("tiny_vqa")), "max_epochs": 1, "work_dir": str(tmp_path / "run"), "cfg_modify_fn": modify},
    )
    made.train()
    assert made.metric_values is not None and set(made.metric_values) == {"accuracy", "loss"}
    answer = pipeline(Tasks.visual_question_answering, str(tmp_path / "run" / "output_best"))((pictures[0], "这是什么？"))
    assert set(answer) == {"text"}
    assert set(made.evaluate()) == {"accuracy"}


# Recipes.


def recipe_of(modify: Callable[[Any], Any] | None, model: Path, dataset: Path, tmp_path: Path, **more: Any) -> dict[str, Any]:
    return trainer(model, dataset, tmp_path / "run", modify, **more).recipe()


def test_the_configuration_becomes_a_recipe(model: Path, dataset: Path, tmp_path: Path) -> None:
    modify = setting(
        dataloader={"batch_size_per_gpu": 2, "workers_per_gpu": 3, "shuffle": False, "pin_memory": True},
        optimizer={"type": "SGD", "lr": 0.1, "momentum": 0.9, "options": {"cumulative_iters": 2, "grad_clip": {"max_norm": 1.5}}},
        hooks=DEFAULT_HOOKS,
        lr_scheduler={
            "type": "CosineAnnealingLR",
            "T_max": 4,
            "options": {"warmup": {"type": "ExponentialWarmup", "warmup_iters": 2}},
        },
    )
    found = recipe_of(modify, model, dataset, tmp_path, seed=7, use_fp16=True, max_epochs=5)
    assert found["seed"] == 7 and found["data"]["shuffle"] is False
    run = found["run"]
    assert (run["epochs"], run["batch_size"], run["data_threads"], run["precision"]) == (5, 4, 3, "f16")
    # Five rows in batches of two, two of which make a step.
    assert (run["checkpoint_every"], run["keep_last"], run["log_every"]) == (2, 5, 5)
    assert found["optimizer"] == {
        "kind": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.0, "groups": "single", "clip_norm": 1.5,
    }  # fmt: skip
    assert found["schedule"] == {
        "kind": "cosine-annealing", "t_max": 4, "eta_min": 0.0, "by": "epoch",
        "warmup": {"kind": "exponential", "iters": 2, "ratio": 0.1},
    }  # fmt: skip
    assert found["start"] == {"model": str(model), "max_text_tokens": 25, "dropout": 0.0}
    assert found["evaluation"]["every"] == 0


def test_retrieval_takes_its_settings_from_the_model(golden: Golden, tmp_path: Path) -> None:
    table = Dataset({"image": [str(fixture_picture("wide.png"))] * 2, "question": ["大", "小"]})
    arguments = {"model": str(golden("tiny_large_itr")), "train_dataset": table, "work_dir": str(tmp_path / "run"), "max_epochs": 1}
    made = build_trainer(Trainers.nlp_base_trainer, arguments)
    found = made.recipe()
    assert found["objective"]["kind"] == "retrieval" and found["objective"]["momentum"] == 0.995
    assert found["run"]["micro_batch_size"] == found["run"]["batch_size"] == 2
    lines = [json.loads(line) for line in Path(found["data"]["train"]).read_text(encoding="utf-8").splitlines()]
    # Texts of one picture are no negatives of each other.
    assert [line["captions"] for line in lines] == [["大"], ["小"]] and not any("id" in line for line in lines)
    with pytest.raises(OptionError, match="eval_dataset"):
        made.evaluate()


@pytest.mark.parametrize(
    ("modify", "nearest"),
    [
        (setting(hooks=[{"type": "MyHook"}]), "callbacks of mplug_rs.train"),
        (setting(hooks=[{"type": "DDPHook"}]), "mpirun"),
        (setting(hooks=[{"type": "LrSchedulerHook"}]), r"\[schedule\]"),
        (setting(hooks=[{"type": "CheckpointHook", "interval": 1, "push_to_hub": True}]), "run.checkpoint_every"),
        (setting(hooks=[{"type": "CheckpointHook", "save_last": False}]), "save_last: expected True"),
        (setting(hooks=[{"type": "TextLoggerHook", "out_dir": "x"}]), "work_dir"),
        (setting(hooks=[{"type": "TensorboardHook", "out_dir": "x"}]), "work_dir/tensorboard"),
        (setting(hooks=[{"type": "EvaluationHook", "start_idx": 3}]), "evaluation.every"),
        (setting(optimizer={"type": "Adafactor", "lr": 1e-3}), "AdamW, Adam, SGD"),
        (setting(optimizer={"type": "AdamW", "amsgrad": True}), "amsgrad"),
        (setting(lr_scheduler={"type": "OneCycleLR"}), "StepLR"),
        (setting(lr_scheduler={"type": "StepLR", "step_size": 1, "options": {"warmup": {"type": "X"}}}), "LinearWarmup"),
        (setting(optimizer={"type": "AdamW", "options": {"cumulative_iters": 2}}), "optimizer steps"),
        (setting(train_iters_per_epoch=3), "run.steps"),
        (setting(dataloader={"batch_size_per_gpu": 2, "collate_fn": "x"}), "collate_fn"),
    ],
)
def test_what_a_recipe_cannot_say_names_its_nearest_key(
    modify: Callable[[Any], Any], nearest: str, model: Path, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(Unsupported, match=nearest):
        trainer(model, dataset, tmp_path / "run", modify)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"cfg_modify_fn": lambda cfg: None}, "return cfg"),
        ({"cfg_modify_fn": setting(optimizer=None)}, "train.optimizer: expected"),
        ({"cfg_modify_fn": setting(dataloader={"batch_size_per_gpu": 0})}, "batch_size_per_gpu"),
        ({"cfg_modify_fn": setting(hooks=[{"type": "EvaluationHook"}]), "eval_dataset": None}, "eval_dataset: expected"),
        ({"cfg_modify_fn": setting(hooks=[{"type": "BestCkptSaverHook", "metric_key": "cider"}])}, "EvaluationHook"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"cfg_file": "nowhere.json"}, "nowhere.json"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    more: dict[str, Any], problem: str, model: Path, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=problem):
        trainer(model, dataset, tmp_path / "run", **more)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "nearest"),
    [
        ({"launcher": "pytorch"}, "mpirun"),
        ({"efficient_tuners": object()}, r"\[lora\]"),
        ({"callbacks": [print]}, "callbacks"),
        ({"optimizers": (object(), None)}, "train.optimizer"),
        ({"task": "text-generation"}, "image-captioning"),
    ],
)
def test_arguments_that_are_not_here_name_what_is_nearest(
    more: dict[str, Any], nearest: str, model: Path, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(Unsupported, match=nearest):
        trainer(model, dataset, tmp_path / "run", **more)


def test_a_table_without_the_columns_says_how_to_rename(model: Path, dataset: Path, tmp_path: Path) -> None:
    table = MsDataset.load(str(dataset))["train"]
    made = trainer(model, dataset, tmp_path / "run", train_dataset=table)
    with pytest.raises(OptionError, match=r"expected a column image, found image:FILE.*remap_columns"):
        made.recipe()


def test_pictures_in_memory_are_written(model: Path, dataset: Path, tmp_path: Path) -> None:
    with Image.open(fixture_picture("wide.png")) as opened:
        picture = opened.convert("RGB")
    content = fixture_picture("grad_rgb.png").read_bytes()
    table = Dataset.from_list(
        [{"image": picture, "answer": "一"}, {"image": content, "answer": "二"}, {"image": {"bytes": content}, "answer": "三"}]
    )
    found = trainer(model, dataset, tmp_path / "run", train_dataset=MsDataset(table)).recipe()
    lines = [json.loads(line) for line in Path(found["data"]["train"]).read_text(encoding="utf-8").splitlines()]
    with Image.open(lines[0]["path"]) as written:
        assert written.size == picture.size
    assert Path(lines[1]["path"]).read_bytes() == content == Path(lines[2]["path"]).read_bytes()


# Datasets.


def test_datasets_are_tables(dataset: Path) -> None:
    splits = MsDataset.load(str(dataset))
    assert list(splits) == ["test", "train"]
    table = splits["train"]
    name, text = CARD["rows"][2]
    assert table[2] == {"image:FILE": str(dataset / "images" / name), "answer:Value": text}
    assert table[-1] == table[4] and len(table) == 5 and len(list(table)) == 5
    assert table["answer:Value"][2] == text and table[1:3]["answer:Value"][1] == text
    with pytest.raises(IndexError):
        table[5]
    renamed = table.remap_columns({"answer:Value": "answer"})
    assert renamed.column_names == ["image:FILE", "answer"]
    assert renamed.map(lambda row: {"long": row["answer"] * 2})[0]["long"] == CARD["rows"][0][1] * 2
    assert len(renamed.filter(lambda row: row["answer"] == text)) == 1
    assert sorted(renamed.shuffle(seed=1)["answer"]) == sorted(renamed["answer"])
    with pytest.raises(OptionError, match=r"expected a column answer, found image:FILE, answer:Value"):
        table.remap_columns({"answer": "text"})
    with pytest.raises(OptionError, match="num_proc|batched"):
        renamed.map(lambda row: {}, batched=True)
    assert list(MsDataset.load(str(dataset), split="test", target="answer:Value")) == [text for _, text in CARD["rows"][:2]]
    assert list(MsDataset.load(["a", "b"])) == ["a", "b"]
    for wrong in [{}, [1], "x", None]:
        with pytest.raises(OptionError, match="expected a table"):
            MsDataset(wrong)


def test_files_of_every_kind_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('image,answer\na.png,"one, two"\n', encoding="utf-8-sig")
    (tmp_path / "a.tsv").write_text("image\tanswer\na.png\tone\n")
    (tmp_path / "a.jsonl").write_text('{"image": "a.png", "answer": "一"}\n\n')
    (tmp_path / "a.json").write_text('[{"image": "a.png", "answer": "一"}]')
    (tmp_path / "a.png").write_bytes(b"")
    assert MsDataset.load(str(tmp_path / "a.csv"))[0] == {"image": str(tmp_path / "a.png"), "answer": "one, two"}
    for name in ["a.tsv", "a.jsonl", "a.json"]:
        assert MsDataset.load(str(tmp_path / name))[0]["image"] == str(tmp_path / "a.png"), name
    (tmp_path / "images" / "val").mkdir(parents=True)
    (tmp_path / "images" / "val" / "metadata.csv").write_text("file_name,text\nb.png,two\n")
    assert MsDataset.load(str(tmp_path / "images"))[0]["text"] == "two"
    for name, content, problem in [
        ("b.csv", "a,b\n1\n", "line 2: expected 2 columns"),
        ("b.json", "[1]", "entry 1: expected an object"),
        ("b.jsonl", "{", "b.jsonl"),
        ("b.xlsx", "", "expected a name that ends in"),
    ]:
        (tmp_path / name).write_text(content)
        with pytest.raises(OptionError, match=problem):
            MsDataset.load(str(tmp_path / name))
    with pytest.raises(OptionError, match="found nothing at"):
        MsDataset.load("./nowhere")
    assert len(MsDataset.load(str(tmp_path / "a.csv"), hub="modelscope", download_mode="reuse_dataset_if_exists")) == 1
    for more in [{"hub": "huggingface"}, {"download_mode": "force_redownload"}, {"token": "x"}, {"data_dir": "x"}]:
        with pytest.raises(Unsupported, match=next(iter(more))):
            MsDataset.load(str(tmp_path / "a.csv"), **more)


def test_datasets_of_the_hub(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MODELSCOPE_API_TOKEN", raising=False)
    stored = tmp_path / "stored"
    stored.mkdir()
    (stored / "old_slice.json").write_text(json.dumps({"default": {"train": {"meta": "train.csv", "file": "train.zip"}}}))
    (stored / "train.csv").write_text("image:FILE,answer:Value\na.png,x\n")
    leading = tmp_path / "leading"
    leading.mkdir()
    (leading / "train.csv").write_text("image:FILE,answer:Value\n../../../a.png,x\n")
    with hub({}, {DATASET_ID: dataset, "me/old_slice": stored, "me/leading": leading}) as server:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", f"http://127.0.0.1:{server.port}")
        table = MsDataset.load("coco_captions_small_slice", split="train")
        path = Path(table[0]["image:FILE"])
        assert path.is_relative_to(tmp_path / "cache") and path.read_bytes() == fixture_picture(CARD["rows"][0][0]).read_bytes()
        with pytest.raises(Unsupported, match=r"train\.zip.*`modelscope download --dataset me/old_slice --local_dir DIR`"):
            MsDataset.load("me/old_slice")
        with pytest.raises(OptionError, match="inside the dataset"):
            MsDataset.load("old_slice".replace("old_slice", "leading"), namespace="me")
        with pytest.raises(ModelNotFound, match="has no dataset modelscope/other"):
            MsDataset.load("other")
    # What the Python client unpacked is read where it lies.
    legacy = tmp_path / "cache" / "datasets" / "me" / "here"
    shutil.copytree(dataset, legacy)
    assert len(MsDataset.load("me/here", split="train")) == 5


def test_configurations_are_dicts_with_attributes(tmp_path: Path) -> None:
    cfg = Config({"train": {"hooks": [{"type": "A"}], "optimizer": {"lr": 1}}})
    cfg.train.optimizer.lr = 2
    cfg.train.hooks[0].interval = 3
    cfg.train.lr_scheduler = {"type": "StepLR"}
    assert cfg["train"]["optimizer"]["lr"] == 2 and cfg.train.lr_scheduler.type == "StepLR"
    assert cfg.safe_get("train.hooks")[0] == {"type": "A", "interval": 3} and cfg.safe_get("train.x.y", 5) == 5
    cfg.merge_from_dict({"train.dataloader.batch_size_per_gpu": 4, "train.hooks.0.type": "B"})
    cfg.merge_from_dict({"train.dataloader.batch_size_per_gpu": 5}, force=False)
    assert cfg.train.dataloader.batch_size_per_gpu == 4 and cfg.train.hooks[0].type == "B"
    with pytest.raises(AttributeError, match=r"no evaluation here; there are train"):
        _ = cfg.evaluation
    assert pickle.loads(pickle.dumps(cfg)) == cfg
    cfg.dump(tmp_path / "c.json")
    assert Config.from_file(tmp_path / "c.json") == cfg
