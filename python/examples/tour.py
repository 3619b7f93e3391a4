# %% [markdown]
# # mplug-rs from Python, in five steps
#
# This page is made from `python/examples/tour.py`, which editors with notebooks open as one (its cells begin with `# %%`), by
# `python python/examples/render.py python/examples/tour.py docs/python-tour.md`. A test makes it again and compares. The model is the
# small demo model of the repository, which knows drawn pictures only; `mplug_rs.pull("caption-base-zh")` gets one for photographs.

# %% [markdown]
# ## A caption
#
# A picture is a path, bytes, a file object, a PIL picture or an array. A list of pictures gives a list of captions, and a broken one
# harms no other.

# %%
import tempfile
import warnings
from pathlib import Path

from PIL import Image, ImageOps

import mplug_rs

warnings.simplefilter("ignore")  # that the demo model is the demo model
pictures = sorted(Path("assets/examples").glob("*.*"))
captioner = mplug_rs.Captioner()
print(captioner("assets/examples/cars.png"))
for picture, caption in zip(pictures, captioner([*pictures], batch_size=4)):
    print(f"{picture.name:20} {caption.score:.2f}  {caption}")

# %%
captioner(["assets/examples/fish.png", b"no picture"], on_error="return")[1]

# %% [markdown]
# ![three red cars](../assets/examples/cars.png)
#
# ## Where its words stand
#
# `explain` leaves parts of the picture out and measures how much less likely each word becomes. A map has a value for each patch of
# the picture; here the darkest character is the largest.

# %%
explanation = captioner.explain("assets/examples/cars.png")
for word in explanation.words:
    if word.text in ("草地", "三辆"):
        print(f"{word.text}")
        for row in word.values / word.values.max():
            print("  " + "".join(" ░▒▓█"[min(int(5 * max(value, 0)), 4)] * 2 for value in row))

# %% [markdown]
# ## Several captions
#
# The best `n` with their scores, which the same search has found. Languages, words that must or must not be there, keywords and
# sampling are options of the call too.

# %%
for caption in captioner("assets/examples/cars.png", captions=3):
    print(f"{caption.score:.2f}  {caption}")
print(captioner("assets/examples/cars.png", language="en"))
print(captioner("assets/examples/cars.png", forbid="草地"))
print([tag.word for tag in captioner("assets/examples/cars.png", tags=3).tags])

# %% [markdown]
# ## Figures
#
# Captions against those that people wrote. These are the figures of the reference evaluator, where the tokens are its.

# %%
people = {
    "bird-and-tree.png": "图中有一只鸟",
    "cars.png": "图中有三辆汽车",
    "cat-and-moon.png": "图中有一只猫",
    "dog-and-house.png": "图中有一只狗",
    "fish.png": "图中有一条鱼",
    "hearts.jpg": "图中有四个心形",
    "star-and-heart.png": "图中有一个心形",
}


def cider(captioner):
    written = captioner(pictures)
    return mplug_rs.metrics.evaluate([[people[picture.name]] for picture in pictures], [str(each) for each in written]).corpus["cider"]


print(f"CIDEr-D of the demo model: {cider(captioner):.2f}")

# %% [markdown]
# ## Fine-tuning on ten pictures
#
# People called these pictures otherwise than the model does. Seven of them and three mirrored ones teach it that: low-rank
# adaptation, which leaves the model as it is and trains small matrices beside it, some seconds on a laptop. (Ten pictures teach how to speak, not
# what to see: these are the pictures that the figure above is of.)

# %%
import json

folder = Path(tempfile.mkdtemp())
lines = []
for number, picture in enumerate([*pictures, *pictures[1:4]]):
    image = Image.open(picture).convert("RGB")
    name = f"{number}.png"
    (image if number < len(pictures) else ImageOps.mirror(image)).save(folder / name)
    lines.append(json.dumps({"path": name, "captions": [people[picture.name]]}))
(folder / "train.jsonl").write_text("\n".join(lines))
(folder / "held_out.jsonl").write_text(lines[0])  # a recipe names one; without evaluations nothing is measured on it
(folder / "recipe.toml").write_text("""
seed = 1

[start]
model = "crates/mplug-demo-caption/model"
dropout = 0.0

[objective]
kind = "captioning"

[data]
kind = "annotations"
language = "zh"

[lora]
rank = 8
alpha = 16.0
targets = ["query", "value", "output.dense"]

[features]

[run]
steps = 60
batch_size = 10
micro_batch_size = 5
threads = 2
data_threads = 1
log_every = 20
checkpoint_every = 60

[optimizer]
learning_rate = 5e-3
weight_decay = 0.0
clip_norm = 1.0

[schedule]
kind = "cosine"
warmup_steps = 2

[evaluation]
every = 0
pictures = 1
""")

losses = []


def hear(event):
    if event["event"] == "step":
        losses.append(event["loss"])


files = {"data.train": str(folder / "train.jsonl"), "data.held_out": str(folder / "held_out.jsonl"), "output": str(folder / "run")}
summary = mplug_rs.train(folder / "recipe.toml", files, callbacks=[hear])
print(f"{summary.steps} steps; the loss fell below a tenth: {losses[-1] < losses[0] / 10}")

# %%
adapted = mplug_rs.Captioner("crates/mplug-demo-caption/model", adapter=folder / "run" / "last")
for picture, before, after in zip(pictures, captioner(pictures), adapted(pictures)):
    print(f"{picture.name:20} {after}    (before: {before})")
print(f"CIDEr-D: {cider(captioner):.2f} before, {cider(adapted):.2f} after")
