"""Our program as an engine: a fresh process for each round, as its `bench` command measures itself."""

import json
import os
import subprocess
import time

from engines import BATCH, SEARCH

TIMES = ("encoder", "cross_key_values", "decode_step", "end_to_end")


class Ours:
    """Answers as a worker does; nothing of it stays in memory between rounds."""

    def __init__(self, name, precision, options, environment):
        self.name, self.precision, self.options, self.environment = name, precision, options, environment
        self.facts, self.note, self.token_ids = {}, None, None
        self.common = ["--model", options.model, "--precision", precision, "--threads", options.threads]
        self.common += ["--min-new-tokens", SEARCH["min_length"], "--max-new-tokens", SEARCH["max_length"]]

    def start(self):
        """A cold process from start to caption, and the most memory it held; then, untimed, the tokens to compare.

        JPEG decoders differ in the last bit of a channel, which can turn a word of a model of random weights: the
        tokens are those of the picture as the peers decode it.
        """
        start = time.perf_counter()
        from_file, peak_memory_bytes = self.caption(self.options.picture)
        self.facts = {
            "first_caption_s": time.perf_counter() - start,
            "peak_memory_one_picture_bytes": peak_memory_bytes,
        }
        self.token_ids, _ = self.caption(self.options.decoded_picture)
        self.facts["same_tokens_from_the_file"] = self.token_ids == from_file

    def caption(self, picture):
        command = ["caption", *self.common, "--beams", SEARCH["beams"], "--format", "jsonl", picture]
        output, peak_memory_bytes = self.run(command)
        return json.loads(output.splitlines()[0])["token_ids"], peak_memory_bytes

    def round(self):
        command = ["bench", *self.common, "--beams", SEARCH["beams"], "--rounds", 1, "--format", "jsonl"]
        output, _ = self.run([*command, "--images", self.options.picture])
        report = json.loads(output.splitlines()[0])
        self.facts["peak_memory_all_bytes"] = report["peak_memory_bytes"]
        values = {name: report[f"{name}_s"]["median"] for name in TIMES}
        batches = {entry["batch_size"]: entry["value"] for entry in report["pictures_per_s"]}
        if BATCH in batches:
            values["pictures_per_s_batch_8"] = batches[BATCH]
        return values | {"load": report["load_s"]}

    def run(self, command):
        """Standard output and peak memory of one run; an error carries what the program said."""
        command = [str(part) for part in [self.options.mplug, *command]]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, env=self.environment, text=True, **pipes)
        output, errors = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: {errors.strip()[-500:]}")
        return output, usage.ru_maxrss * 1024

    def stop(self):
        pass
