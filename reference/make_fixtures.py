#!/usr/bin/env python3
"""Cuts the original's golden numbers down to what the tests read, a few MB in all.

    python reference/make_fixtures.py GOLDEN_DIR fixtures

GOLDEN_DIR holds a folder per seeded model: the small files of a model folder, `manifest.json` (the recipe of every
tensor), `explicit.safetensors`, `golden.safetensors` and `golden.json`, all dumped from the unmodified ModelScope
classes. Standard library only. What is kept, and why:

- stage outputs of two of the four pictures (the shortest and the longest question), logits of all;
- `pixels` of the 56-pixel models (the 64-pixel ones are made from the resized pictures);
- the first values of gradients;
- the manifests without their `first` values, except one a tensor, which checks the formula.
"""
import json
import pathlib
import shutil
import struct
import sys

SMALL_FILES = ("configuration.json", "config.yaml", "config_bert.json", "vocab.txt", "golden.json", "explicit.safetensors")
TWO_PICTURES = ("visual_out", "image_embeds", "text_out", "fusion_image", "fusion_text")
WHOLE = ("prefix.ids", "prefix.mask", "prefix.logits", "greedy.", "question.", "sample.", "itm", "image_feat", "text_feat", "train")


def read(path):
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    return {
        name: (entry["dtype"], entry["shape"], raw[8 + length + entry["data_offsets"][0] : 8 + length + entry["data_offsets"][1]])
        for name, entry in header.items()
    }


def write(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def keep(name, tensor, keeps_pixels):
    dtype, shape, data = tensor
    if name in TWO_PICTURES:  # the last two of four
        return dtype, [2] + shape[1:], data[len(data) // 2 :]
    if name.startswith(WHOLE) or (name == "pixels" and keeps_pixels):
        return tensor
    return None


def main():
    source, target = map(pathlib.Path, sys.argv[1:])
    for model in sorted(path.parent for path in source.glob("*/manifest.json")):
        out = target / "golden" / model.name
        out.mkdir(parents=True, exist_ok=True)
        for name in SMALL_FILES:
            if (model / name).exists():
                shutil.copyfile(model / name, out / name)
        manifest = json.loads((model / "manifest.json").read_text())
        for tensor in manifest["tensors"]:
            tensor["first"] = tensor.get("first", [])[:1]
        (out / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":")) + "\n")
        tensors = read(model / "golden.safetensors")
        kept = {name: keep(name, tensor, "large" in model.name) for name, tensor in tensors.items()}
        write(out / "golden.safetensors", {name: tensor for name, tensor in kept.items() if tensor})


if __name__ == "__main__":
    main()
