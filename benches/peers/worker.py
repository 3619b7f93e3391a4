"""One engine in one process: loads, then answers requests, one JSON object a line.

A request is {"measures": [...]} or {"save_embeds": FILE}; answers carry the values, the token ids of the last caption
and the process's peak memory. Whatever libraries print goes to standard error, so that answers stand alone.
"""

import argparse
import json
import os
import pathlib
import resource
import sys

import engines


def main():
    options = arguments()
    answers = private_standard_output()
    if options.engine == "export":
        engines.export_encoder(options)
        return
    engine = engines.ENGINES[options.engine](options)
    answer(answers, engine, {"import_s": engine.import_s, "load_s": engine.load_s})
    for line in sys.stdin:
        request = json.loads(line)
        values = {name: getattr(engine, name)() for name in request.get("measures", engine.measures)}
        if "save_embeds" in request:
            save_embeds(engine, request["save_embeds"])
        answer(answers, engine, values)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=[*engines.ENGINES, "export"])
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--picture", default="")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def private_standard_output():
    """Standard output for answers alone; the libraries' own goes to standard error from here on."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def save_embeds(engine, file):
    import numpy as np

    embeds = engine.image_embeds()
    np.save(file, embeds if isinstance(embeds, np.ndarray) else embeds.float().numpy())


def answer(answers, engine, values):
    facts = {
        "measures": [name for name in engine.measures],
        "values": values,
        "token_ids": getattr(engine, "token_ids", None),
        "note": getattr(engine, "note", None),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(facts), file=answers, flush=True)


if __name__ == "__main__":
    main()
