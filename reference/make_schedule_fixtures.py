#!/usr/bin/env python3
"""Learning rates of PyTorch's schedules after ModelScope's warm-ups, and weights after steps of PyTorch's optimizers.

    python make_schedule_fixtures.py fixtures/schedules

Needs the pip packages torch and modelscope (tried with torch 2.15 and modelscope 1.40.2). Writes `schedules.json`: per case the
section of a recipe, the peak, and the rate before each of 25 calls of the schedule, the warm-up called as ModelScope's
`LrSchedulerHook` calls it; and `optimizers.json`: per case the section of a recipe, weights, gradients, rates, and the
weights after each step.
"""
import json
import pathlib
import sys
import warnings

import torch
from modelscope.trainers.lrscheduler.warmup.warmup import ConstantWarmup, ExponentialWarmup, LinearWarmup
from torch.optim import SGD, Adam, AdamW, lr_scheduler

PEAK = 0.3
CALLS = 25

SCHEDULES = [
    ("step", "step_size = 3\ngamma = 0.5", lambda o: lr_scheduler.StepLR(o, 3, gamma=0.5)),
    ("step", "step_size = 4", lambda o: lr_scheduler.StepLR(o, 4)),
    ("multi-step", "milestones = [2, 7, 7, 11]\ngamma = 0.4", lambda o: lr_scheduler.MultiStepLR(o, [2, 7, 7, 11], gamma=0.4)),
    ("exponential", "gamma = 0.9", lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
    ("cosine-annealing", "t_max = 25", lambda o: lr_scheduler.CosineAnnealingLR(o, 25)),
    ("cosine-annealing", "t_max = 4\neta_min = 0.02", lambda o: lr_scheduler.CosineAnnealingLR(o, 4, eta_min=0.02)),
    ("cosine-annealing", "t_max = 1\neta_min = 0.02", lambda o: lr_scheduler.CosineAnnealingLR(o, 1, eta_min=0.02)),
    ("linear-factor", "", lambda o: lr_scheduler.LinearLR(o)),
    (
        "linear-factor",
        "start_factor = 0.8\nend_factor = 0.0\ntotal_iters = 9",
        lambda o: lr_scheduler.LinearLR(o, start_factor=0.8, end_factor=0.0, total_iters=9),
    ),
]
WARMUPS = [("linear", LinearWarmup), ("constant", ConstantWarmup), ("exponential", ExponentialWarmup)]
# Ends before, at and after the turns of the schedules.
LENGTHS = [(1, 0.1), (4, 0.1), (5, 0.25), (8, 0.01), (13, 0.5)]


def rates(schedule, warmup):
    """The rate before each call; the warm-up takes the calls where there is one."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = SGD([weight], lr=PEAK)
    scheduler = schedule(optimizer)
    called = warmup(scheduler) if warmup else scheduler
    found = []
    for _ in range(CALLS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        called.step()
    return found


def schedules():
    cases = []
    for kind, keys, schedule in SCHEDULES:
        head = f'kind = "{kind}"\n{keys}\n'
        cases.append({"recipe": head, "peak": PEAK, "rates": rates(schedule, None)})
        for name, warmup in WARMUPS:
            for iters, ratio in LENGTHS:
                recipe = head + f'[warmup]\nkind = "{name}"\niters = {iters}\nratio = {ratio}\n'
                made = lambda scheduler: warmup(scheduler, warmup_iters=iters, warmup_ratio=ratio)
                cases.append({"recipe": recipe, "peak": PEAK, "rates": rates(schedule, made)})
    return cases


OPTIMIZERS = [
    ('kind = "adamw"\nweight_decay = 0.02', lambda p: AdamW(p, weight_decay=0.02)),
    ('kind = "adamw"\nbetas = [0.8, 0.9]\neps = 1e-3\nweight_decay = 0.5', lambda p: AdamW(p, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.5)),
    ('kind = "adam"\nweight_decay = 0.0', lambda p: Adam(p)),
    ('kind = "adam"\nbetas = [0.8, 0.9]\nweight_decay = 0.3', lambda p: Adam(p, betas=(0.8, 0.9), weight_decay=0.3)),
    ('kind = "sgd"\nweight_decay = 0.0', lambda p: SGD(p, lr=1.0)),
    ('kind = "sgd"\nweight_decay = 0.3', lambda p: SGD(p, lr=1.0, weight_decay=0.3)),
    ('kind = "sgd"\nmomentum = 0.9\nweight_decay = 0.3', lambda p: SGD(p, lr=1.0, momentum=0.9, weight_decay=0.3)),
    (
        'kind = "sgd"\nmomentum = 0.9\nnesterov = true\nweight_decay = 0.3',
        lambda p: SGD(p, lr=1.0, momentum=0.9, nesterov=True, weight_decay=0.3),
    ),
]


def optimizers():
    generator = torch.Generator().manual_seed(7)
    start = torch.randn(12, generator=generator)
    gradients = [torch.randn(12, generator=generator) * 10.0**-step for step in (0, 1, 0, 3, 1, 0)]
    steps = [0.1, 0.05, 0.2, 0.1, 0.01, 0.1]
    cases = []
    for recipe, make in OPTIMIZERS:
        weight = torch.nn.Parameter(start.clone())
        optimizer = make([weight])
        after = []
        for rate, gradient in zip(steps, gradients):
            optimizer.param_groups[0]["lr"] = rate
            weight.grad = gradient.clone()
            optimizer.step()
            after.append(weight.detach().tolist())
        cases.append({"recipe": recipe, "after": after})
    return {"start": start.tolist(), "gradients": [g.tolist() for g in gradients], "rates": steps, "cases": cases}


def main():
    warnings.simplefilter("ignore")
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("schedules.json", schedules()), ("optimizers.json", optimizers())):
        (folder / name).write_text(json.dumps(content, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
