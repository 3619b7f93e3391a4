"""What ModelScope's trainer leaves in its folder, made of a run's checkpoints: ``output/``, ``epoch_N.pth``, ``output_best/``."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Literal

from ... import _native
from ...errors import OptionError
from ...training import Event
from ..utils.constant import ModelFile
from .recipe import Plan


_FIGURES = "eval_result.txt"


class Output:
    """Writes the files of a run's checkpoints as they come."""

    def __init__(self, work_dir: Path, plan: Plan) -> None:
        self._work_dir = work_dir
        self._plan = plan
        self._written: list[Path] = []
        self._figures: dict[str, float] | None = None

    def hear(self, event: Event) -> None:
        """Writes the files of a checkpoint that was saved in its time; those of interruptions and evaluations have none."""
        if event["event"] == "evaluated":
            self._figures = event["metrics"]
        steps = self._plan.recipe["run"]["epochs"] * self._plan.steps_per_epoch
        is_saved = event["event"] == "saved" and (event["step"] % self._plan.save_every == 0 or event["step"] == steps)
        if not is_saved or event["step"] == 0:
            return
        name = self._name(event["step"])
        self._publish(f"step-{event['step']:06}", f"{name}.pth", ModelFile.TRAIN_OUTPUT_DIR)
        self._written.append(self._work_dir / f"{name}.pth")
        while self._plan.most_files is not None and len(self._written) > max(1, self._plan.most_files):
            self._written.pop(0).unlink(missing_ok=True)

    def finish(self) -> None:
        """Writes the best model, at the end of the run."""
        best = self._work_dir / "best"
        if not self._plan.keeps_best or not best.exists():
            return
        step = int(re.sub(r"\D", "", best.resolve().name) or 0)
        self._publish("best", f"best_{self._name(step).replace('_', '')}_{self._plan.best_metric}.pth", ModelFile.TRAIN_BEST_OUTPUT_DIR)

    def step_of(self, checkpoint: str | os.PathLike[str]) -> int | Literal["last"]:
        """The step of a checkpoint of this run, by the name of its file or folder."""
        path = Path(checkpoint)
        if path.parent.resolve() != self._work_dir.resolve() and path.resolve() != self._work_dir.resolve():
            raise OptionError(
                f"checkpoint_path: expected a checkpoint in work_dir, {self._work_dir}, found {path}; build_trainer(model=...) starts from "
                "other models"
            )
        if path.name == "last" or path.resolve() == self._work_dir.resolve():
            return "last"
        found = re.fullmatch(r"(epoch_|iter_|step-)(\d+)(_trainer_state)?(\.pth)?", path.name)
        if found is None:
            raise OptionError(f"checkpoint_path: expected epoch_N.pth, iter_N.pth, a folder step-N or last, found {path.name}")
        return int(found[2]) * (self._plan.steps_per_epoch if found[1] == "epoch_" else 1)

    def _name(self, step: int) -> str:
        if self._plan.by_epoch and step % self._plan.steps_per_epoch == 0:
            return f"epoch_{step // self._plan.steps_per_epoch}"
        return f"iter_{step}"

    def _publish(self, checkpoint: str, weights: str, folder: str) -> None:
        """Writes a checkpoint's weights as ``weights``, and again, as the same file, into the model folder ``folder``."""
        with tempfile.TemporaryDirectory(dir=self._work_dir, prefix=".output-") as temporary:
            new = Path(temporary) / "model"
            _native.convert(os.fspath(self._work_dir / checkpoint), os.fspath(new), True)
            file, place = self._work_dir / weights, self._work_dir / folder
            os.replace(new / ModelFile.TORCH_MODEL_BIN_FILE, file)
            if not place.exists():
                new.rename(place)
            # As the original's: `null` where nothing was evaluated.
            (place / _FIGURES).write_text(json.dumps(self._figures), encoding="utf-8")
            linked = Path(temporary) / "linked"
            with contextlib.suppress(OSError):
                os.link(file, linked)
            if not linked.exists():
                linked.write_bytes(file.read_bytes())
            os.replace(linked, place / ModelFile.TORCH_MODEL_BIN_FILE)
