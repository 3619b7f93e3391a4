#!/usr/bin/env python3
"""The original's `pipeline` loads what the card's second sample left here in `work_dir/output`, and captions as we do.

    cargo build --release -p mplug --example seeded_model
    python check_card_output.py target/release/examples/seeded_model target/venv/bin/python

The second argument is a Python with `mplug_rs` (`.ci/run` makes that one). Needs the pip packages of modelscope's pipeline itself
(tried with torch 2.15, modelscope 1.40.2, transformers 4.57.6).
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import make_card_fixtures as card
from modelscope.pipelines import pipeline
from modelscope.utils.constant import Tasks

ROOT = pathlib.Path(__file__).resolve().parent.parent
PICTURE = ROOT / "fixtures" / "images" / "wide.png"
CAPTION = """
from mplug_rs.modelscope.pipelines import pipeline
print(pipeline("image-captioning", model={model!r})({picture!r})["caption"])
"""


def trained(ours, model, data, work_dir):
    """Runs the card's sample with these folders in it; gives our caption."""
    sample = (ROOT / "python" / "tests" / "samples" / "card_training.py").read_text(encoding="utf-8")
    for name, folder in (
        ("'coco_captions_small_slice'", data),
        ("'damo/mplug_image-captioning_coco_base_zh'", model),
        ("tempfile.TemporaryDirectory().name", work_dir),
    ):
        sample = sample.replace(name, repr(str(folder)))
    caption = CAPTION.format(model=str(work_dir / "output"), picture=str(PICTURE))
    # In a folder of its own: the packages beside this file are for another Python.
    done = subprocess.run([ours, "-c", sample + caption], check=True, capture_output=True, text=True, cwd=work_dir.parent)
    return done.stdout.splitlines()[-1]


def main():
    seeded_model, ours = sys.argv[1], pathlib.Path(sys.argv[2]).absolute()
    rows = json.loads((ROOT / "fixtures" / "schedules" / "card.json").read_text(encoding="utf-8"))["rows"]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        golden = ROOT / "fixtures" / "golden" / "tiny"
        subprocess.run([seeded_model, folder / "model", "--golden", golden, "--format", "pytorch"], check=True)
        (folder / "data").mkdir()
        card.write(folder / "data", ROOT / "fixtures" / "images", rows)
        caption = trained(ours, folder / "model", folder / "data", folder / "run")
        found = pipeline(Tasks.image_captioning, model=str(folder / "run" / "output"), device="cpu")(str(PICTURE))["caption"]
    print(f"{caption}\n{found}")
    if found != caption:
        sys.exit("the original writes another caption")


if __name__ == "__main__":
    main()
