"""The keys of what pipelines give."""

from __future__ import annotations


class OutputKeys:
    """The key of each task's result."""

    CAPTION = "caption"
    """A caption, of captioning."""
    TEXT = "text"
    """An answer, of visual question answering."""
    SCORES = "scores"
    """The probabilities ``[does not fit, fits]`` of a text, of image-text retrieval."""
