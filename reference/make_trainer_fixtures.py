#!/usr/bin/env python3
"""The original's trainer on a golden model: ModelScope's `EpochBasedTrainer` with its hooks, two epochs over five pictures with
captions in batches of two (the last one short), rows in their order, dropout off.

    python make_trainer_fixtures.py fixtures MODEL_FOLDER

MODEL_FOLDER is the seeded model `tiny` in the original's form (the golden data's own script writes it). Needs the pip packages of
modelscope's trainer (tried with torch 2.15, modelscope 1.40.2, transformers 4.57.6). Writes `fixtures/schedules/trainer.json`: the captions as token ids
and, per case, sections of a recipe, and the loss and the rate of each step.
"""
import json
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
from modelscope.models.multi_modal.mplug_for_all_tasks import MPlugForAllTasks
from modelscope.trainers.hooks.hook import Hook
from modelscope.trainers.trainer import EpochBasedTrainer
from safetensors.torch import load_file

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
LEN = 25

STEP = {"type": "StepLR", "step_size": 1, "gamma": 0.5}
BY_EPOCH = "[schedule]\nkind = \"step\"\nstep_size = 1\ngamma = 0.5\n"
ADAMW = {"type": "AdamW", "lr": 1e-4, "weight_decay": 0.02}
SGD = {"type": "SGD", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.02}
ADAMW_RECIPE = "[optimizer]\nlearning_rate = 1e-4\nweight_decay = 0.02\ngroups = \"single\"\n"
SGD_RECIPE = "[optimizer]\nkind = \"sgd\"\nlearning_rate = 1e-3\nmomentum = 0.9\nweight_decay = 0.02\ngroups = \"single\"\n"


def warm(kind, iters, by_epoch):
    return {"by_epoch": by_epoch, "warmup": {"type": kind, "warmup_iters": iters, "warmup_ratio": 0.1}}


# Optimizer, schedule, its options; the sections of a recipe that say the same.
CASES = [
    (ADAMW, STEP, warm("LinearWarmup", 2, True), ADAMW_RECIPE + BY_EPOCH + "warmup = { kind = \"linear\", iters = 2 }\n"),
    (
        ADAMW,
        {"type": "StepLR", "step_size": 2, "gamma": 0.5},
        warm("LinearWarmup", 3, False),
        ADAMW_RECIPE + "[schedule]\nkind = \"step\"\nby = \"step\"\nstep_size = 2\ngamma = 0.5\nwarmup = { kind = \"linear\", iters = 3 }\n",
    ),
    (
        SGD,
        {"type": "CosineAnnealingLR", "T_max": 6},
        warm("ExponentialWarmup", 2, False),
        SGD_RECIPE + "[schedule]\nkind = \"cosine-annealing\"\nby = \"step\"\nt_max = 6\nwarmup = { kind = \"exponential\", iters = 2 }\n",
    ),
]


def captions(numbers):
    """Five captions: the two of the golden batch, and parts of them put together."""
    found = []
    for ids, mask in zip(numbers["train.answer_input_ids"], numbers["train.answer_attention_mask"]):
        found.append(ids[mask == 1].tolist())
    first, second = found
    inside, end = first[1:-1] + second[1:-1], first[-1:]
    return found + [first[:1] + inside[cut : cut + length] + end for cut, length in ((0, 2), (1, 6), (2, 4))]


class Rows(torch.utils.data.Dataset):
    def __init__(self, pictures, texts):
        self.rows = []
        for index, ids in enumerate(texts):
            padded = torch.tensor(ids + [0] * (LEN - len(ids)))
            mask = torch.tensor([1] * len(ids) + [0] * (LEN - len(ids)))
            question = torch.tensor([101, 102] + [0] * (LEN - 2))
            self.rows.append({
                "image": pictures[index % len(pictures)],
                "question_input_ids": question,
                "question_attention_mask": (question > 0).long(),
                "answer_input_ids": padded,
                "answer_attention_mask": mask,
            })

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


class Notes(Hook):
    """Notes each step's rate and loss."""

    PRIORITY = 0

    def __init__(self):
        self.losses, self.rates = [], []

    def before_train_iter(self, trainer):
        self.rates.append(trainer.optimizer.param_groups[0]["lr"])

    def after_train_iter(self, trainer):
        self.losses.append(trainer.train_outputs["loss"].item())


def run(model_folder, rows, optimizer, schedule, options):
    torch.manual_seed(0)
    model = MPlugForAllTasks(model_folder)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with tempfile.TemporaryDirectory() as folder:
        configuration = json.loads((pathlib.Path(model_folder) / "configuration.json").read_text())
        configuration.pop("preprocessor", None)
        configuration["train"] = {
            "work_dir": folder,
            "max_epochs": 2,
            "dataloader": {"batch_size_per_gpu": 2, "workers_per_gpu": 0, "shuffle": False},
            "checkpoint": {"period": {"interval": 100, "save_last": False}},
            "optimizer": optimizer,
            "lr_scheduler": {**schedule, "options": options},
        }
        file = pathlib.Path(folder) / "configuration.json"
        file.write_text(json.dumps(configuration))
        trainer = EpochBasedTrainer(model=model, cfg_file=str(file), train_dataset=rows, device="cpu", work_dir=folder)
        notes = Notes()
        trainer.register_hook(notes)
        trainer.train()
    return notes


def main():
    folder, model_folder = pathlib.Path(sys.argv[1]), sys.argv[2]
    numbers = load_file(folder / "golden" / "tiny" / "golden.safetensors")
    golden = json.loads((folder / "golden" / "tiny" / "golden.json").read_text())
    resized = load_file(folder / "resized" / "resized_u8.safetensors")
    pictures = [(resized[name].permute(2, 0, 1).float() / 255 - MEAN) / STD for name in golden["batch_images"]]
    texts = captions(numbers)
    rows = Rows(pictures, texts)
    cases = []
    for optimizer, schedule, options, recipe in CASES:
        notes = run(model_folder, rows, optimizer, schedule, options)
        print(recipe, notes.losses, notes.rates)
        cases.append({"recipe": recipe, "losses": notes.losses, "rates": notes.rates})
    content = {"captions": texts, "cases": cases}
    (folder / "schedules" / "trainer.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
