"""curl and raw requests as curl's users send them.

    python http_clients.py PATH_OF_MPLUG
"""

import json
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from support import EXAMPLES, Server, check, example, finish, note, read_reply

PICTURE = str(EXAMPLES / "cat.jpg")
CAPTION = "猫"


def curl(*arguments, limit=60):
    """The exit code, what was written, the replies' status lines, the seconds."""
    begun = time.monotonic()
    with tempfile.NamedTemporaryFile() as heads:
        found = subprocess.run(["curl", "-sS", "-D", heads.name, *arguments], capture_output=True, timeout=limit)
        lines = heads.read().decode("latin-1").split("\r\n")
    statuses = [int(line.split()[1]) for line in lines if line.startswith("HTTP/")]
    return found.returncode, found.stdout, statuses, time.monotonic() - begun


def is_caption(found):
    code, text, statuses, _ = found
    return code == 0 and statuses[-1] == 200 and CAPTION in json.loads(text)["results"][0]["caption"]


with Server() as server:
    url = server.url + "/v1/caption"
    check("-T pic", is_caption(curl("-T", PICTURE, url)))
    check("-T - (chunked, from a pipe)", is_caption(curl("-T", PICTURE, "-H", "Transfer-Encoding: chunked", url)))
    check("-F image=@", is_caption(curl("-F", f"image=@{PICTURE}", url)))
    found = curl("-F", f"image=@{PICTURE}", "-F", "captions=3", "-F", "language=zh,en", url)
    languages = json.loads(found[1])["results"][0]["languages"]
    check("-F with fields", [len(entry["captions"]) for entry in languages] == [3, 3])
    found = curl("-F", f"image=@{PICTURE}", "-F", f"image=@{EXAMPLES}/dog.jpg", "-F", "image=@/dev/null", url)
    results = json.loads(found[1])["results"]
    check("-F of three, one of which is empty: an entry", found[2][-1] == 200 and [list(entry)[0] for entry in results] == ["caption", "caption", "error"], results[2])
    found = curl("-F", f"image=@{PICTURE}", url + "?captions=3")
    is_heeded = found[2][-1] >= 400 or "captions" in json.loads(found[1])["results"][0]
    note("-F with fields in the query", "heeded or refused" if is_heeded else "IGNORED in silence")
    check("--data-binary with image/jpeg", is_caption(curl("--data-binary", "@" + PICTURE, "-H", "content-type: image/jpeg", url)))
    found = curl("--data-binary", "@" + PICTURE, url)
    check("--data-binary without a type (curl says form-urlencoded): 415", found[2][-1] == 415)
    check("--http1.0", is_caption(curl("--http1.0", "-T", PICTURE, url)))
    check("--http2 (curl offers, the server stays with 1.1)", is_caption(curl("--http2", "-T", PICTURE, url)))
    check("--compressed", is_caption(curl("--compressed", "-T", PICTURE, url)))
    found = curl("--limit-rate", "1k", "-T", PICTURE, url)
    check("--limit-rate 1k", is_caption(found), f"{found[3]:.1f} s")
    found = curl("-H", "Expect: 100-continue", "-T", PICTURE, url)
    check("Expect: 100-continue: 100, then 200", found[2] == [100, 200], found[2])
    for path in ("/../etc/passwd", "/examples/../../etc/passwd", "/./livez", "//livez", "/examples/..%2f..%2fCargo.toml"):
        found = curl("--path-as-is", server.url + path)
        check(f"--path-as-is {path}: 404", found[2] == [404], found[1][:60])
    found = curl("-X", "OPTIONS", "-H", "Origin: http://evil.example", "-H", "Access-Control-Request-Method: POST", url)
    check("a browser's question from another site: refused, no CORS header", found[2] == [403] and b"access-control" not in found[1].lower())
    found = curl("-I", server.url + "/")
    check("HEAD", found[2] == [200])
    found = curl(server.url + "/livez", server.url + "/livez", server.url + "/readyz")
    check("three on one connection", found[2] == [200] * 3)

with Server("--max-body-bytes", "100000") as server:
    url = server.url + "/v1/caption"
    with tempfile.NamedTemporaryFile(suffix=".jpg") as large:
        large.write(bytes(30_000_000))
        large.flush()
        found = curl("-H", "Expect: 100-continue", "-T", large.name, "-w", "%{size_upload}", url)
        check("Expect: 100-continue: 413 before the body", found[2] == [413] and found[1].endswith(b"}0"), (found[2], found[1][-3:]))
        found = curl("-H", "Expect:", "-T", large.name, url)
        check("413 where the body is sent at once", found[2] == [413], found[:3])
        found = curl("-H", "Expect:", "-H", "Transfer-Encoding: chunked", "-T", large.name, url)
        check("413 for a chunked body of no stated length", found[2] == [413], found[:3])
    outcome = {}
    for _ in range(10):
        try:
            request = urllib.request.Request(url, bytes(30_000_000), {"Content-Type": "image/jpeg"})
            urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            outcome[error.code] = outcome.get(error.code, 0) + 1
        except OSError as error:
            outcome[repr(error)] = outcome.get(repr(error), 0) + 1
    note("urllib, which reads no reply before its body is sent", outcome)


def raw(server, data, half=False, timeout=5):
    with socket.create_connection(("127.0.0.1", server.port), timeout) as stream:
        stream.sendall(data)
        if half:
            stream.shutdown(socket.SHUT_WR)
        reply = read_reply(stream)
        return reply and reply[0]


with Server() as server:
    head = "POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nConnection: close\r\nContent-Length: {}\r\n\r\n"
    picture = example("cat")
    check("content-length as it is", raw(server, head.format(len(picture)).encode() + picture) == 200)
    status = raw(server, head.format(len(picture) - 300).encode() + picture)
    check("content-length too small: the picture is cut", status == 422, status)
    for wrong in ("-1", "abc", "1e3", "+5", "99999999999999999999999", "5, 6"):
        status = raw(server, head.format(wrong).encode() + picture)
        check(f"content-length {wrong}: 400 or no reply", status in (400, None), status)
    begun = time.monotonic()
    status = raw(server, head.format(len(picture) + 10).encode() + picture, timeout=40)
    check("content-length too large: 408 within 40 s", status == 408, f"{status}, {time.monotonic() - begun:.1f} s")
    status = raw(server, head.format(len(picture) + 10).encode() + picture, half=True)
    check("content-length too large and hung up: no answer, no work", status in (400, None), status)
    double = b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"
    check("two lengths: 400", raw(server, double) == 400)
    both = b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    status = raw(server, both)
    note("a length and chunks", status)
    check("the server is there", server.get("/readyz")[0] == 200)
    check("nothing waits", server.metric("mplug_queue_pictures") == 0)
finish()
