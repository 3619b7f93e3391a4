"""The learning rate over time: PyTorch's schedulers after ModelScope's warm-ups, as a recipe's ``[schedule]`` has them."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import Unsupported
from .options import Options, Tables

_WARMUPS = {"LinearWarmup": "linear", "ConstantWarmup": "constant", "ExponentialWarmup": "exponential"}


def schedule(scheduler: Options, accumulated: int) -> Tables:
    """The table of ``train.lr_scheduler``, a constant rate where there is none; ``accumulated`` batches make a step."""
    kind = scheduler.take("type", None)
    if kind is None:
        scheduler.finish("schedule.kind")
        return {"kind": "constant", "warmup_steps": 0}
    read: dict[str, Callable[[], Tables]] = {
        "StepLR": lambda: {
            "kind": "step",
            "step_size": scheduler.needed("step_size"),
            "gamma": scheduler.number("gamma", 0.1),
        },
        "MultiStepLR": lambda: {
            "kind": "multi-step",
            "milestones": list(scheduler.needed("milestones")),
            "gamma": scheduler.number("gamma", 0.1),
        },
        "ExponentialLR": lambda: {"kind": "exponential", "gamma": float(scheduler.needed("gamma"))},
        "CosineAnnealingLR": lambda: {
            "kind": "cosine-annealing",
            "t_max": scheduler.needed("T_max"),
            "eta_min": scheduler.number("eta_min", 0.0),
        },
        "LinearLR": lambda: {
            "kind": "linear-factor",
            "start_factor": scheduler.number("start_factor", 1 / 3),
            "end_factor": scheduler.number("end_factor", 1.0),
            "total_iters": scheduler.whole("total_iters", 5),
        },
    }
    if kind not in read:
        raise Unsupported(f"train.lr_scheduler.type: expected {', '.join(read)}, found {kind}; a recipe has schedule.kind")
    options = Options("train.lr_scheduler.options", scheduler.take("options", None) or {})
    by_epoch = options.take("by_epoch", options.take("lr_strategy", "by_epoch") == "by_epoch")
    if not by_epoch and accumulated > 1:
        raise Unsupported(
            "train.lr_scheduler.options.by_epoch: expected True with cumulative_iters, for a recipe's schedule.by counts optimizer steps "
            "and not batches, found False"
        )
    table = {**read[kind](), "by": "epoch" if by_epoch else "step", **_warmup(options)}
    scheduler.leave("last_epoch", "verbose")
    scheduler.finish("schedule.kind with its keys")
    options.finish("schedule.by and schedule.warmup")
    return table


def _warmup(options: Options) -> Tables:
    given = options.take("warmup", None)
    if given is None:
        return {}
    warmup = Options("train.lr_scheduler.options.warmup", given)
    kind = warmup.needed("type")
    if kind not in _WARMUPS:
        raise Unsupported(f"{warmup.name}.type: expected {', '.join(_WARMUPS)}, found {kind}; a recipe has schedule.warmup.kind")
    table = {
        "kind": _WARMUPS[kind],
        "iters": warmup.whole("warmup_iters", None, least=0),
        "ratio": warmup.number("warmup_ratio", 0.1),
    }
    warmup.finish("schedule.warmup with kind, iters and ratio")
    return {"warmup": table}
