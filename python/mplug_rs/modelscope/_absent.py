"""Names of the original that can be imported here, and say what is nearest when they are used."""

from __future__ import annotations

from typing import Any

from ..errors import Unsupported


class Absent:
    """Stands for something of the original: calling it, subclassing it or taking anything of it raises :class:`Unsupported`."""

    def __init__(self, name: str, nearest: str) -> None:
        self._message = f"modelscope.{name} is not in this package; {nearest}"

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        raise Unsupported(self._message)

    def __getattr__(self, name: str) -> Any:
        # Python and notebooks look for names with underscores on anything.
        if name.startswith("_"):
            raise AttributeError(name)
        raise Unsupported(self._message)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        raise Unsupported(self._message)
