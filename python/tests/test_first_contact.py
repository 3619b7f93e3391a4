"""`reference/first_contact.py`: a model pulled from a hub of ours, beside a stand-in for the original with answers that are set."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from conftest import ROOT, fixture_picture, records
from modelscope_support import PACKAGE, hub, run

MODEL = "damo/mplug_image-captioning_coco_base_zh"
PICTURES = ["noise_rgb.png", "shapes_rgb.png"]

STAND_IN = """
import json, pathlib
import mplug_rs

class Tokenizer:
    def decode(self, ids):
        return self.text

class Pipe:
    def __init__(self, folder):
        self.model = type("Model", (), {"tokenizer": Tokenizer()})()
        self.captioner = mplug_rs.Captioner(folder)
        self.texts = json.loads(pathlib.Path(__file__).with_name("texts.json").read_text())

    def __call__(self, picture):
        self.model.tokenizer.text = self.texts[pathlib.Path(picture).name]
        ids = [101, *self.captioner(picture).token_ids]
        return {"caption": self.model.tokenizer.decode(ids)}

def pipeline(task, model, device):
    assert (task, device) == ("image-captioning", "cpu")
    return Pipe(model)
"""


def test_a_report_sets_captions_side_by_side(golden: Callable[[str], Path], tmp_path: Path) -> None:
    texts = {entry["image"]: entry["result"]["caption"] for entry in records("tiny")["pipeline"]}
    module = tmp_path / "modelscope" / "pipelines"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text(STAND_IN)
    (module / "texts.json").write_text(json.dumps(texts))
    program = str(ROOT / "reference" / "first_contact.py")
    pictures = [str(fixture_picture(name)) for name in PICTURES]
    with hub({MODEL: golden("tiny")}) as models:
        variables = {
            "MODELSCOPE_ENDPOINT": f"http://127.0.0.1:{models.port}",
            "MODELSCOPE_CACHE": str(tmp_path / "cache"),
            "PYTHONPATH": f"{tmp_path}{os.pathsep}{PACKAGE}",
            "PATH": str(tmp_path),
        }
        same = run(program, MODEL, *pictures, variables=variables, cwd=tmp_path)
        assert same.returncode == 0, same.stderr
        assert same.stdout.count("**the same**") == 2 and "2 of 2 captions are the same" in same.stdout
        assert f"mplug eval --model {MODEL}" in same.stdout and "not on the PATH" in same.stdout

        (module / "texts.json").write_text(json.dumps({**texts, PICTURES[1]: "another caption"}))
        other = run(program, MODEL, *pictures, variables=variables, cwd=tmp_path)
        assert other.returncode == 1 and "1 of 2 captions are the same" in other.stdout
        assert other.stdout.count("**DIFFERENT**") == 1

        alone = run(program, MODEL, *pictures, "--without-original", variables=variables, cwd=tmp_path)
        assert alone.returncode == 0 and "original" not in alone.stdout.split("## Captions")[1]
