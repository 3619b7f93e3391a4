"""What the machine is, which versions ran, and the samples of a session as Markdown tables."""

import importlib.metadata
import os
import pathlib
import platform
import statistics
import subprocess

PACKAGES = (
    "torch", "torchvision", "transformers", "modelscope", "onnx", "onnxruntime", "openvino", "numpy", "pillow",
)  # fmt: skip
FLAGS = ("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
MEASURES = {
    "encoder": ("Visual encoder, one picture", "ms"),
    "cross_key_values": ("Cross-attention keys and values, one picture", "ms"),
    "decode_step": ("Decode step, one picture's beams", "ms"),
    "end_to_end": ("End to end, one picture", "s"),
    "pictures_per_s_batch_8": ("Batch of 8", "pictures/s"),
}
FACTS = {
    "import_s": ("imports, s", 1),
    "load_s": ("load, s", 1),
    "first_caption_s": ("first caption from a cold process, s", 1),
    "peak_memory_one_picture_bytes": ("peak memory, one picture, MiB", 2**-20),
    "peak_memory_all_bytes": ("peak memory, all measures, MiB", 2**-20),
}


def hardware():
    cpu = pathlib.Path("/proc/cpuinfo").read_text() if pathlib.Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in reversed(cpu.splitlines()) if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = fields.get("flags", "").split()
    return {
        "cpu": fields.get("model name", platform.processor()),
        "family_and_model": f"{fields.get('cpu family', '?')}, {fields.get('model', '?')}",
        "cores": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "flags_absent": [flag for flag in FLAGS if flag not in flags],
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    }


def versions(mplug):
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    told = subprocess.run([str(mplug), "--version"], capture_output=True, text=True).stdout.strip()
    return {"mplug": told} | found


def markdown(result):
    parts = [introduction(result), *filter(None, (measure_table(result, name) for name in MEASURES))]
    parts += [facts_table(result), correctness(result)]
    if result["failures"]:
        parts.append("## Failed\n\n" + "\n".join(f"- {name}: {why}" for name, why in result["failures"].items()))
    return "\n\n".join(parts)


def introduction(result):
    machine, settings = result["hardware"], result["settings"]
    lines = [
        f"{machine['cpu']} (family, model: {machine['family_and_model']}), {machine['cores']} cores, "
        f"{settings['threads']} threads used; has {', '.join(machine['flags'])}; "
        f"lacks {', '.join(machine['flags_absent'])}. {machine['system']}.",
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()) + ".",
        "Ratios are ours ÷ peer at the same precision, the median over rounds of the ratio within a round.",
    ]
    return "\n\n".join(lines)


def measure_table(result, measure):
    title, unit = MEASURES[measure]
    rows = []
    for label, rounds in result["samples"].items():
        values = {sample["round"]: sample[measure] for sample in rounds if measure in sample}
        if values:
            name = f"{label} ({result['notes'][label]})" if label in result["notes"] else label
            rows.append([name, *spread(values.values(), unit), len(values), ratio(result, label, measure, values)])
    better = "above 1: ours does more" if unit == "pictures/s" else "below 1: ours is faster"
    head = ["engine", f"median, {unit}", "least", "most", "rounds", f"ours ÷ peer ({better})"]
    return f"## {title}\n\n{table(head, rows)}" if rows else None


def table(head, rows):
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, ["---"] * len(head), *rows])


def spread(values, unit):
    scale = 1000 if unit == "ms" else 1
    numbers = (statistics.median(values), min(values), max(values))
    return [figure(number * scale) for number in numbers]


def figure(number):
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"


def ratio(result, label, measure, values):
    name, precision = label.rsplit(" ", 1)
    ours = {sample["round"]: sample.get(measure) for sample in result["samples"].get(f"ours {precision}", [])}
    pairs = [ours[index] / value for index, value in values.items() if ours.get(index)]
    return f"{statistics.median(pairs):.2f}" if pairs and name != "ours" else ""


def facts_table(result):
    """Start and memory; the load time of ours is the median of its rounds, each a process of its own."""
    rows = []
    for label, facts in result["facts"].items():
        loads = [sample["load"] for sample in result["samples"][label] if "load" in sample]
        facts = facts | ({"load_s": statistics.median(loads)} if loads else {})
        cells = [figure(facts[name] * scale) if name in facts else "" for name, (_, scale) in FACTS.items()]
        rows.append([label, *cells])
    return "## Start and memory\n\n" + table(["engine", *(title for title, _ in FACTS.values())], rows)


def correctness(result):
    """Relative errors of the peers' encoders, and whose tokens are the original's."""
    errors, tokens = result["embeds_error"], result["token_ids"]
    lines = [f"- {name}: image embeddings {error:.1e} from PyTorch's at f32" for name, error in errors.items()]
    truth = next((name for name in ("original f32", "torch-cached f32", "ours f32") if name in tokens), None)
    for name in tokens:
        if name != truth:
            verdict = "the same tokens as" if tokens[name] == tokens[truth] else "OTHER TOKENS than"
            lines.append(f"- {name}: {verdict} {truth}")
    for name, facts in result["facts"].items():
        if not facts.get("same_tokens_from_the_file", True):
            lines.append(f"- {name}: other tokens from the file itself than from its pixels as the peers decode it")
    return "## Same network?\n\n" + "\n".join(lines)
