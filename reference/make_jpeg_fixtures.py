#!/usr/bin/env python3
"""Makes `fixtures/jpeg`: small JPEG files, and what Pillow and the original make of them.

    apt-get install libjpeg-turbo-progs libtiff-tools
    pip install pillow==13.0.0 numpy
    python reference/make_jpeg_fixtures.py fixtures/jpeg [MODEL_DIR]
    python reference/make_jpeg_fixtures.py --photograph FILE

MODEL_DIR is `fixtures/golden/tiny` with its weights (`cargo run --release -p mplug --example seeded_model`); with it, and
with what `check_pytorch_export.py` needs, the original captions pictures too. Without it the captions of the last run stay.

- `files.safetensors`: the files, as bytes by name. 30 pictures, drawn by a formula and seeded noise, at four qualities and
  three samplings; each progressive, gray, CMYK, with optimized Huffman tables and with restart markers; and the kinds that
  Pillow cannot write, by cjpeg (2.1.5): other samplings, arithmetic coding, scans in other orders or left out. And TIFF
  files whose parts are JPEG, by Pillow and tiffcp (4.5).
- `expected.json`: of each file the size and the SHA-256 of Pillow's RGB pixels, or null where we refuse it by name; the
  original's captions of some; `damaged`, edits of bytes of files, with the hash of what Pillow makes of them, or null
  where it refuses; `cut`, files whose every beginning Pillow refuses.

With `--photograph` it draws one file of 12 megapixels, 4:2:0 at quality 85, for the example `decode_speed`.
"""
import hashlib
import io
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image, ImageOps

QUALITIES = (10, 50, 85, 100)
SAMPLINGS = {"444": 0, "422": 1, "420": 2}
SIZES = (
    (1, 1), (2, 1), (1, 3), (3, 2), (5, 5), (7, 8), (8, 8), (9, 7), (8, 9), (15, 16), (16, 16), (17, 16), (16, 17), (18, 10), (33, 17),
    (17, 33), (32, 32), (31, 33), (34, 18), (40, 24), (24, 40), (48, 20), (20, 48), (50, 2), (3, 51), (36, 36), (41, 27), (27, 41), (47, 31), (44, 38),
)
DAMAGED = 300
# Scan scripts of cjpeg.
SCRIPTS = {
    "means_alone": "0,1,2: 0-0, 0, 0;",
    "no_colour_detail": "0,1,2: 0-0, 0, 0; 0: 1-63, 0, 0;",
    "no_detail_of_cr": "0,1,2: 0-0, 0, 0; 0: 1-63, 0, 0; 1: 1-63, 0, 0;",
    "first_detail": "0,1,2: 0-0, 0, 0; 0: 1-5, 0, 0; 1: 1-5, 0, 0; 2: 1-5, 0, 0;",
    "coarse": "0,1,2: 0-0, 0, 1; 0: 1-63, 0, 2; 1: 1-63, 0, 1; 2: 1-63, 0, 1;",
    "means_apart": "0: 0-0, 0, 0; 1: 0-0, 0, 0; 2: 0-0, 0, 0; 0: 1-63, 0, 0; 1: 1-63, 0, 0; 2: 1-63, 0, 0;",
    "apart": "0; 1; 2;",
    "apart_backwards": "2; 1; 0;",
    "two_together": "0; 1,2;",
}
CJPEG_SAMPLINGS = ("1x2", "4x1", "1x4", "4x2", "2x4", "3x1", "2x2,1x2,1x2", "2x2,2x1,2x1", "2x1,1x1,2x1", "4x1,2x1,2x1", "1x1,2x1,2x1", "1x1,1x1,2x2")
# What we refuse, by the end of its name.
REFUSED = (
    "two_together", "1x1,2x1,2x1", "1x1,1x1,2x2", "cmyk_420", "arithmetic_restart", "arithmetic_means_alone",
    "arithmetic_no_colour_detail", "arithmetic_apart", "arithmetic_two_together", "tiff_cmyk", "tiff_planes",
)


def main():
    if sys.argv[1] == "--photograph":
        return photograph(sys.argv[2])
    out = pathlib.Path(sys.argv[1])
    out.mkdir(exist_ok=True)
    files = pillow_files() | cjpeg_files() | tiff_files()
    old = json.loads((out / "expected.json").read_text()) if (out / "expected.json").exists() else {}
    captions = caption(files, pathlib.Path(sys.argv[2])) if len(sys.argv) > 2 else old.get("captions", {})
    expected = {
        "made_by": f"Pillow {Image.__version__}",
        "files": {name: None if name.endswith(REFUSED) else pillow(data) for name, data in files.items()},
        "captions": captions,
        "damaged": damage(files),
        "cut": cut(files),
    }
    write_safetensors(out / "files.safetensors", files)
    (out / "expected.json").write_text(one_line_an_entry(expected))
    print(len(files), "files,", sum(map(len, files.values())), "bytes;", len(captions), "captions")


def picture(index):
    """Gradients, discs and noise: flat and smooth regions, edges, and detail in colour."""
    width, height = SIZES[index]
    rng = np.random.Generator(np.random.PCG64(index))
    y, x = np.mgrid[0:height, 0:width]
    levels = np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x + 2 * y) * 7 % 256], -1)
    for _ in range(index % 5):
        left, top, radius = (int(rng.integers(0, limit)) for limit in (width, height, max(2, width // 2)))
        levels[(x - left) ** 2 + (y - top) ** 2 < radius**2] = rng.integers(0, 256, 3)
    strength = (0, 4, 16, 60)[index % 4]
    noise = rng.integers(-strength, strength + 1, levels.shape)
    return np.clip(levels + noise, 0, 255).astype(np.uint8)


def pillow_files():
    files = {}
    for index in range(len(SIZES)):
        image, name = Image.fromarray(picture(index)), f"{index:02}"
        for quality in QUALITIES:
            for sampling, subsampling in SAMPLINGS.items():
                files[f"{name}_q{quality}_{sampling}"] = saved(image, quality=quality, subsampling=subsampling)
        files[f"{name}_progressive"] = saved(image, quality=85, subsampling=index % 3, progressive=True)
        files[f"{name}_gray"] = saved(image.convert("L"), quality=85, progressive=index % 2 == 1)
        cmyk = Image.merge("CMYK", [*image.split(), Image.fromarray(255 - picture(index)[..., 0] // 2)])
        files[f"{name}_cmyk"] = saved(cmyk, quality=85, subsampling=0, progressive=index % 2 == 1)
        files[f"{name}_optimized"] = saved(image, quality=70, subsampling=index % 3, optimize=True)
        files[f"{name}_restart"] = saved(image, quality=70, subsampling=index % 3, restart_marker_blocks=1 + index % 3)
        if index in (4, 19):
            files[f"{name}_cmyk_420"] = saved(cmyk, quality=85, subsampling=2)
    return files


def saved(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def cjpeg_files():
    files = {}
    for index in (3, 7, 18, 19):
        pixels, name = picture(index), f"{index:02}_cjpeg"
        for sampling in CJPEG_SAMPLINGS:
            files[f"{name}_{sampling}"] = cjpeg(pixels, "-sample", sampling)
        for script, scans in SCRIPTS.items():
            files[f"{name}_{script}"] = cjpeg(pixels, scans=scans)
        for script in ("means_alone", "no_colour_detail", "apart", "two_together", "means_apart"):
            files[f"{name}_arithmetic_{script}"] = cjpeg(pixels, "-arithmetic", scans=SCRIPTS[script])
        files[f"{name}_arithmetic"] = cjpeg(pixels, "-arithmetic")
        files[f"{name}_arithmetic_progressive"] = cjpeg(pixels, "-arithmetic", "-progressive")
        files[f"{name}_arithmetic_restart"] = cjpeg(pixels, "-arithmetic", "-restart", "1B")
        files[f"{name}_rgb"] = cjpeg(pixels, "-rgb")
        files[f"{name}_restart_rows"] = cjpeg(pixels, "-restart", "1", "-progressive")
    return files


def cjpeg(pixels, *options, scans=None):
    height, width, _ = pixels.shape
    with tempfile.NamedTemporaryFile("w") as script:
        if scans:
            script.write(scans.replace(";", ";\n"))
            script.flush()
            options += ("-scans", script.name)
        command = ["cjpeg", "-quality", "75", *options]
        return subprocess.run(command, input=b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes(), capture_output=True, check=True).stdout


def tiff_files():
    image, rows = Image.fromarray(picture(28)), {278: 16}
    files = {
        "tiff_rgb": saved_tiff(image, compression="jpeg", quality=80, tiffinfo=rows),
        "tiff_ycbcr": saved_tiff(image.convert("YCbCr"), compression="jpeg", quality=80, tiffinfo=rows),
        "tiff_gray": saved_tiff(image.convert("L"), compression="jpeg", quality=80),
        "tiff_turned": saved_tiff(image, compression="jpeg", quality=80, tiffinfo={274: 6}),
        "tiff_cmyk": saved_tiff(image.convert("CMYK"), compression="jpeg", quality=80),
    }
    layouts = {"subsampled": ("80",), "subsampled_strips": ("80", "-r", "16"), "tiles": ("80", "-t", "-w", "32", "-l", "16")}
    layouts |= {"rgb_tiles": ("80:r", "-t", "-w", "16", "-l", "32"), "planes": ("80:r", "-p", "separate")}
    with tempfile.TemporaryDirectory() as folder:
        plain, coded = pathlib.Path(folder) / "plain.tif", pathlib.Path(folder) / "coded.tif"
        image.save(plain)
        for name, (quality, *layout) in layouts.items():
            subprocess.run(["tiffcp", "-c", f"jpeg:{quality}", *layout, plain, coded], check=True)
            files[f"tiff_{name}"] = coded.read_bytes()
    return files


def saved_tiff(image, **options):
    file = io.BytesIO()
    image.save(file, "TIFF", **options)
    return file.getvalue()


def pillow(data):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    return [image.width, image.height, hashlib.sha256(image.tobytes()).hexdigest()]


def pillow_or_none(data):
    try:
        return pillow(data)
    except Exception:
        return None


def damage(files):
    """Changed bytes, mostly of coded data; only what at least one of header and data survives is worth keeping."""
    choose, names = random.Random(1), sorted(name for name, data in files.items() if len(data) < 3000 and "tiff" not in name)
    cases = []
    while len(cases) < DAMAGED:
        name = choose.choice(names)
        data = bytearray(files[name])
        begin = data.find(b"\xff\xda") + 4 if choose.random() < 0.8 else 2
        edits = [[choose.randrange(begin, len(data)), choose.randrange(256)] for _ in range(choose.choice((1, 1, 2, 5)))]
        for at, value in edits:
            data[at] = value
        cases.append({"file": name, "edits": edits, "pixels": pillow_or_none(bytes(data))})
    return cases


def cut(files):
    names = ("14_q10_420", "14_progressive", "14_gray", "14_restart", "13_cmyk", "18_cjpeg_apart", "18_cjpeg_arithmetic")
    for name in names:
        accepted = [length for length in range(1, len(files[name])) if pillow_or_none(files[name][:length])]
        assert not accepted, (name, accepted)
    return list(names)


def caption(files, model):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    import check_pytorch_export

    check_pytorch_export.leave_out_unrelated_models()
    pipe, captions = check_pytorch_export.original("image-captioning", model), {}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            if name.endswith(("_q85_420", "_progressive", "_gray", "_cmyk")) and "cjpeg" not in name and "tiff" not in name:
                path = pathlib.Path(folder) / f"{name}.jpg"
                path.write_bytes(data)
                captions[name] = pipe(str(path))["caption"]
    return captions


def photograph(path):
    """Light that changes slowly, discs of other colours, and grain."""
    width, height = 4000, 3000
    rng = np.random.Generator(np.random.PCG64(0))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    light = (128 + 80 * np.sin(x / 310) + 30 * np.cos(y / 90), 120 + 70 * np.cos((x + y) / 400), 110 + 60 * np.sin(y / 270 - x / 500))
    levels = np.stack(light, -1)
    for _ in range(300):
        left, top, radius = int(rng.integers(0, width)), int(rng.integers(0, height)), int(rng.integers(10, 260))
        part = np.s_[max(0, top - radius) : top + radius, max(0, left - radius) : left + radius]
        inside = (x[part] - left) ** 2 + (y[part] - top) ** 2 < radius**2
        levels[part][inside] = levels[part][inside] * 0.4 + rng.integers(0, 256, 3) * 0.6
    levels += rng.normal(0, 5, (height, width, 1))
    Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).save(path, quality=85, subsampling=2)


def write_safetensors(path, files):
    header, at = {}, 0
    for name, data in files.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    header = json.dumps(header, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(files.values()))


def one_line_an_entry(value):
    """JSON whose lists and objects of the second level take a line each."""
    dump = lambda part: json.dumps(part, ensure_ascii=False, separators=(",", ":"))
    parts = []
    for key, part in value.items():
        if isinstance(part, dict):
            inner = ",\n".join(f"{dump(k)}:{dump(v)}" for k, v in part.items())
            parts.append(f"{dump(key)}:{{\n{inner}\n}}")
        elif isinstance(part, list):
            inner = ",\n".join(map(dump, part))
            parts.append(f"{dump(key)}:[\n{inner}\n]")
        else:
            parts.append(f"{dump(key)}:{dump(part)}")
    return "{" + ",\n".join(parts) + "}\n"


if __name__ == "__main__":
    main()
