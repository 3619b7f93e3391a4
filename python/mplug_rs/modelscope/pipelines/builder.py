"""Makes a pipeline of a task and a model."""

from __future__ import annotations

import os
import re
import warnings
from typing import Any

from ... import find_model, pull
from ...errors import ModelNotFound, OptionError, Unsupported
from ..utils.constant import DEFAULT_MODEL_REVISION, Tasks
from .base import Pipeline
from .multi_modal import ImageCaptioningPipeline, ImageTextRetrievalPipeline, VisualQuestionAnsweringPipeline

_PIPELINES: dict[str, type[ImageCaptioningPipeline | VisualQuestionAnsweringPipeline | ImageTextRetrievalPipeline]] = {
    Tasks.image_captioning: ImageCaptioningPipeline,
    Tasks.visual_question_answering: VisualQuestionAnsweringPipeline,
    Tasks.image_text_retrieval: ImageTextRetrievalPipeline,
}
DEFAULT_MODELS = {Tasks.visual_question_answering: "damo/mplug_visual-question-answering_coco_large_en"}
"""The original's models where none is given, of those that are mPLUG's. For captions it takes one of another family."""
_SUGGESTED = {
    Tasks.image_captioning: "damo/mplug_image-captioning_coco_base_zh",
    Tasks.image_text_retrieval: "damo/mplug_image-text-retrieval_flickr30k_large_en",
}

_HARMLESS = frozenset(
    {
        "auto_collate",
        "compile",
        "compile_options",
        "framework",
        "ignore_file_pattern",
        "third_party",
        "trust_remote_code",
    }
)
"""Options of the original that change no result; they are taken and have no effect."""
_NEAREST = {
    "preprocessor": "pictures and texts are made ready as the model's folder says (config.yaml, vocab.txt)",
    "config_file": "a model's folder has its config.yaml and configuration.json; give that folder as model",
    "pipeline_name": "the task says which pipeline it is",
    "device_map": "mplug_rs.set_threads says how many processors are used",
}


def pipeline(
    task: str | None = None,
    model: str | os.PathLike[str] | None = None,
    preprocessor: None = None,
    config_file: None = None,
    pipeline_name: str | None = None,
    framework: str | None = None,
    device: str = "cpu",
    model_revision: str | None = DEFAULT_MODEL_REVISION,
    **options: Any,
) -> Pipeline:
    """Makes what answers calls: ``pipeline(Tasks.image_captioning, model="owner/name")("photo.jpg")``.

    Public addresses of pictures are opened; those of private networks are refused.

    :param task: one of :class:`~mplug_rs.modelscope.utils.constant.Tasks`.
    :param model: a folder, or a model's name on the hub; downloaded where it is not in the cache.
    :param preprocessor: not taken.
    :param config_file: not taken.
    :param pipeline_name: the same as the task, or nothing.
    :param framework: has no effect.
    :param device: ``cpu``; ``gpu``, ``cuda``, ``gpu:N`` and ``cuda:N`` give a warning and run on the CPU.
    :param model_revision: a branch, a tag or a commit of the hub's; ``master`` where nothing else is here.
    :param options: ``auto_collate``, ``compile``, ``compile_options``, ``ignore_file_pattern``, ``third_party`` and
        ``trust_remote_code`` are taken and have no effect.
    """
    task = task or pipeline_name
    if task not in _PIPELINES:
        raise Unsupported(f"task: expected {', '.join(_PIPELINES)}, the tasks of mPLUG, found {task}")
    if pipeline_name != task:
        options["pipeline_name"] = pipeline_name
    _check_options({"preprocessor": preprocessor, "config_file": config_file, **options})
    check_device(device)
    return _PIPELINES[task](folder_of(_model_of(task, model), model_revision))


def _check_options(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if name in _HARMLESS or (name in _NEAREST and value is None):
            continue
        if name in _NEAREST:
            raise Unsupported(f"{name}: not taken here; {_NEAREST[name]}")
        raise TypeError(
            f"pipeline() got an unexpected keyword argument {name!r}; precision, image_size and the options of the search are "
            "those of mplug_rs.Captioner, mplug_rs.Answerer and mplug_rs.Matcher"
        )


def check_device(device: object) -> None:
    """Warns of a GPU, which is not used, and refuses what is no device."""
    name = str(device).lower()  # a torch.device says its name too
    if re.fullmatch(r"(cpu|gpu|cuda)(:\d+)?", name) is None:
        raise OptionError(f"device: expected cpu, gpu, cuda, gpu:N or cuda:N, found {device}")
    if not name.startswith("cpu"):
        warnings.warn(
            f"device: {device}: models run on the CPU here, with the same results", UserWarning, stacklevel=3
        )


def _model_of(task: str, model: object) -> str:
    """The name or the folder of a model."""
    if model is None:
        model = DEFAULT_MODELS.get(task)
    if model is None:
        raise Unsupported(
            f"model: the original has no mPLUG model of its own choice for {task}; name one, such as {_SUGGESTED[task]}"
        )
    if isinstance(model, (str, os.PathLike)):
        return os.fsdecode(model)
    raise Unsupported(
        f"model: expected a model's name or its folder, found {type(model).__name__}; make a pipeline for each of several models"
    )


def folder_of(model: str, revision: str | None) -> str:
    """The folder that was named, that of the model on this machine, or that of the one downloaded now."""
    if os.path.exists(model):
        return model
    if revision is None:
        try:
            return str(find_model(model))
        except ModelNotFound:
            pass
    return str(pull(model, revision))
