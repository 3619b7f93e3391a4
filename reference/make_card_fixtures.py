#!/usr/bin/env python3
"""The second sample of the models' cards, in the original: `MsDataset`, `remap_columns`, `map`, `build_trainer`, three hooks, two epochs.

    python make_card_fixtures.py fixtures MODEL_FOLDER

MODEL_FOLDER is the seeded model `tiny` in the original's form (`cargo run --release -p mplug --example seeded_model -- MODEL_FOLDER --golden
fixtures/golden/tiny --format pytorch`). Dropout is off, and rows come in their order (`shuffle` false), so that the losses can be
compared. Needs the pip packages of modelscope's trainer and datasets (tried with torch 2.15, modelscope 1.40.2, transformers 4.57.6,
datasets 3.6). Writes `fixtures/schedules/card.json`: the rows, and the loss and the rate of each batch.
"""
import csv
import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "benches" / "peers"))
import engines

engines.leave_out_unrelated_models()

from modelscope.metainfo import Trainers
from modelscope.msdatasets import MsDataset
from modelscope.trainers import build_trainer

from make_trainer_fixtures import Notes

PICTURES = ["noise_rgb.png", "grad_rgb.png", "wide.png", "photo_like.jpg", "shapes_gray.png"]


def captions(vocabulary):
    """A text of 5 to 9 characters for each picture."""
    characters = [word for word in vocabulary if len(word) == 1 and "\u4e00" <= word <= "\u9fff"]
    return ["".join(characters[7 * row : 12 + 8 * row]) for row in range(len(PICTURES))]


def write(folder, pictures, rows):
    """The dataset: tables of two splits, and the pictures."""
    (folder / "images").mkdir()
    for name, _ in rows:
        shutil.copy(pictures / name, folder / "images" / name)
    for split, part in (("train", rows), ("test", rows[:2])):
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["image:FILE", "answer:Value"])
            table.writerows([f"images/{name}", text] for name, text in part)


def train(model, data, folder):
    config = json.loads((model / "config_bert.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (model / "config_bert.json").write_text(json.dumps(config))
    os.chdir(data)  # the original takes paths as they are
    datadict = MsDataset.load(str(data))
    sets = [
        MsDataset(
            datadict[split]
            .remap_columns({"image:FILE": "image", "answer:Value": "answer"})
            .map(lambda _: {"question": "what the picture describes?"})
        )
        for split in ("train", "test")
    ]

    def modify(cfg):
        cfg.train.hooks = [
            {"type": "CheckpointHook", "interval": 2},
            {"type": "TextLoggerHook", "interval": 1},
            {"type": "IterTimerHook"},
        ]
        cfg.train.dataloader.shuffle = False
        return cfg

    arguments = dict(
        model=str(model), train_dataset=sets[0], eval_dataset=sets[1], max_epochs=2, cfg_modify_fn=modify, work_dir=str(folder), device="cpu"
    )
    trainer = build_trainer(name=Trainers.nlp_base_trainer, default_args=arguments)
    notes = Notes()
    trainer.register_hook(notes)
    trainer.train()
    return notes


def main():
    fixtures, seeded = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    vocabulary = (seeded / "vocab.txt").read_text(encoding="utf-8").splitlines()
    rows = list(zip(PICTURES, captions(vocabulary)))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shutil.copytree(seeded, folder / "model")
        (folder / "data").mkdir()
        write(folder / "data", fixtures / "images", rows)
        notes = train(folder / "model", folder / "data", folder / "run")
        files = sorted(path.name for path in (folder / "run").iterdir()), sorted(path.name for path in (folder / "run/output").iterdir())
    print(notes.losses, notes.rates, files)
    content = {"rows": rows, "losses": notes.losses, "rates": notes.rates}
    (fixtures / "schedules" / "card.json").write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
