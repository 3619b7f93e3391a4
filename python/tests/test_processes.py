"""Processes, threads, signals and faults."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import EXAMPLES

import mplug_rs
from mplug_rs import Captioner, _native, errors


def test_a_forked_child_captions(captioner: Captioner) -> None:
    expected = captioner(EXAMPLES[0]).text
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, captioner(EXAMPLES[0]).text.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read().decode() == expected
    assert os.waitpid(child, 0)[1] == 0
    assert captioner(EXAMPLES[0]).text == expected, "the parent goes on"


def _caption(captioner: Captioner, path: Path) -> str:
    return captioner(path).text


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(captioner: Captioner, method: str) -> None:
    context = multiprocessing.get_context(method)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with context.Pool(2) as pool:
            found = pool.starmap_async(_caption, [(captioner, path) for path in EXAMPLES[:4]]).get(timeout=120)
    assert found == [captioner(path).text for path in EXAMPLES[:4]]


def test_threads_share_a_captioner(captioner: Captioner) -> None:
    expected = [captioner(path) for path in EXAMPLES]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(captioner, EXAMPLES * 8))
    assert found == expected * 8


def test_other_threads_run_meanwhile(captioner: Captioner) -> None:
    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    captioner(EXAMPLES * 8, batch_size=64)
    done.set()
    thread.join()
    assert ticks > 5


SLOW = """
import signal, sys, warnings
warnings.simplefilter("ignore")
# Ignored in what a shell starts in the background, and then inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
import mplug_rs
captioner = mplug_rs.Captioner()
pictures = sys.argv[1:] * 2000
print("ready", flush=True)
try:
    captioner(pictures, batch_size=len(pictures))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    # What is at work ends by itself: a new call waits for its turn, and works.
    import os
    os._exit(7)
"""


def test_ctrl_c_within_a_batch() -> None:
    command = [sys.executable, "-P", "-c", SLOW, *map(str, EXAMPLES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        time.sleep(0.3)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=60)
    assert (out, child.returncode) == ("interrupted\n", 7)


def test_a_panic_is_an_exception_that_except_exception_catches() -> None:
    with pytest.raises(mplug_rs.InternalError, match="a test of panics"):
        _native._panic()
    assert issubclass(mplug_rs.InternalError, Exception)


def test_exceptions_can_be_pickled(captioner: Captioner) -> None:
    picture = errors.PictureError("a.png: is empty", source="a.png", reason="truncated")
    others = [
        kind("a message")
        for kind in [
            errors.MplugError,
            errors.ModelError,
            errors.ModelNotFound,
            errors.FetchError,
            errors.OptionError,
            errors.Unsupported,
            errors.InternalError,
        ]
    ]
    for error in [picture, *others]:
        back = pickle.loads(pickle.dumps(error))
        assert type(back) is type(error) and str(back) == str(error)
    back = pickle.loads(pickle.dumps(picture))
    assert (back.source, back.reason) == ("a.png", "truncated")


def test_models_can_be_pickled(captioner: Captioner) -> None:
    back = pickle.loads(pickle.dumps(captioner))
    assert back(EXAMPLES[0]) == captioner(EXAMPLES[0]) and repr(back) == "Captioner('demo')"


def _resident() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_memory_is_flat(captioner: Captioner) -> None:
    content = EXAMPLES[0].read_bytes()
    for _ in range(200):
        captioner(content)
    before = _resident()
    for _ in range(2000):
        captioner(content)
    # It goes up and down by some 40 MiB with what the engine's threads keep. 64 MiB are 32 KiB a call: a decoded picture has 1 MiB.
    assert _resident() - before < 64 << 10, "KiB more after 2,000 calls"


def test_the_number_of_threads_can_be_set(captioner: Captioner) -> None:
    expected = captioner(EXAMPLES[0])
    try:
        for threads in [1, 3]:
            mplug_rs.set_threads(threads)
            assert captioner(EXAMPLES[0]) == expected
    finally:
        mplug_rs.set_threads(None)


def test_a_variable_that_is_no_number_is_named() -> None:
    code = "import mplug_rs\ntry: mplug_rs.Captioner('x')\nexcept mplug_rs.OptionError as e: print(e)"
    environment = {**os.environ, "MPLUG_THREADS": "many"}
    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert run.stdout == "MPLUG_THREADS: expected a number of threads, found `many`\n"


PLAIN = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path[:0] = sys.argv[2:]
import mplug_rs
print(mplug_rs.Captioner()(sys.argv[1]))
"""


@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-user is not installed")
def test_a_processor_without_avx_captions(captioner: Captioner) -> None:
    command = ["qemu-x86_64", "-cpu", "Nehalem", os.path.realpath(sys.executable), "-P", "-c", PLAIN, str(EXAMPLES[0])]
    run = subprocess.run([*command, *sys.path], capture_output=True, text=True, timeout=300)
    assert (run.stdout, run.returncode) == (captioner(EXAMPLES[0]).text + "\n", 0), run.stderr
