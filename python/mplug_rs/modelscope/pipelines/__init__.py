"""Pipelines: a model, called with pictures."""

from __future__ import annotations

from .base import Pipeline
from .builder import pipeline

__all__ = ["Pipeline", "pipeline"]
