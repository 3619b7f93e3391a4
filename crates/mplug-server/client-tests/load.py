"""Load, overload, idle and slow connections, hostile requests, the end under load.

    python load.py PATH_OF_MPLUG [PART ...]

The parts are the functions of PARTS below; all of them without an argument. MPLUG_MINUTES (4) is the time of the overload. MPLUG_MODEL,
MPLUG_PRECISION and the like reach the server, so that `rates` measures any model.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

from support import (SLOW, Server, bomb, check, example, finish, note, parts, percentile, png, read_reply, request_bytes,
                     wait_until)

MINUTES = float(os.environ.get("MPLUG_MINUTES", "4"))
SECONDS = float(os.environ.get("MPLUG_SECONDS", "10"))
PICTURE = {"Content-Type": "image/png"}


class Lost(Exception):
    """A connection ended where a reply was due."""


class Client:
    """A connection that is kept, and opened again where the server ended it."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)

    async def ask(self, data):
        if self.reader is not None and self.reader.at_eof():
            # It was idle for too long.
            self.close()
        if self.writer is None:
            await self.open()
        try:
            self.writer.write(data)
            while True:
                head = await self.reader.readuntil(b"\r\n\r\n")
                status = int(head.split(b" ", 2)[1])
                if status != 100:
                    break
            lower = head.lower()
            length = 0
            for line in lower.split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            body = await self.reader.readexactly(length)
            if b"\r\nconnection: close" in lower:
                self.close()
            return status, head, body
        except (asyncio.IncompleteReadError, OSError) as error:
            self.close()
            raise Lost(repr(error)) from error

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


# As many different pictures that the server's memory of recent ones is of no use.
PICTURES = [png(seed) for seed in range(400)]


def picture_request(host, target, number):
    return request_bytes(host, "POST", target, PICTURES[number % len(PICTURES)], PICTURE)


async def closed_loop(server, clients, seconds, target="/v1/caption"):
    """The times of requests by `clients` clients, each of which sends the next when it has its answer."""
    times, statuses = [], {}
    end = time.perf_counter() + seconds

    async def one(index):
        client, number = Client(server.port), index * 1009
        while time.perf_counter() < end:
            number += 1
            data = picture_request(server.address, target, number)
            begun = time.perf_counter()
            status, _, _ = await client.ask(data)
            times.append(time.perf_counter() - begun)
            statuses[status] = statuses.get(status, 0) + 1
        client.close()

    begun = time.perf_counter()
    await asyncio.gather(*(one(index) for index in range(clients)))
    return times, statuses, len(times) / (time.perf_counter() - begun)


def shown(times):
    return f"p50 {percentile(times, 0.5) * 1000:.1f} ms, p99 {percentile(times, 0.99) * 1000:.1f} ms"


def rates():
    """Pictures a second and times at 1, 4 and 16 clients."""
    with Server() as server:
        asyncio.run(closed_loop(server, 2, min(2, SECONDS)))
        for clients in (1, 4, 16):
            times, statuses, rate = asyncio.run(closed_loop(server, clients, SECONDS))
            check(f"{clients} clients: all are answered", set(statuses) == {200}, statuses)
            note(f"{clients} clients", f"{rate:.1f} pictures/s, {shown(times)}")


async def open_loop(server, rate, seconds, target, accepted, statuses, waits):
    """Requests at a rate, whatever becomes of them."""
    free, running = [], set()

    async def one(number):
        client = free.pop() if free else Client(server.port)
        begun = time.perf_counter()
        try:
            status, head, _ = await client.ask(picture_request(server.address, target, number))
        except (Lost, OSError) as error:
            statuses[str(error)] = statuses.get(str(error), 0) + 1
            return
        statuses[status] = statuses.get(status, 0) + 1
        if status == 200:
            accepted.append(time.perf_counter() - begun)
        elif status == 429:
            waits.append(int(head.lower().split(b"retry-after:")[1].split(b"\r\n")[0]))
        free.append(client)

    begun, number = time.perf_counter(), 0
    while (now := time.perf_counter() - begun) < seconds:
        while number < now * rate:
            number += 1
            task = asyncio.create_task(one(number))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.sleep(0.002)
    await asyncio.gather(*running)
    for client in free:
        client.close()
    return number / (time.perf_counter() - begun)


def slope(samples):
    """The slope of the line through (hours, MB), and its standard error."""
    n = len(samples)
    mean_x, mean_y = sum(x for x, _ in samples) / n, sum(y for _, y in samples) / n
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    a = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread
    rest = sum((y - mean_y - a * (x - mean_x)) ** 2 for x, y in samples)
    return a, (rest / (n - 2) / spread) ** 0.5


def overload():
    """Ten times what the server can do."""
    queue, target = 64, "/v1/caption?" + SLOW
    with Server("--queue", str(queue)) as server:
        _, statuses, rate = asyncio.run(closed_loop(server, 16, SECONDS, target))
        note("capacity with slow captions", f"{rate:.1f} pictures/s {statuses}")
        accepted, statuses, waits, samples = [], {}, [], []
        going = True

        def watch():
            begun = time.monotonic()
            while going:
                samples.append(((time.monotonic() - begun) / 3600, server.status("VmRSS") / 1024))
                time.sleep(1)

        watcher = threading.Thread(target=watch)
        watcher.start()
        sent = asyncio.run(open_loop(server, rate * 10, MINUTES * 60, target, accepted, statuses, waits))
        going = False
        watcher.join()
        note("sent", f"{sent:.0f} requests/s, {sent / rate:.1f} times the capacity, for {MINUTES:.1f} min")
        check("every request is answered with 200 or 429", set(statuses) == {200, 429}, statuses)
        check("retry-after is 1 to 120 s", bool(waits) and 1 <= min(waits) and max(waits) <= 120, f"{min(waits)} to {max(waits)}")
        goodput = len(accepted) / (MINUTES * 60)
        bound = queue / rate * 1.5
        p99 = percentile(accepted, 0.99)
        note("accepted", f"{goodput:.1f} pictures/s, {shown(accepted)}, longest {max(accepted):.2f} s")
        check("p99 of the accepted is at most queue / capacity * 1.5", p99 <= bound, f"{p99:.2f} s, bound {bound:.2f} s")
        note("the same against the rate under overload", f"{queue / goodput * 1.5:.2f} s")
        check("the rate under overload is at least half of the capacity", goodput >= rate / 2, f"{goodput:.1f} of {rate:.1f}")
        # The first half is for warming up: each thread's memory grows to what its largest picture takes.
        late = [sample for sample in samples if sample[0] * 60 > MINUTES / 2]
        growth, error = slope(late)
        note("memory", f"{samples[0][1]:.1f} MB at the start, {late[0][1]:.1f} MB after warming up, {late[-1][1]:.1f} MB at the end")
        check("memory grows by less than 5 MB an hour, give or take two standard errors", growth - 2 * error < 5, f"{growth:.1f} +- {error:.1f} MB/h")
        check("the queue is empty afterwards", wait_until("an empty queue", lambda: server.metric("mplug_queue_pictures") == 0))
        times, statuses, after = asyncio.run(closed_loop(server, 16, SECONDS, target))
        check("full recovery: all are answered at nine tenths of the capacity or more", set(statuses) == {200} and after >= rate * 0.9, f"{after:.1f} of {rate:.1f} pictures/s")


# Holds connections, in a process of its own so that it takes nothing from who measures. Of four connections two never send a byte, one
# sends a byte of a header a second, one keeps silent after a request. One that the server ends is made again.
HOLDER = """
import select, socket, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
poll, streams = select.poll(), {}
HEAD = b"GET /livez HTTP/1.1\\r\\nHost: localhost\\r\\nX-Slow: "
def connect(index):
    stream = socket.socket()
    stream.setblocking(False)
    stream.connect_ex(("127.0.0.1", port))
    streams[stream.fileno()] = [stream, index, 0]
    poll.register(stream, select.POLLIN)
for index in range(count):
    connect(index)
    if index % 50 == 49:
        time.sleep(0.02)
second = time.monotonic()
while True:
    for number, _ in poll.poll(200):
        stream, index, sent = streams[number]
        try:
            is_open = stream.recv(65536) != b""
        except BlockingIOError:
            continue
        except OSError:
            is_open = False
        if not is_open:
            poll.unregister(stream)
            del streams[number]
            stream.close()
            connect(index)
    if time.monotonic() - second > 1:
        second = time.monotonic()
        for entry in streams.values():
            stream, index, sent = entry
            try:
                if index % 4 == 1:
                    stream.send(HEAD[sent:sent + 1] or b"x")
                    entry[2] += 1
                elif index % 4 == 3 and sent == 0:
                    stream.send(HEAD + b"x\\r\\n\\r\\n")
                    entry[2] += 1
            except OSError:
                pass
"""


class Idle:
    def __init__(self, server, count):
        self.server, self.count = server, count

    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, "-c", HOLDER, str(self.server.port), str(self.count)])
        wait_until("the connections", lambda: self.server.metric("mplug_connections") >= self.count * 0.95)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        wait_until("their end", lambda: self.server.metric("mplug_connections") < 10)


def idle():
    """2,000 connections, half of which never send a byte, a quarter of which send a byte of a header a second."""
    with Server() as server:
        asyncio.run(closed_loop(server, 4, 2))
        without, within, held = [], [], []
        for _ in range(3):
            without += asyncio.run(closed_loop(server, 4, SECONDS))[0]
            with Idle(server, 2000):
                held.append(server.metric("mplug_connections"))
                within += asyncio.run(closed_loop(server, 4, SECONDS))[0]
                held.append(server.metric("mplug_connections"))
        note("connections held", held)
        note("without", shown(without))
        note("with 2,000 others", shown(within))
        ratio = percentile(within, 0.99) / percentile(without, 0.99)
        check("p99 within 1.2 times of without", ratio <= 1.2, f"{ratio:.2f}")


def few_files():
    """The usual limit of 1,024 open files, and more connections than that."""
    with Server(prefix=("prlimit", "--nofile=1024:")) as server:
        process = subprocess.Popen([sys.executable, "-c", HOLDER, str(server.port), "2000"])
        time.sleep(5)
        note("open files of the server", len(os.listdir(f"/proc/{server.pid}/fd")))
        times = []
        for _ in range(10):
            begun = time.monotonic()
            try:
                reply = server.request("GET", "/livez", timeout=30)
            except OSError:
                reply = None
            times.append(time.monotonic() - begun if reply else 30.0)
        process.kill()
        process.wait()
        check("a new client is answered within 2 s each time", max(times) < 2, [round(seconds, 2) for seconds in times])


def bombs():
    """Bodies within the limit that become large when they are read."""
    with Server() as server:
        size = (32 << 20) - 100
        bodies = {
            "numbers": b'{"image":[' + b"0," * (size // 2 - 10) + b"0]}",
            "texts that are no base64": b'{"images":[' + b'"a",' * (size // 4 - 10) + b'"a"]}',
            "messages": b'{"messages":[' + b'{"role":""},' * (size // 12 - 10) + b'{"role":""}]}',
        }
        longest, going = [0.0], True

        def watch():
            while going:
                begun = time.monotonic()
                server.request("GET", "/livez")
                longest[0] = max(longest[0], time.monotonic() - begun)
                time.sleep(0.01)

        watcher = threading.Thread(target=watch)
        watcher.start()
        for name, body in bodies.items():
            target = "/v1/chat/completions" if name == "messages" else "/v1/caption"
            longest[0], replies = 0.0, []
            threads = [threading.Thread(target=lambda: replies.append(server.request("POST", target, body, {"Content-Type": "application/json"}))) for _ in range(4)]
            begun = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            statuses = [reply and reply[0] for reply in replies]
            note(f"4 x {name}", f"{statuses}, {time.monotonic() - begun:.1f} s, most memory {server.status('VmHWM') // 1024} MB")
            check(f"{name}: refused with 4xx", all(status and 400 <= status < 500 for status in statuses))
            check(f"{name}: /livez within 1 s meanwhile", longest[0] < 1, f"{longest[0]:.2f} s")
        going = False
        watcher.join()
        check("memory never above 1 GB", server.status("VmHWM") < 1 << 20, f"{server.status('VmHWM') // 1024} MB")


def hostile():
    """10,000 requests, good and bad."""
    with Server("--ollama", "--queue", "256", "--max-body-bytes", "2000000") as server:
        host = server.address
        names = ["cars", "cat", "dog", "fish"]
        right = {}
        for name in names:
            reply = server.request("POST", "/v1/caption", example(name), {"Content-Type": "image/jpeg"})
            right[name] = json.loads(reply[2])["results"]
        json_type = {"Content-Type": "application/json"}

        def good(rng):
            name = rng.choice(names)
            return request_bytes(host, "POST", "/v1/caption", example(name), {"Content-Type": "image/jpeg"}, close=True), ("caption", name)

        def simple(method, target, body, headers, *statuses):
            return lambda rng: (request_bytes(host, method, target, body, headers, close=True), statuses)

        # A client that closes its half has hung up for the server, which frees its place: no reply is right too.
        def raw(data, *statuses, half_close=False):
            return lambda rng: (data, statuses + ((None, "half") if half_close else ()))

        def garbage(rng):
            return rng.randbytes(rng.randrange(1, 3000)), (400, 414, 431, None, "half")

        def mutated(rng):
            data = bytearray(request_bytes(host, "POST", "/v1/caption", example("cat"), {"Content-Type": "image/jpeg"}, close=True))
            for _ in range(rng.randrange(1, 20)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            return bytes(data), ("any", "half")

        def mutated_json(rng):
            body = bytearray(b'{"image": "aGVsbG8=", "captions": 3, "language": ["zh", "en"], "forbid": ["x"], "sampling": {"seed": 1}}')
            for _ in range(rng.randrange(1, 6)):
                body[rng.randrange(len(body))] = rng.randrange(256)
            return request_bytes(host, "POST", rng.choice(["/v1/caption", "/v1/ask", "/v1/explain", "/api/generate"]), bytes(body), json_type, close=True), (400, 404, 415, 422)

        def cut_picture(rng):
            picture = example(rng.choice(names))
            return request_bytes(host, "POST", "/v1/caption", picture[:rng.randrange(len(picture) - 200)], {"Content-Type": "image/jpeg"}, close=True), (422,)

        def tricky_path(rng):
            path = rng.choice(["/../../etc/passwd", "/examples/..%2f..%2fetc/passwd", "//etc/passwd", "/examples/%00", "/v1/caption/", "/v1//caption",
                               "/.git/config", "/examples/%2e%2e/%2e%2e/etc/passwd", "/v1/caption;x", "/%ff%fe", "/page.css/..", "/V1/CAPTION"])
            return request_bytes(host, rng.choice(["GET", "POST"]), path, close=True), (404,)

        kinds = [
            good, good, good, good, garbage, mutated, mutated_json, cut_picture, tricky_path,
            simple("POST", "/v1/caption", b"{", json_type, 400),
            simple("POST", "/v1/caption", b'{"image": "\xff\xfe"}', json_type, 400),
            simple("POST", "/v1/caption", b'{"image": "\\ud800"}', json_type, 400, 422),
            simple("POST", "/v1/caption", b"[" * 1_000_000, json_type, 400),
            simple("POST", "/v1/caption", b'{"image":' + b"[" * 1_000_000, json_type, 400),
            simple("POST", "/v1/chat/completions", b'{"messages":' + b'{"a":' * 200_000, json_type, 400),
            simple("POST", "/v1/caption", bomb(), PICTURE, 413),
            simple("POST", "/v1/caption", b"x" * 2_000_001, PICTURE, 413),
            simple("POST", "/v1/caption", b"", {"Content-Type": "multipart/form-data"}, 400),
            simple("POST", "/v1/caption", b"--b\r\nContent-Disposition: form-data; name=image\r\n\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, 400),
            simple("POST", "/v1/caption?beams=99999999999999999999", b"x", {}, 422),
            simple("POST", "/v1/caption?%ff=%fe", b"x", {}, 400, 422),
            simple("POST", "/v1/ask?question=" + "%E5%9B%BE" * 2001, b"x", {}, 422),
            simple("GET", "/" + "a" * 70_000, b"", {}, 414, 431),
            simple("GET", "/livez", b"", {"X-Large": "a" * 1_000_000}, 431),
            simple("GET", "/livez", b"", {f"X-{number}": "a" for number in range(500)}, 431),
            simple("GET", "/livez", b"", {"Host": "evil.example"}, 403),
            simple("POST", "/v1/caption", b"x", {"Origin": "http://evil.example"}, 403),
            simple("TRACE", "/", b"", {}, 405),
            simple("CONNECT", "evil.example:443", b"", {}, 400, 403, 404, 405),
            simple("GET", "http://evil.example/livez", b"", {}, 403),
            raw(b"GET /livez HTTP/1.0\r\n\r\n", 200),
            raw(b"POST /v1/caption HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", 422),
            raw(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\nConnection: close\r\n\r\nabc", 400, None, half_close=True),
            raw(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\nConnection: close\r\n\r\nabc", 400, half_close=True),
            raw(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\nConnection: close\r\n\r\nabc", 400, half_close=True),
            raw(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n", 400, 422, half_close=True),
            raw(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n", 400, half_close=True),
            raw(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nffffffffffffffffffff\r\n", 400, half_close=True),
            raw(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\nConnection: close\r\n\r\nabc", 400, half_close=True),
            raw(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200, half_close=True),
            raw(b"GET /livez HTTP/1.1\r\nHo", None, 400, half_close=True),
            raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, None, half_close=True),
            raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), 400, None, half_close=True),
            raw(b"GET /livez HTTP/1.1\nHost: localhost\nConnection: close\n\n", 200, 400, half_close=True),
        ]
        wrong, counts, threads = [], {}, []
        lock, left = threading.Lock(), [10_000]

        def work(seed):
            rng = random.Random(seed)
            while True:
                with lock:
                    left[0] -= 1
                    if left[0] < 0:
                        return
                index = rng.randrange(len(kinds))
                data, expected = kinds[index](rng)
                try:
                    with server.connect(20) as stream:
                        hangs_up = rng.random() < 0.03
                        try:
                            stream.sendall(data[:rng.randrange(len(data))] if hangs_up else data)
                            if hangs_up:
                                continue
                            if "half" in expected:
                                stream.shutdown(1)
                        except OSError:
                            pass
                        reply = read_reply(stream)
                except OSError as error:
                    wrong.append((index, repr(error)))
                    continue
                status = reply and reply[0]
                with lock:
                    counts[status] = counts.get(status, 0) + 1
                if "any" in expected:
                    is_right = status is None or status < 500 or status in (501, 505)
                elif expected[0] == "caption":
                    is_right = status == 200 and json.loads(reply[2])["results"] == right[expected[1]]
                else:
                    is_right = status in expected
                if not is_right:
                    wrong.append((index, data[:80], status, reply and reply[2][:120], expected))

        before = server.status("VmRSS")
        begun = time.monotonic()
        for seed in range(24):
            threads.append(threading.Thread(target=work, args=(seed,)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        note("10,000 requests", f"{time.monotonic() - begun:.0f} s; {counts}")
        seen = set()
        for entry in wrong:
            if entry[0] not in seen:
                seen.add(entry[0])
                note("not as expected", entry)
        check("every reply is as expected", not wrong, f"{len(wrong)} others")
        five = {status: count for status, count in counts.items() if status and status >= 500}
        check("no status 5xx", not five, five)
        check("no crash", server.process.poll() is None and "panicked" not in server.errors())
        check("nothing is left in the queue", wait_until("an empty queue", lambda: server.metric("mplug_queue_pictures") == 0))
        check("no bodies are held", wait_until("no bodies", lambda: server.metric("mplug_bodies_bytes") == 0, 40))
        check("memory below 500 MB", server.status("VmHWM") < 500 * 1024, f"{before // 1024} MB before, most {server.status('VmHWM') // 1024} MB")


def draining():
    """SIGTERM under load, and without."""
    with Server() as server:
        silent, kept = server.connect(), server.connect()
        kept.sendall(request_bytes(server.address, "GET", "/livez"))
        check("an idle connection is kept", read_reply(kept)[0] == 200)
        code, seconds = server.end()
        check("an idle server with open connections ends with 0 in under a second", code == 0 and seconds < 1, f"{code}, {seconds:.2f} s")
        silent.close()
    for keep in (False, True):
        for round_ in range(5):
            with Server() as server:
                outcome = asyncio.run(until_the_end(server, keep))
                code = server.process.wait(30)
                kind = "kept connections" if keep else "a connection a request"
                lost = {name: count for name, count in outcome.items() if str(name).startswith("lost")}
                check(f"SIGTERM under load, {kind}, round {round_ + 1}: nothing lost, exit code 0", code == 0 and not lost, f"{code}, {outcome}")
    with Server("--drain-deadline", "1") as server:
        stuck = server.connect()
        stuck.sendall(b"POST /v1/caption HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n")
        time.sleep(0.2)
        code, seconds = server.end()
        note("a body that never comes: exit code, seconds", f"{code}, {seconds:.2f} s")
        check("the deadline holds", seconds < 3)
    with Server() as server:
        holders = [threading.Thread(target=server.request, args=("POST", "/v1/caption?" + SLOW, png(number), PICTURE)) for number in range(40)]
        for holder in holders:
            holder.start()
        time.sleep(0.1)
        begun = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(30)
        note("a second signal ends at once: exit code, seconds", f"{code}, {time.monotonic() - begun:.2f} s")
        check("a second signal ends the server", time.monotonic() - begun < 1)
        for holder in holders:
            holder.join()


async def until_the_end(server, keep):
    """32 clients until the server is gone: what became of their requests."""
    outcome = {}

    def count(what):
        outcome[what] = outcome.get(what, 0) + 1

    async def one(index):
        client, number = Client(server.port), index * 1009
        while True:
            number += 1
            if client.writer is None:
                try:
                    await client.open()
                except OSError:
                    return
                is_first = True
            else:
                is_first = False
            try:
                status, _, body = await client.ask(picture_request(server.address, "/v1/caption?captions=16&beams=16&max_new_tokens=14&min_new_tokens=13", number))
                count(status if status != 503 else f"503 {json.loads(body)['error']['code']}")
            except Lost:
                # Every reply of a server that ends says that its connection is not kept, so that no next request is sent on it.
                count("lost on a new connection" if is_first else "lost on a kept connection")
            if not keep:
                client.close()

    async def end():
        await asyncio.sleep(1)
        server.process.send_signal(signal.SIGTERM)

    await asyncio.gather(end(), *(one(index) for index in range(32)))
    return outcome


def slow_readers():
    """Clients that ask for much and read nothing."""
    with Server() as server:
        held = []
        for _ in range(8):
            stream = server.connect(2)
            try:
                for _ in range(100):
                    stream.sendall(request_bytes(server.address, "GET", "/page.js") * 200)
            except OSError:
                pass
            held.append(stream)
        note("connections held", server.metric("mplug_connections"))
        begun = time.monotonic()
        ended = wait_until("the end of their connections", lambda: server.metric("mplug_connections") < 3, 60)
        check("clients that read nothing lose their connections within a minute", ended, f"{time.monotonic() - begun:.0f} s")
        for stream in held:
            stream.close()


PARTS = {"rates": rates, "overload": overload, "idle": idle, "few_files": few_files, "bombs": bombs, "hostile": hostile, "draining": draining, "slow_readers": slow_readers}

if __name__ == "__main__":
    for part in parts(list(PARTS)):
        print(f"== {part}", flush=True)
        PARTS[part]()
    finish()
