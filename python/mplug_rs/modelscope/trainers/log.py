"""The lines that a trainer writes to the console, in the form of ``TextLoggerHook``."""

from __future__ import annotations

import datetime
import logging

from ...training import Event

_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"


def logger() -> logging.Logger:
    """The logger ``modelscope``, which writes to standard error where the program has not said otherwise."""
    found = logging.getLogger("modelscope")
    if not found.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(_FORMAT))
        found.addHandler(handler)
        found.setLevel(logging.INFO)
        found.propagate = False
    return found


def print_line(event: Event) -> None:
    """Writes what an event of a run says, where the original would write a line."""
    match event["event"]:
        case "step":
            logger().info(_of_step(event))
        case "evaluated":
            figures = ", ".join(f"evaluation/{name}: {value:.4f}" for name, value in event["metrics"].items())
            logger().info("step(eval) [%d]\t%s", event["step"], figures)
        case "saved":
            logger().info("Saving checkpoint at step %d", event["step"])
        case "warning":
            logger().warning(event["text"])
        case "picture_skipped":
            logger().warning("%s: %s", event["picture"], event["reason"])
        case _:
            pass


def _of_step(event: Event) -> str:
    left = datetime.timedelta(seconds=int(event["seconds_left"]))
    return (
        f"epoch [{event['epoch']}][{event['epoch_step']}/{event['epoch_steps']}]\t"
        f"lr: {event['learning_rate']:.3e}, eta: {left}, iter_time: {event['step_seconds']:.3f}, "
        f"data_load_time: {event['data_seconds']:.3f}, loss: {event['loss']:.4f}"
    )
