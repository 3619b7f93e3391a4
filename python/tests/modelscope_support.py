"""Servers of the tests of ``mplug_rs.modelscope``: a hub that speaks ModelScope's protocol, and one that serves a picture."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import trustme

import mplug_rs

PACKAGE = Path(mplug_rs.__file__).resolve().parents[1]
SAMPLES = Path(__file__).resolve().parent / "samples"

Answer: TypeAlias = Callable[[str], bytes | None]


@dataclass
class Server:
    """A server on this machine that remembers what it was asked."""

    port: int
    asked: list[str] = field(default_factory=list)


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serves what ``answer`` gives for a path with its query: the body, or ``None`` for 404."""
    server = Server(port=0)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            body = answer(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        if tls is not None:
            http.socket = tls.wrap_socket(http.socket, server_side=True)
        server.port = http.server_port
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


@contextmanager
def hub(models: Mapping[str, Path], datasets: Mapping[str, Path] | None = None) -> Iterator[Server]:
    """A hub with these models and datasets, folders by their ids."""
    listings = {f"/api/v1/models/{name}/repo/files": _contents(folder) for name, folder in models.items()}
    listings |= {f"/api/v1/datasets/{name}/repo/tree": _contents(folder) for name, folder in (datasets or {}).items()}

    def answer(target: str) -> bytes | None:
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        for path, contents in listings.items():
            if parts.path == path:
                return _listing(contents)
            if parts.path == path.rsplit("/", 1)[0]:
                return contents.get(query["FilePath"])
        return None

    with serving(answer) as server:
        yield server


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _listing(contents: Mapping[str, bytes]) -> bytes:
    entries = [
        {
            "Path": name,
            "Name": name,
            "Type": "blob",
            "Size": len(content),
            "Sha256": hashlib.sha256(content).hexdigest(),
            "Revision": "c0ffee",
        }
        for name, content in contents.items()
    ]
    return json.dumps({"Code": 200, "Success": True, "Message": "success", "Data": {"Files": entries}}).encode()


@contextmanager
def picture_server(picture: Path, host: str, certificate: Path) -> Iterator[Server]:
    """Serves a picture by https as ``host``, and writes whom to trust for that to ``certificate``."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    authority.cert_pem.write_to_path(str(certificate))
    content = picture.read_bytes()
    with serving(lambda _: content, context) as server:
        yield server


def run(
    script: str, *arguments: str, variables: Mapping[str, str] | None = None, cwd: Path = SAMPLES
) -> subprocess.CompletedProcess[str]:
    """Runs a program, of ``samples`` or anywhere, in an interpreter of its own, without any proxy and with these variables set."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {**kept, "PYTHONPATH": str(PACKAGE), "PYTHONUTF8": "1", **(variables or {})}
    command = [sys.executable, str(SAMPLES / script), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=120
    )
