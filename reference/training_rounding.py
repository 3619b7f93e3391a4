"""How far the original's training is from its own golden curve by rounding alone: ten steps of AdamW, dropout off, in f32 on
this machine's threads and in f64. The in-place addition that breaks the training of connected models is made out of place.

    python training_rounding.py GOLDEN_FOLDER MODEL_FOLDER

GOLDEN_FOLDER is one of fixtures/golden, MODEL_FOLDER its seeded model in the original's form (`mplug convert` or
the golden data's own script writes it). Needs the pip packages modelscope 1.40.2, torch, transformers 4.57, safetensors.
"""

import importlib.util
import json
import pathlib
import sys
import types

import torch
from safetensors.torch import load_file

MODULE = "modelscope.models.multi_modal.mplug.modeling_mplug"
CLASSES = {
    "image-captioning": "MPlugForImageCaption",
    "visual-question-answering": "MPlugForVisualQuestionAnswering",
    "image-text-retrieval": "MPlugForImageTextRetrieval",
}
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


def original():
    """The original's module with the one line made out of place."""
    import modelscope.models.multi_modal.mplug as package

    spec = importlib.util.find_spec(MODULE)
    source = pathlib.Path(spec.origin).read_text()
    in_place = "encoder_hidden_states += encoder_hidden_states_new"
    assert in_place in source
    source = source.replace(
        in_place, "encoder_hidden_states = encoder_hidden_states + encoder_hidden_states_new"
    )
    module = types.ModuleType(MODULE)
    module.__file__, module.__package__ = spec.origin, package.__name__
    sys.modules[MODULE] = module
    exec(compile(source, spec.origin, "exec"), module.__dict__)
    return module


def pixels(folder, numbers, golden):
    """The batch of two pictures."""
    if "pixels" in numbers:
        return numbers["pixels"][:2]
    resized = load_file(folder.parent.parent / "resized" / "resized_u8.safetensors")
    names = golden["batch_images"][:2]
    return torch.stack([(resized[name].permute(2, 0, 1).float() / 255 - MEAN) / STD for name in names])


def texts(numbers, kind):
    """Token ids and mask as the original's classes take them."""
    batch = types.SimpleNamespace()
    batch.input_ids = numbers[f"train.{kind}_input_ids"]
    batch.attention_mask = numbers[f"train.{kind}_attention_mask"]
    return batch


def curve(model, task, dtype, images, numbers):
    """Ten losses."""
    torch.set_default_dtype(dtype)
    model = model.to(dtype)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.02)
    losses = []
    for _ in range(10):
        if task == "image-text-retrieval":
            loss = model(images.to(dtype), texts(numbers, "answer"), numbers["train.index"], train=True)
        else:
            loss = model(images.to(dtype), texts(numbers, "question"), texts(numbers, "answer"), train=True)
        loss = loss[0] if isinstance(loss, tuple) else loss
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        losses.append(loss.sum().item())
    torch.set_default_dtype(torch.float32)
    return losses


def main():
    folder, model_folder = pathlib.Path(sys.argv[1]), sys.argv[2]
    golden = json.loads((folder / "golden.json").read_text())
    numbers = load_file(folder / "golden.safetensors")
    right = golden.get("train_outofplace", golden["train"])["curve"]
    task, images = golden["task"], pixels(folder, numbers, golden)
    module = original()
    for dtype in (torch.float32, torch.float64):
        model = getattr(module, CLASSES[task]).from_pretrained(model_folder)
        losses = curve(model, task, dtype, images, numbers)
        print(dtype, " ".join(f"{abs(a - b) / b:.1e}" for a, b in zip(losses, right)))


if __name__ == "__main__":
    main()
