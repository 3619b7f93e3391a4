"""Names by which the original finds its parts; plain strings."""

from __future__ import annotations


class Models:
    """Kinds of models."""

    mplug = "mplug"


class Pipelines:
    """Kinds of pipelines."""

    image_captioning = "image-captioning"
    visual_question_answering = "visual-question-answering"
    image_text_retrieval = "image-text-retrieval"


class Preprocessors:
    """Kinds of preprocessors."""

    mplug_tasks_preprocessor = "mplug-tasks-preprocessor"


class Trainers:
    """Kinds of trainers."""

    default = "trainer"
    nlp_base_trainer = "nlp-base-trainer"
    mplug = "mplug"


class Hooks:
    """Kinds of hooks."""

    CheckpointHook = "CheckpointHook"
    BestCkptSaverHook = "BestCkptSaverHook"
    TextLoggerHook = "TextLoggerHook"
    TensorboardHook = "TensorboardHook"
    IterTimerHook = "IterTimerHook"
    EvaluationHook = "EvaluationHook"
    EarlyStopHook = "EarlyStopHook"


class Optimizers:
    """Kinds of optimizers."""

    AdamW = "AdamW"
    Adam = "Adam"
    SGD = "SGD"


class LR_Schedulers:
    """Kinds of warm-ups of the learning rate."""

    ConstantWarmup = "ConstantWarmup"
    LinearWarmup = "LinearWarmup"
    ExponentialWarmup = "ExponentialWarmup"
