"""Web addresses of pictures that lead inside, and names whose look-up hangs.

    python ssrf.py PATH_OF_MPLUG

The script starts itself again in network and mount namespaces of its own (Linux, root): its name server, its public web server at a public
address and its list of name servers are seen by nobody else, and nothing reaches the network.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from support import Server, check, example, finish, in_threads, note, percentile, png, wait_until

PUBLIC = "93.184.216.34"
INSIDE = ["127.0.0.1", "169.254.169.254", "10.0.0.7", "100.64.0.1", "192.168.0.1"]

if os.environ.get("MPLUG_OWN_NETWORK") != "1":
    os.environ["MPLUG_OWN_NETWORK"] = "1"
    sys.exit(subprocess.call(["unshare", "--mount", "--net", sys.executable, *sys.argv]))

for command in (["ip", "link", "set", "lo", "up"], *(["ip", "address", "add", f"{address}/32", "dev", "lo"] for address in [PUBLIC, *INSIDE[1:]]),
                ["ip", "address", "add", "fd00::1/128", "dev", "lo"]):
    subprocess.run(command, check=True)
with tempfile.NamedTemporaryFile("w", delete=False) as file:
    file.write("nameserver 127.0.0.53\noptions timeout:5 attempts:2\n")
os.chmod(file.name, 0o644)
subprocess.run(["mount", "--bind", file.name, "/etc/resolv.conf"], check=True)


# The names.
NAMES = {
    "public.example": [PUBLIC], "private.example": ["127.0.0.1"], "meta.example": ["169.254.169.254"], "both.example": [PUBLIC, "10.0.0.7"],
    "rebound.example": None,
}
rebound = [0]


def name_server():
    stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stream.bind(("127.0.0.53", 53))
    while True:
        query, client = stream.recvfrom(4096)
        labels, place = [], 12
        while query[place]:
            labels.append(query[place + 1:place + 1 + query[place]].decode("latin-1"))
            place += 1 + query[place]
        name, kind = ".".join(labels).lower(), struct.unpack(">H", query[place + 1:place + 3])[0]
        if name.endswith("hangs.example"):
            continue
        addresses = NAMES.get(name, ())
        if addresses is None:
            # Public at first, and inside a moment later.
            rebound[0] += kind == 1
            addresses = [PUBLIC] if rebound[0] % 2 else ["127.0.0.1"]
        answers = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(address) for address in addresses if kind == 1)
        count = len(addresses) if kind == 1 else 0
        flags = 0x8180 if name in NAMES else 0x8183
        stream.sendto(query[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0) + query[12:place + 5] + answers, client)


# The listener inside counts; the public server plays tricks.
inside = [0]


def listen_inside(family, address, port):
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(100)

    def run():
        while True:
            stream, _ = listener.accept()
            inside[0] += 1
            stream.close()

    threading.Thread(target=run, daemon=True).start()


def public_server():
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((PUBLIC, 80))
    listener.listen(100)

    def serve(stream):
        try:
            head = stream.recv(65536).decode("latin-1")
            path = head.split(" ")[1]
            ok = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
            if path == "/good.jpg":
                picture = example("cat")
                stream.sendall(ok + f"Content-Length: {len(picture)}\r\n\r\n".encode() + picture)
            elif path.startswith("/to/"):
                stream.sendall(f"HTTP/1.1 302 Found\r\nLocation: {path[4:]}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            elif path == "/round":
                stream.sendall(f"HTTP/1.1 302 Found\r\nLocation: http://{PUBLIC}/round\r\nContent-Length: 0\r\n\r\n".encode())
            elif path == "/gzip":
                stream.sendall(ok + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + bytes(20))
            elif path == "/endless":
                stream.sendall(ok + b"\r\n")
                while True:
                    stream.sendall(bytes(1 << 16))
            elif path == "/large":
                stream.sendall(ok + b"Content-Length: 99999999999\r\n\r\n")
            elif path == "/drip":
                stream.sendall(ok + b"Content-Length: 10000\r\n\r\n")
                while True:
                    stream.sendall(b"x")
                    time.sleep(0.3)
            elif path == "/silent":
                time.sleep(60)
            elif path == "/head":
                stream.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    stream.sendall(b"X-A: " + b"a" * 1000 + b"\r\n")
            else:
                stream.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except OSError:
            pass
        stream.close()

    while True:
        stream, _ = listener.accept()
        threading.Thread(target=serve, args=(stream,), daemon=True).start()


threading.Thread(target=name_server, daemon=True).start()
threading.Thread(target=public_server, daemon=True).start()
for address in INSIDE:
    listen_inside(socket.AF_INET, address, 80)
listen_inside(socket.AF_INET6, "::1", 80)
listen_inside(socket.AF_INET6, "fd00::1", 80)
time.sleep(0.2)


def fetch(server, address, timeout=60, target="/v1/caption"):
    return server.request("POST", target, json.dumps({"image": address}).encode(), {"Content-Type": "application/json"}, timeout)


with Server("--allow-urls", "--url-timeout", "5") as server:
    reply = fetch(server, "http://public.example/good.jpg")
    check("a public name: its picture is captioned", reply[0] == 200, reply[2][:120].decode())
    inside[0] = 0
    hosts = ["127.0.0.1", "[::1]", "0.0.0.0", "169.254.169.254", "[fd00::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "100.64.0.1", "10.0.0.7",
             "192.168.0.1", "2130706433", "017700000001", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.1", "127.0.1", "localhost", "localhost.", "LOCALHOST",
             "private.example", "private.example.", "meta.example", "both.example", f"me@{PUBLIC}", "me@127.0.0.1", f"{PUBLIC}@127.0.0.1", "127.0.0.1%00.example",
             "127.0.0.1\t", "１２７.0.0.1", "①②⑦.0.0.1", "127。0。0。1", f"{PUBLIC}\\@127.0.0.1", f"{PUBLIC}#@127.0.0.1", "[::1%25lo]", "[0:0:0:0:0:ffff:127.0.0.1]", "[64:ff9b::7f00:1]"]
    replies = {}
    for host in hosts:
        begun = time.monotonic()
        reply = fetch(server, f"http://{host}/a.jpg")
        replies[host] = reply
        seconds = time.monotonic() - begun
        is_right = reply is not None and 400 <= reply[0] < 500 and seconds < 6
        # The one whose fragment begins with # is a public address.
        if not check(f"http://{host!r}: refused", is_right, f"{reply and reply[0]}, {seconds:.2f} s"):
            note("reply", reply)
    for scheme in ("file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1:80/_x", "dict://127.0.0.1:80/", "//127.0.0.1/a.jpg", "http:127.0.0.1", "http:///a", "http://", "data:text/html,x", "jar:http://127.0.0.1/!/"):
        reply = fetch(server, scheme)
        check(f"{scheme}: refused", reply is not None and 400 <= reply[0] < 500, reply and reply[0])
    for target in ("http://127.0.0.1/", "http://[::1]/", "//127.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://private.example/", "file:///etc/passwd", "http://2130706433/"):
        reply = fetch(server, f"http://{PUBLIC}/to/{target}")
        check(f"public, then redirect to {target}: refused", 400 <= reply[0] < 500, reply[2][:140].decode())
    statuses = [fetch(server, "http://rebound.example/good.jpg")[0] for _ in range(10)]
    check("a name that is public at first and inside then: 200 or 422", set(statuses) <= {200, 422}, statuses)
    for path, limit in (("/round", 6), ("/gzip", 6), ("/endless", 6), ("/large", 6), ("/drip", 8), ("/silent", 8), ("/head", 8), ("/missing", 6)):
        begun = time.monotonic()
        reply = fetch(server, f"http://{PUBLIC}{path}")
        seconds = time.monotonic() - begun
        check(f"{path}: 4xx within the time", 400 <= reply[0] < 500 and seconds < limit, f"{reply[0]}, {seconds:.1f} s, {reply[2][:110].decode()}")
    check("no connection was made inside", inside[0] == 0, inside[0])

    def without_id(reply):
        headers = {name: value for name, value in reply[1].items() if name not in ("x-request-id", "date")}
        return reply[0], headers, reply[2]

    private, missing = fetch(server, "http://private.example/a.jpg"), fetch(server, "http://missing.example/a.jpg")
    check("a private and a missing name: replies equal byte for byte but for the id and the date", without_id(private) == without_id(missing), private[2].decode())
    chats = [server.request("POST", "/v1/chat/completions", json.dumps({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}).encode(), {"Content-Type": "application/json"})
             for url in ("http://private.example/a.jpg", "http://missing.example/a.jpg")]
    check("the same in a chat", without_id(chats[0]) == without_id(chats[1]), chats[0][2].decode())
    closed = fetch(server, f"http://{PUBLIC}:81/a.jpg")
    check("a public address where nothing listens reads the same", closed[2] == missing[2], closed[2].decode()[:100])
    text = "".join(reply[2].decode() for reply in [*replies.values(), private, missing, *chats])
    check("no reply names an address", not any(address in text for address in INSIDE))
    times = {name: [] for name in ("private", "missing")}
    for _ in range(60):
        for name in times:
            begun = time.perf_counter()
            fetch(server, f"http://{name}.example/a.jpg")
            times[name].append(time.perf_counter() - begun)
    note("median time of a refusal, ms", {name: round(percentile(found, 0.5) * 1000, 2) for name, found in times.items()})
    check("nothing of this is a fault of the server", "panicked" not in server.errors())

with Server("--allow-urls", "--queue", "600", "--url-timeout", "8") as server:
    before, most, going = server.status("Threads"), [0], True

    def watch():
        while going:
            most[0] = max(most[0], server.status("Threads"))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    captions = []

    def ask(number):
        if number == 500:
            # Somebody who sends a picture meanwhile.
            time.sleep(1)
            for seed in range(50):
                begun = time.monotonic()
                reply = server.request("POST", "/v1/caption", png(seed), {"Content-Type": "image/png"})
                captions.append((reply[0], time.monotonic() - begun))
                time.sleep(0.1)
            return None
        return fetch(server, f"http://{number}.hangs.example/a.jpg", 120)

    begun = time.monotonic()
    found = in_threads(501, ask)[:500]
    going = False
    watcher.join()
    statuses = {}
    for reply in found:
        statuses[reply and reply[0]] = statuses.get(reply and reply[0], 0) + 1
    note("500 names that hang", f"{statuses} after {time.monotonic() - begun:.0f} s")
    check("the threads are flat: at most 32 + 16 more", most[0] <= before + 48, f"{before} before, most {most[0]}")
    check("each is answered with 4xx or 504", all(reply is not None and (reply[0] == 504 or 400 <= reply[0] < 500) for reply in found))
    check("who sends pictures is served meanwhile", all(status == 200 for status, _ in captions), f"p99 {percentile([seconds for _, seconds in captions], 0.99):.2f} s")
    check("the queue is empty afterwards", wait_until("an empty queue", lambda: server.metric("mplug_queue_pictures") == 0, 60))
    reply = fetch(server, "http://public.example/good.jpg", 60)
    note("a good address right afterwards", reply and (reply[0], reply[2].decode()))
    recovered = wait_until("a good address is fetched again", lambda: fetch(server, "http://public.example/good.jpg")[0] == 200, 60)
    check("addresses are fetched again", recovered)
    note("threads afterwards", server.status("Threads"))

with Server("--allow-urls") as server:
    # The queue's usual size, and addresses that hang for all of it.
    threads = [threading.Thread(target=fetch, args=(server, f"http://{number}.hangs.example/a.jpg", 120)) for number in range(64)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    statuses = [server.request("POST", "/v1/caption", png(seed), {"Content-Type": "image/png"})[0] for seed in range(20)]
    check("64 addresses that hang leave places for pictures that need none", statuses == [200] * 20, statuses)
    for thread in threads:
        thread.join()
finish()
