#!/usr/bin/env python3
"""Holds our PyTorch reader and writer to PyTorch itself.

    cargo build --release && cargo build --release -p mplug --example seeded_model
    python reference/check_pytorch_files.py target/release/mplug target/release/examples/seeded_model PICTURE...

needs torch (2.15 was used). A tiny seeded model is written by us and loaded by `torch.load(weights_only=True)`; then
`torch.save` writes it again in every form that checkpoints of this family have, and each must give the same captions,
bit for bit. Exits with 1 if one does not.
"""
import collections
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch


def main():
    mplug, seeded_model, *pictures = sys.argv[1:]
    root = pathlib.Path(tempfile.mkdtemp())
    source = root / "source"
    run(seeded_model, source, "--size", "tiny", "--task", "caption", "--format", "pytorch", "--keep", "all")
    state = torch.load(source / "pytorch_model.bin", weights_only=True, map_location="cpu")

    def captions(folder):
        return run(mplug, "caption", "--model", folder, "--format", "jsonl", "--raw", *pictures)

    def saved(name, content, legacy=False):
        folder = root / name
        shutil.copytree(source, folder)
        torch.save(content, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
        return folder

    prefixed = collections.OrderedDict(("model." + name, tensor) for name, tensor in state.items())
    parameters = {name: torch.nn.Parameter(t) if t.is_floating_point() else t for name, t in state.items()}
    optimizer = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 1e-5}]}
    forms = {
        "plain": state,
        "under model, with an optimizer": {"model": state, "optimizer": optimizer, "epoch": 1},
        "under module, prefixed": {"module": prefixed},
        "parameters": parameters,
        "a strided view": with_strided_view(state),
    }
    expected = captions(source)
    failed = 0
    for form, content in forms.items():
        for legacy in (False, True):
            name = f"{form}, {'legacy' if legacy else 'zip'}"
            same = captions(saved(name, content, legacy)) == expected
            failed += not same
            print("same" if same else "DIFFERENT", name)
    for name, dtype in (("f16", torch.float16), ("bf16", torch.bfloat16)):
        converted = root / f"converted {name}"
        run(mplug, "convert", source, converted, "--dtype", name)
        half = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in state.items()}
        same = captions(saved(name, half)) == captions(converted)
        failed += not same
        print("same" if same else "DIFFERENT", name)
    shutil.rmtree(root)
    sys.exit(failed > 0)


def with_strided_view(state):
    """One matrix as a transposed window into a larger storage."""
    name = next(name for name, tensor in state.items() if tensor.dim() == 2 and name.endswith("in_proj_weight"))
    rows, columns = state[name].shape
    storage = torch.zeros(columns + 3, rows + 2)
    storage[1 : 1 + columns, 2 : 2 + rows] = state[name].T
    return {**state, name: storage[1 : 1 + columns, 2 : 2 + rows].T}


def run(*command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
