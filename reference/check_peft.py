"""Holds an adapter that `mplug train` wrote to PEFT: PEFT loads it onto modules of the base model's weights and merges it, and the
result is what `mplug convert --merge` wrote.

    python reference/check_peft.py BASE ADAPTER MERGED

BASE and MERGED are model folders with `model.safetensors` at f32 (`mplug convert` makes one), ADAPTER is a run's `best`. Needs the pip packages torch, peft and
safetensors. Prints the number of weights compared and the largest difference; ends with 1 where one is above 1e-5.
"""

import json
import pathlib
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file


def place(root, path, module):
    """Puts a module at a path of names, with plain modules on the way."""
    *way, last = path.split(".")
    for name in way:
        if name not in root._modules:
            root.add_module(name, torch.nn.Module())
        root = root._modules[name]
    root.add_module(last, module)


def tree(weights, targets):
    """The modules that the adapter changes, with the base model's weights, under their own names."""
    root = torch.nn.Module()
    for target in targets:
        packed = weights.get(f"{target}.in_proj_weight")
        if packed is None:
            matrix = weights[f"{target}.weight"]
            module = torch.nn.Linear(matrix.shape[1], matrix.shape[0])
            module.load_state_dict({"weight": matrix, "bias": weights[f"{target}.bias"]})
        else:
            width = packed.shape[1]
            module = torch.nn.MultiheadAttention(width, width // 64)
            names = ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]
            module.load_state_dict({name: weights[f"{target}.{name}"] for name in names})
        place(root, target, module)
    return root


def main():
    base, adapter, merged = map(pathlib.Path, sys.argv[1:4])
    targets = json.loads((adapter / "adapter_config.json").read_text())["target_modules"]
    root = tree(load_file(base / "model.safetensors"), targets)
    ours = load_file(merged / "model.safetensors")
    theirs = PeftModel.from_pretrained(root, str(adapter)).merge_and_unload().state_dict()
    changed = [name for name in theirs if not name.endswith("bias")]
    worst = max((theirs[name] - ours[name]).abs().max().item() for name in changed)
    before = load_file(base / "model.safetensors")
    moved = sum(bool((before[name] != ours[name]).any()) for name in changed)
    print(f"{len(changed)} weights of {len(targets)} modules, {moved} of them moved; largest difference {worst:.1e}")
    sys.exit(0 if worst <= 1e-5 and moved == len(targets) else 1)


main()
