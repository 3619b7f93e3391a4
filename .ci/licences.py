"""The licences of everything in the program, as one text, and its bill of materials (CycloneDX 1.6).

    python3 .ci/licences.py THIRD-PARTY-LICENCES.txt mplug.cdx.json

Takes the crates of `cargo tree -p mplug-cli --features parquet` and the licence files in their sources.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TREE = ["tree", "-p", "mplug-cli", "--features", "parquet", "-e", "normal", "--prefix", "none", "--format", "{p}"]
LICENCE_FILES = ("license", "licence", "copying", "notice", "unlicense", "copyright")


def cargo(arguments: list[str]) -> str:
    return subprocess.run(["cargo", *arguments, "--locked"], check=True, capture_output=True, text=True).stdout


def packages() -> list[dict[str, Any]]:
    """Those that are linked, as `cargo metadata` describes them."""
    linked = {tuple(line.split()[:2]) for line in cargo(TREE).splitlines() if line.strip()}
    described = json.loads(cargo(["metadata", "--format-version", "1"]))["packages"]
    found = [package for package in described if (package["name"], "v" + package["version"]) in linked]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


def text_of(package: dict[str, Any]) -> str:
    folder = Path(package["manifest_path"]).parent
    files = sorted(path for path in folder.iterdir() if path.name.lower().startswith(LICENCE_FILES) and path.is_file())
    texts = [f"--- {path.name}\n{path.read_text(errors='replace').strip()}\n" for path in files]
    head = f"{package['name']} {package['version']}: {package['license'] or 'see its file'}\n"
    return "=" * 80 + "\n" + head + "\n".join(texts)


def component(package: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "library",
        "name": package["name"],
        "version": package["version"],
        "purl": f"pkg:cargo/{package['name']}@{package['version']}",
    }
    if package["license"]:
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return found


def main() -> None:
    licences, materials = map(Path, sys.argv[1:3])
    linked = packages()
    ours = next(package for package in linked if package["name"] == "mplug-cli")
    others = [package for package in linked if package["source"]]
    licences.write_text("\n".join(map(text_of, others)))
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "mplug", "version": ours["version"]}},
        "components": list(map(component, others)),
    }
    materials.write_text(json.dumps(bill, indent=1))


if __name__ == "__main__":
    main()
