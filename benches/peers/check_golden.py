#!/usr/bin/env python3
"""Holds `mplug_torch` to the original's beam searches of a golden model: every caption's token ids must be equal.

    python check_golden.py MODEL_FOLDER GOLDEN_JSON PICTURES_FOLDER

MODEL_FOLDER has the golden model's weights as pytorch_model.bin; GOLDEN_JSON and the pictures are the golden files.
"""

import json
import pathlib
import sys

import torch

from mplug_torch import load_captioner
from pictures import read_picture


def main():
    model_folder, golden_file, pictures = map(pathlib.Path, sys.argv[1:])
    golden, model = json.loads(golden_file.read_text()), load_captioner(model_folder)
    size = model.settings.image_size
    pixels = torch.cat([torch.from_numpy(read_picture(pictures / name, size)) for name in golden["batch_images"]])
    same, different = 0, 0
    for case in golden["beam"]:
        search = {"beams": case["beam"], "min_length": case["min_length"], "max_length": case["max_length"]}
        found = model.caption(pixels[case["batch"]], **search)
        for ids, hypotheses in zip(found, case["ids"], strict=True):
            same, different = same + (ids == hypotheses[0]), different + (ids != hypotheses[0])
    print(f"{same} captions the same, {different} different")
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
