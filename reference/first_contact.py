"""First contact with a published model: the original's captions and ours, side by side, as a report to paste.

Nobody who wrote mplug could download a published checkpoint. Whoever has a network and the original installed
(`pip install modelscope torch transformers`) can tell whether both agree:

    python reference/first_contact.py damo/mplug_image-captioning_coco_base_zh photo1.jpg photo2.jpg

MODEL is a name on the hub or a folder. The report goes to standard output; the exit code is 1 if any caption differs.
`--without-original` leaves the original out. The package mplug-rs must be installed; `mplug` on the PATH adds what the model
folder says (tensors that nobody reads, values of its configuration).
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import time
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mplug_rs

PACKAGES = ["mplug-rs", "modelscope", "torch", "transformers", "numpy", "pillow"]
"""Those whose versions the report has."""


def versions() -> list[str]:
    lines = [f"- Python {platform.python_version()} on {platform.platform()}"]
    for name in PACKAGES:
        try:
            lines.append(f"- {name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            lines.append(f"- {name}: not installed")
    return lines


def ours(folder: Path, pictures: list[str]) -> list[dict[str, Any]]:
    """Our captions, one picture at a time."""
    captioner = mplug_rs.Captioner(folder)
    found = []
    for picture in pictures:
        begun = time.perf_counter()
        caption = captioner(picture)
        found.append(
            {
                "text": caption.raw_text,
                "ids": list(caption.token_ids),
                "score": caption.score,
                "seconds": time.perf_counter() - begun,
            }
        )
    return found


def theirs(folder: Path, pictures: list[str]) -> list[dict[str, Any]]:
    """The original's captions. Its pipeline gives texts alone: the ids are those that it hands to its tokenizer."""
    from modelscope.pipelines import pipeline  # type: ignore[import-not-found]

    pipe = pipeline("image-captioning", model=str(folder), device="cpu")
    tokenizer = pipe.model.tokenizer
    decode, seen = tokenizer.decode, []

    def recording(ids: Any, *args: Any, **kwargs: Any) -> str:
        seen.append([int(token) for token in ids])
        return str(decode(ids, *args, **kwargs))

    tokenizer.decode = recording
    found = []
    for picture in pictures:
        begun = time.perf_counter()
        text = pipe(picture)["caption"]
        # It hands over the start token too.
        ids = [token for token in seen[-1][1:]] if seen else []
        found.append({"text": text, "ids": ids, "seconds": time.perf_counter() - begun})
    return found


def facts(model: str) -> list[str]:
    """What `mplug inspect` says of the model folder."""
    program = shutil.which("mplug")
    if program is None:
        return ["`mplug` is not on the PATH: `mplug inspect MODEL` is left out."]
    run = subprocess.run([program, "inspect", "--format", "json", model], capture_output=True, text=True)
    text = run.stdout.strip() or run.stderr.strip()
    try:
        text = json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    except json.JSONDecodeError:
        pass
    return ["```json", text, "```", *run.stderr.strip().splitlines()]


def row(name: str, found: dict[str, Any]) -> list[str]:
    ids = " ".join(map(str, found["ids"]))
    return [f"- {name}: {found['text']!r} in {found['seconds']:.2f} s", f"  - ids: {ids}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a name on the hub, or a folder")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--without-original", action="store_true", help="run ours alone")
    args = parser.parse_args()
    if not args.without_original and find_spec("modelscope") is None:
        parser.error("the original is not installed (pip install modelscope torch transformers); --without-original runs ours")
    begun = time.perf_counter()
    folder = Path(args.model) if Path(args.model).is_dir() else mplug_rs.pull(args.model)
    pulled = time.perf_counter() - begun
    print(f"# First contact: {args.model}\n\n## Versions\n")
    print("\n".join(versions()))
    print(f"\n## Model\n\n{folder.name}, found or downloaded in {pulled:.1f} s\n")
    print("\n".join(facts(str(folder))))
    our = ours(folder, args.pictures)
    their = None if args.without_original else theirs(folder, args.pictures)
    differing = 0
    print("\n## Captions\n")
    for index, picture in enumerate(args.pictures):
        print(f"### {Path(picture).name}\n")
        print("\n".join(row("ours", our[index])))
        if their is not None:
            is_same = their[index]["text"] == our[index]["text"] and their[index]["ids"] == our[index]["ids"]
            differing += not is_same
            print("\n".join(row("original", their[index])))
            print(f"- **{'the same' if is_same else 'DIFFERENT'}**")
        print()
    if their is not None:
        print(f"{len(our) - differing} of {len(our)} captions are the same.\n")
    print("## The test split\n\nKarpathy's test split of COCO, 5,000 pictures, with the folder of its pictures:\n")
    print(f"    mplug eval --model {args.model} --dataset dataset_coco.json --split test --images coco/")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
