"""The exceptions of this package. All can be pickled, and all say what the command line says."""

from __future__ import annotations

from typing import Any, Literal

Reason = Literal["missing", "unreadable", "too_large", "truncated", "unsupported"]
"""What kind of fault a picture has."""


class MplugError(Exception):
    """Whatever this package raises of its own."""


class ModelError(MplugError):
    """A model that cannot be used: damaged, of another task, without numbers for a picture."""


class ModelNotFound(ModelError, FileNotFoundError):
    """A model that is not here."""

    # FileNotFoundError would read two arguments as an error number and a text.
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class PictureError(MplugError, ValueError):
    """A picture that cannot be used. It harms no other picture of a batch."""

    source: str
    """The path or address; ``picture`` for what has neither."""
    reason: Reason
    """What kind of fault it is."""

    def __init__(self, message: str, *, source: str = "picture", reason: Reason = "unreadable") -> None:
        super().__init__(message)
        self.source = source
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return (_picture_error, (str(self), self.source, self.reason))


def _picture_error(message: str, source: str, reason: Reason) -> PictureError:
    return PictureError(message, source=source, reason=reason)


class FetchError(MplugError, OSError):
    """Something that did not come over the network: a picture of a web address, a model."""


class OptionError(MplugError, ValueError):
    """An argument that cannot be. The message begins with its name."""


class Unsupported(MplugError, NotImplementedError):
    """Something that the original has and this package has not. The message names the nearest thing."""


class InternalError(MplugError, RuntimeError):
    """A fault of this package."""
