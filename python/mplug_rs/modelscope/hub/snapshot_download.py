"""Downloads a model, or finds the copy that is on this machine."""

from __future__ import annotations

from typing import Any

from ... import find_model, pull
from ...errors import Unsupported


def snapshot_download(
    model_id: str, revision: str | None = None, *, local_files_only: bool = False, **options: Any
) -> str:
    """The folder of a model of the hub, with the files that it is opened with.

    ``MODELSCOPE_CACHE``, ``MODELSCOPE_ENDPOINT`` and ``MODELSCOPE_API_TOKEN`` count as in the original. With ``local_files_only``
    nothing is downloaded.
    """
    given = sorted(name for name, value in options.items() if value is not None)
    if given:
        raise Unsupported(
            f"snapshot_download: {', '.join(given)}: not taken here; the environment variable MODELSCOPE_CACHE says where models "
            "lie, and only the files that a model is opened with are downloaded"
        )
    if local_files_only and revision is None:
        return str(find_model(model_id))
    if local_files_only:
        raise Unsupported(
            "snapshot_download: local_files_only with a revision: not taken here; leave the revision out, or give pipelines the "
            "folder of the revision that is meant"
        )
    return str(pull(model_id, revision))
