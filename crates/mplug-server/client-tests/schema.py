"""schemathesis against the server: no status 5xx, every reply as openapi.json says.

    python schema.py PATH_OF_MPLUG [SECONDS]

Needs `pip install schemathesis`. The description is the file of this source tree, not that of the program.

Two checks are left out. `positive_data_acceptance` expects that a text of any kind is a picture. Query parameters count only where the body is
a picture, and a body in JSON or a form leaves them unread, so that `negative_data_rejection` does not hold for them.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from support import Server, check, finish, note, png

FOLDER = Path(__file__).resolve().parent
SECONDS = sys.argv[2] if len(sys.argv) > 2 else "180"

with Server("--queue", "64", "--ollama") as server:
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", str(FOLDER.parent / "src" / "openapi.json"),
        "--url", server.url, "--workers", "4", "--max-time", SECONDS, "--max-failures", "100", "--continue-on-failure",
        "--phases", "examples,coverage,fuzzing", "--exclude-checks", "positive_data_acceptance,negative_data_rejection", "--no-color", "--suppress-health-check", "all",
    ]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "schema_hooks", "PYTHONPATH": str(FOLDER)}
    found = subprocess.run(command, env=env, capture_output=True, text=True)
    for line in found.stdout.splitlines():
        if re.match(r"(_____|    [A-Z][A-Za-z ]+: |[A-Z][a-z ]*[Ee]rror|- ST|    (Received|Documented|Unsupported|Invalid)|\[\d{3}\]|  . ST|Seed|  \d+ generated|=====)", line):
            note("schemathesis", line[:200])
    if found.returncode not in (0, 1):
        note("schemathesis", found.stderr[-2000:])
    # Its own generator sometimes gives up ("Inconsistent results", a "Runtime Error"), which says nothing of the server.
    check("schemathesis finds nothing", " passed" in found.stdout and "- ST" not in found.stdout and "failure" not in found.stdout.splitlines()[-1], found.returncode)
    counts = re.findall(r'^mplug_requests_total\{route="([^"]+)",status="(\d+)"\} (\d+)', server.get("/metrics")[2].decode(), re.M)
    note("replies", ", ".join(f"{route} {status}: {count}" for route, status, count in sorted(counts)))
    # Before the models were there, /readyz said so.
    check("no status 5xx", not [entry for entry in counts if entry[1].startswith("5") and entry[0] != "/readyz"])
    check("real work was done", sum(int(count) for route, status, count in counts if status == "200" and route == "/v1/caption") > 0)
    check("the server is there", server.get("/readyz")[0] == 200)
    reply = server.request("POST", "/v1/caption", png(1), {"Content-Type": "image/png"})
    check("and works", reply[0] == 200)
finish()
