"""Names of tasks, modes and files; plain strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

DEFAULT_MODEL_REVISION = None
"""The revision that is meant where none is given: ``master``."""


class _Tasks(type):
    if not TYPE_CHECKING:

        def __getattr__(cls, name: str) -> Any:
            raise AttributeError(
                f"Tasks.{name}: this package has image_captioning, visual_question_answering and image_text_retrieval, "
                "the tasks of mPLUG; for any other keep the package modelscope beside this one"
            )


class Tasks(metaclass=_Tasks):
    """The tasks that there are pipelines for."""

    image_captioning = "image-captioning"
    visual_question_answering = "visual-question-answering"
    image_text_retrieval = "image-text-retrieval"


class ModeKeys:
    """What a model is used for."""

    TRAIN = "train"
    EVAL = "eval"
    INFERENCE = "inference"


class DownloadMode:
    """What becomes of a dataset that is on this machine."""

    REUSE_DATASET_IF_EXISTS = "reuse_dataset_if_exists"
    FORCE_REDOWNLOAD = "force_redownload"


class Hubs:
    """Where datasets come from."""

    modelscope = "modelscope"
    huggingface = "huggingface"


class ModelFile:
    """Files of a model folder."""

    CONFIGURATION = "configuration.json"
    README = "README.md"
    TORCH_MODEL_BIN_FILE = "pytorch_model.bin"
    VOCAB_FILE = "vocab.txt"
    TRAIN_OUTPUT_DIR = "output"
    TRAIN_BEST_OUTPUT_DIR = "output_best"
