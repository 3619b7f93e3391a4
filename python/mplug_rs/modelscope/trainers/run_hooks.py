"""What hooks say of a run: when it logs, saves and evaluates, what is the best, and when it ends early."""

from __future__ import annotations

import math

from ...errors import OptionError, Unsupported
from .options import Options, Tables
from .sources import Sources

_NEAREST = {
    "OptimizerHook": "[optimizer] (train.optimizer with its options)",
    "LrSchedulerHook": "[schedule] (train.lr_scheduler with its options)",
    "PlateauLrSchedulerHook": "[schedule], which goes by steps or epochs and never by figures",
    "DDPHook": "`mpirun -n N mplug train`",
    "TorchAMPOptimizerHook": "run.precision",
    "ApexAMPOptimizerHook": "run.precision",
    "LoadCheckpointHook": "[start] model (build_trainer's model)",
    "SparsityHook": "none",
}
"""Hooks that are not taken, with what a recipe has for them."""


class RunHooks:
    """What hooks say of a run."""

    def __init__(self, sources: Sources, per_epoch: int, accumulated: int) -> None:
        self._per_epoch, self._accumulated = per_epoch, accumulated
        self._steps = per_epoch * sources.max_epochs
        self.run: Tables = {"log_every": 10, "checkpoint_every": self._steps, "keep_last": 1}
        self.evaluation: Tables = {"every": 0, "at_start": False, "pictures": max(1, sources.held_out_pictures)}
        self.by_epoch = True
        self.keeps_best = False
        self.best_metric = ""
        self.most_files: int | None = None
        read = {
            "CheckpointHook": self._checkpoint,
            "TextLoggerHook": self._log,
            "IterTimerHook": lambda hook: hook.finish("the times of log.jsonl"),
            "EvaluationHook": self._evaluation,
            "BestCkptSaverHook": self._best,
            "EarlyStopHook": self._early_stop,
            "TensorboardHook": self._tensorboard,
        }
        given = {hook["type"]: Options(hook["type"], {k: v for k, v in hook.items() if k != "type"}) for hook in sources.hooks}
        for kind in given:
            if kind not in read:
                nearest = _NEAREST.get(kind, "callbacks of mplug_rs.train, which hear of every step")
                raise Unsupported(f"train.hooks: {kind} is not here; the nearest is {nearest}")
        # The figures that other hooks name are those of evaluations.
        for kind in sorted(given, key=list(read).index):
            read[kind](given[kind])
        if self.evaluation["every"] and sources.held_out is None:
            raise OptionError("eval_dataset: expected a dataset, for EvaluationHook is there, found none")

    def _every(self, hook: Options, default: int) -> tuple[int, bool]:
        """An interval in steps, and whether it was given in epochs."""
        interval = hook.whole("interval", default, least=0)
        strategy = hook.take("save_strategy", None) or hook.take("eval_strategy", None) or "by_epoch"
        by_epoch = hook.take("by_epoch", strategy == "by_epoch")
        if strategy == "no" or interval == 0:
            return 0, bool(by_epoch)
        if by_epoch:
            return interval * self._per_epoch, True
        if interval % self._accumulated:
            raise Unsupported(
                f"{hook.name}.interval: expected a multiple of cumulative_iters, {self._accumulated}, found {interval}; a recipe counts "
                "optimizer steps"
            )
        return interval // self._accumulated, False

    def _checkpoint(self, hook: Options) -> None:
        every, self.by_epoch = self._every(hook, 0)
        if not hook.take("save_last", True):
            raise Unsupported("CheckpointHook.save_last: expected True, for a run always saves its last step, found False")
        self.most_files = hook.take("max_checkpoint_num", None)
        # Off, or past the end: the last step alone is saved.
        self.run["checkpoint_every"] = every if 0 < every <= self._steps else self._steps
        saved = math.ceil(self._steps / self.run["checkpoint_every"])
        self.run["keep_last"] = saved if self.most_files is None else max(1, int(self.most_files))
        self._check_places(hook)
        hook.finish("run.checkpoint_every and run.keep_last")

    def _check_places(self, hook: Options) -> None:
        hook.leave("save_trainer_state", "upload_strategy", "private_hub")
        for key in ["save_dir", "output_dir", "output_sub_dir"]:
            if hook.take(key, None) is not None:
                raise Unsupported(f"{hook.name}.{key}: not taken here; work_dir says where everything goes")

    def _log(self, hook: Options) -> None:
        self.run["log_every"] = max(1, hook.whole("interval", 10) // self._accumulated)
        hook.leave("by_epoch", "ignore_last", "reset_flag", "ignore_rounding_keys", "rounding_digits")
        if hook.take("out_dir", None) is not None:
            raise Unsupported("TextLoggerHook.out_dir: not taken here; the logs are in work_dir")
        hook.finish("run.log_every")

    def _evaluation(self, hook: Options) -> None:
        self.evaluation["every"], _ = self._every(hook, 1)
        start = hook.take("start_idx", None)
        if start not in (None, 0):
            raise Unsupported(f"EvaluationHook.start_idx: expected none, found {start}; evaluation.every counts from the first step")
        hook.finish("evaluation.every and evaluation.pictures")

    def _best(self, hook: Options) -> None:
        if not self.evaluation["every"]:
            raise OptionError("BestCkptSaverHook: expected an EvaluationHook beside it, found none")
        self.best_metric = str(hook.needed("metric_key"))
        self.evaluation["metric"] = _metric(self.best_metric, hook.take("rule", "max"), hook.name)
        self.keeps_best = bool(hook.take("save_best", True))
        for key in ["restore_best", "save_file_name"]:
            if hook.take(key, None):
                raise Unsupported(f"BestCkptSaverHook.{key}: not taken here; the best model is in output_best, and its state in best")
        if hook.take("max_checkpoint_num", 1) != 1:
            raise Unsupported("BestCkptSaverHook.max_checkpoint_num: expected 1, the best one; a recipe keeps that beside run.keep_last")
        hook.leave("interval", "save_strategy", "by_epoch")
        self._check_places(hook)
        hook.finish("evaluation.metric")

    def _early_stop(self, hook: Options) -> None:
        every = self.evaluation["every"]
        if not every:
            raise OptionError("EarlyStopHook: expected an EvaluationHook beside it, found none")
        metric = _metric(str(hook.needed("metric_key")), hook.take("rule", "max"), hook.name)
        if self.evaluation.setdefault("metric", metric) != metric:
            raise Unsupported(
                f"EarlyStopHook.metric_key: expected {self.best_metric}, as BestCkptSaverHook has it, for one figure is evaluation.metric"
            )
        interval = hook.whole("interval", 1)
        strategy = hook.take("early_stop_strategy", "by_epoch")
        by_epoch = hook.take("by_epoch", strategy == "by_epoch")
        if interval * (self._per_epoch if by_epoch else 1) != every:
            raise Unsupported("EarlyStopHook.interval: expected that of EvaluationHook, for evaluation.patience counts evaluations")
        if hook.number("min_delta", 0.0) != 0.0:
            raise Unsupported("EarlyStopHook.min_delta: expected 0, for evaluation.patience counts whatever is better")
        hook.leave("check_finite")
        self.evaluation["patience"] = hook.whole("patience", 3)
        hook.finish("evaluation.patience")

    def _tensorboard(self, hook: Options) -> None:
        if hook.take("out_dir", None) is not None:
            raise Unsupported("TensorboardHook.out_dir: not taken here; TensorBoard's files are in work_dir/tensorboard")
        hook.leave("interval", "by_epoch", "ignore_last", "reset_flag", "skip_keys")
        hook.finish("run.log_every; every run writes tensorboard/")


_METRICS = {
    "bleu": "bleu_4",
    "bleu-1": "bleu_1",
    "bleu-2": "bleu_2",
    "bleu-3": "bleu_3",
    "bleu-4": "bleu_4",
    "rouge-l": "rouge_l",
    "rouge": "rouge_l",
}
"""Other names of figures."""


def _metric(name: str, rule: str, hook: str) -> str:
    metric = name.removeprefix("evaluation/").lower()
    metric = _METRICS.get(metric, metric)
    expected = "min" if metric == "loss" else "max"
    if rule != expected:
        raise OptionError(f"{hook}.rule: expected {expected} with {name}, found {rule}")
    return metric
