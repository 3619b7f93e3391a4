"""What may stand for a picture, and how it reaches the engine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import OptionError, PictureError


class BinaryFile(Protocol):
    """A file that is open for reading bytes."""

    def read(self) -> bytes:
        """All of them."""
        ...


class PilPicture(Protocol):
    """A picture of Pillow, or of what behaves like it."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        ...

    def convert(self, mode: str) -> Any:
        """The picture with other colours."""
        ...


Picture: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryFile
    | PilPicture
    | npt.NDArray[np.uint8]
    | Mapping[str, Any]
)
"""A path, the bytes of a file, a file object, a PIL picture, an array, or ``{"image": picture}``; see :func:`prepare`."""

Prepared: TypeAlias = "tuple[str, str] | bytes | tuple[int, int, bytes]"
"""What the native module takes."""

_EXPECTED = (
    "expected a picture: a path, bytes, a file object, a PIL.Image, a numpy array of uint8 (height, width), "
    "(height, width, 3) or (height, width, 4), or a dict with the key 'image'"
)


def is_many(pictures: object) -> bool:
    """Whether it is several pictures: a list, a tuple, or an iterator of them."""
    if isinstance(pictures, (str, bytes, bytearray, memoryview, os.PathLike, Mapping, np.ndarray)):
        return False
    if hasattr(pictures, "read") or hasattr(pictures, "convert"):
        return False
    return isinstance(pictures, Iterable)


def prepare(picture: Any, *, exif: bool = False) -> Prepared:
    """Takes a picture to what the engine reads.

    Files are turned upright by their EXIF entry. A PIL picture is taken as it is, as the original does, or turned with ``exif``.
    An alpha channel is dropped.
    """
    if isinstance(picture, Mapping):
        if "image" not in picture:
            raise OptionError(f"picture: expected the key 'image', found {sorted(map(str, picture))}")
        return prepare(picture["image"], exif=exif)
    if isinstance(picture, str):
        is_address = picture.startswith(("http://", "https://"))
        return ("url", picture) if is_address else ("path", picture)
    if isinstance(picture, os.PathLike):
        return ("path", os.fsdecode(picture))
    if isinstance(picture, (bytes, bytearray, memoryview)):
        return bytes(picture)
    if hasattr(picture, "convert") and hasattr(picture, "size"):
        return _of_pil(picture, exif)
    if hasattr(picture, "read"):
        content = picture.read()
        if not isinstance(content, (bytes, bytearray, memoryview)):
            raise TypeError("picture: expected a file that is open for reading bytes ('rb'), found one of text")
        return bytes(content)
    if isinstance(picture, np.ndarray):
        return _of_array(picture)
    raise TypeError(f"{_EXPECTED}; found {type(picture).__name__}")


def _of_pil(picture: Any, exif: bool) -> Prepared:
    try:
        if exif:
            from PIL import ImageOps

            picture = ImageOps.exif_transpose(picture)
        rgb = picture.convert("RGB")
        return (rgb.width, rgb.height, rgb.tobytes())
    except (OSError, SyntaxError, ValueError) as error:  # a PIL picture is decoded here
        raise PictureError(f"picture: {error}", reason="unreadable") from error


def _of_array(array: np.ndarray[Any, Any]) -> Prepared:
    shape = array.shape
    has_channels = array.ndim == 3 and shape[2] in (3, 4)
    if array.dtype != np.uint8 or not (array.ndim == 2 or has_channels):
        raise TypeError(f"{_EXPECTED}; found an array of {array.dtype} with the shape {shape}")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    return (int(shape[1]), int(shape[0]), np.ascontiguousarray(array[:, :, :3]).tobytes())


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The items in lists of ``size``, the last of which may be shorter."""
    if size < 1:
        raise OptionError(f"batch_size: expected 1 or more, found {size}")
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
