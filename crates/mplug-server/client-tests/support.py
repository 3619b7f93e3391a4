"""What the client tests share: servers that they start and end, pictures, raw requests, checks."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "page" / "examples"
# Texts that take a while even with the demo model.
SLOW = "captions=64&beams=64&max_new_tokens=24&min_new_tokens=23"

_ports = iter(range(int(os.environ.get("MPLUG_FIRST_PORT", "18120")), 65000))
_failed = []


def binary():
    """The program under test: the first argument."""
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} PATH_OF_MPLUG [PART ...]")
    return sys.argv[1]


def parts(known):
    """The parts of a script to run: the further arguments, or all."""
    chosen = sys.argv[2:] or known
    unknown = [part for part in chosen if part not in known]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return chosen


def check(name, holds, found=""):
    """Prints a line, and remembers a failure."""
    print(f"{'ok  ' if holds else 'FAIL'} {name}{f': {found}' if found != '' else ''}", flush=True)
    if not holds:
        _failed.append(name)
    return holds


def note(name, found):
    """Prints a figure that is not judged."""
    print(f"     {name}: {found}", flush=True)


def finish():
    """Ends the script with 1 where a check failed."""
    if _failed:
        print(f"{len(_failed)} failed: {'; '.join(_failed)}")
        sys.exit(1)
    print("all checks hold")
    sys.exit(0)


def example(name="cat"):
    return (EXAMPLES / f"{name}.jpg").read_bytes()


def png(seed, side=48):
    """A picture that no other seed has: a square on a ground."""
    ground = bytes((seed * 37 % 256, seed * 101 % 256, seed * 53 % 256))
    square = bytes((255 - ground[0], seed // 256 * 29 % 256, 255 - ground[2]))
    left = 4 + seed % 20
    rows = bytearray()
    for y in range(side):
        row = b"".join(square if left <= x < left + 16 and 12 <= y < 30 else ground for x in range(side))
        rows += b"\0" + row

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")


def bomb():
    """A PNG of a few hundred bytes that says that it has 60000 x 60000 pixels."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


class Server:
    """A server of our own; ends with the block."""

    def __init__(self, *options, program=None, env=None, prefix=()):
        self.port = next(_ports)
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self.log = tempfile.TemporaryFile()
        command = [*prefix, program or binary(), "serve", "--listen", self.address, *options]
        self.process = subprocess.Popen(command, stderr=self.log, env={**os.environ, **(env or {})})
        self.pid = self.process.pid

    def __enter__(self):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                if self.get("/readyz")[0] == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        sys.exit(f"the server does not start: {self.errors()}")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def errors(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def end(self, limit=40):
        """Sends SIGTERM; the exit code and the seconds until the end."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(limit)
        return code, time.monotonic() - begun

    def connect(self, timeout=60):
        stream = socket.create_connection(("127.0.0.1", self.port), timeout)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return stream

    def raw(self, data, timeout=60, half_close=False):
        """Sends bytes and reads the first reply: (status, headers, body), or None where none comes."""
        with self.connect(timeout) as stream:
            try:
                stream.sendall(data)
                if half_close:
                    stream.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # The reply may be there before the last byte was sent.
            return read_reply(stream)

    def request(self, method, target, body=b"", headers=None, timeout=60):
        return self.raw(request_bytes(self.address, method, target, body, headers, close=True), timeout)

    def get(self, target, headers=None):
        reply = self.request("GET", target, headers=headers, timeout=10)
        if reply is None:
            raise OSError("no reply")
        return reply

    def metric(self, name):
        text = self.get("/metrics")[2].decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(found[1]) if found else 0.0

    def status(self, field):
        """A number of /proc/PID/status: kB for memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        return 0


def request_bytes(host, method, target, body=b"", headers=None, close=False):
    lines = {"Host": host, "Content-Length": str(len(body)), **(headers or {})}
    if close:
        lines["Connection"] = "close"
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode("latin-1") + b"\r\n" + body


def read_reply(stream):
    """One reply, which may be after a 100."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            try:
                more = stream.recv(65536)
            except OSError:
                return None
            if not more:
                return None
            data += more
        head, data = data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        if status != 100:
            break
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", -1))
    try:
        while len(data) != length:
            more = stream.recv(65536)
            if not more:
                break
            data += more
    except OSError:
        pass
    if length >= 0 and len(data) != length:
        return None
    return status, headers, data


def wait_until(what, holds, limit=20):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    print(f"     never: {what}")
    return False


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def in_threads(count, run):
    """What `run(number)` returns, for each number, all at once."""
    results = [None] * count

    def one(number):
        results[number] = run(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
