#!/usr/bin/env python3
"""Makes a messy folder of 3,000 pictures and holds our pixels of each to Pillow's: equal, or refused by name, and none missing.

    pip install pillow==13.0.0 numpy
    cargo build --release -p mplug-data --example decode_pixels
    python reference/check_pictures.py FOLDER target/release/examples/decode_pixels

The pictures are drawn by a formula and a seed: all formats that Pillow writes, and kinds of TIFF, GIF and PNM that it does not; all
orientations wherever a format may keep them; broken files, files that are no pictures, odd names, wrong endings; a part of them in
a zip and a tar archive. Pillow's pixels are those of `ImageOps.exif_transpose(Image.open(file)).convert("RGB")`, as the original
reads a path. Gray of more than 8 bits is the documented difference: its pixels are held to the rule of docs/pictures.md.

It ends with 1 if a picture has other pixels than Pillow's, or is not reported.

    python reference/check_pictures.py --fixtures fixtures/pictures target/release/examples/decode_pixels

writes `files.safetensors`, small pictures of the same kinds and one of each reported case, as bytes by name, and `expected.json`: of
each the width, the height and the SHA-256 of Pillow's pixels, or null where we refuse it by name.
"""
import collections
import hashlib
import io
import json
import pathlib
import random
import struct
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
import zlib

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

COUNT = 3000
FIXTURES = 168
NAMES = ("{}", "照片 {}", "ünïcode-{}", "with space {}", "-dash{}", "{}.tar", "emoji😀{}", "quote'{}", "UPPER{}", "dots..{}")
rng = random.Random(20261130)
largest = 70  # sides are shorter


def main():
    warnings.simplefilter("ignore")
    if sys.argv[1] == "--fixtures":
        return fixtures(pathlib.Path(sys.argv[2]), sys.argv[3])
    folder, program = pathlib.Path(sys.argv[1]), sys.argv[2]
    folder.mkdir(parents=True)  # never one that is there
    made = write(folder, [make(index) for index in range(COUNT)])
    lines = "".join(f"{place}\n" for place in made)
    out = subprocess.run([program], input=lines, capture_output=True, text=True, check=True).stdout
    reports = {report["picture"]: report for report in map(json.loads, out.splitlines())}
    counts, faults, refusals = collections.Counter(), [], collections.Counter()
    for place, (kind, data) in made.items():
        verdict = judge(data, reports.get(place))
        counts[verdict] += 1
        if verdict in ("other pixels", "missing"):
            faults.append(f"{verdict}: {kind}: {place}")
        if verdict.startswith("refused by us"):
            refusals[kind, reports[place]["error"][:110]] += 1
    for verdict, count in sorted(counts.items()):
        print(f"{count:5} {verdict}")
    for (kind, error), count in sorted(refusals.items()):
        print(f"      {count:4} {kind}: {error}")
    print("\n".join(faults))
    sys.exit(bool(faults))


def fixtures(folder, program):
    global largest
    largest = 9
    files = cases()
    for index in range(FIXTURES):
        kind, maker = KINDS[index % len(KINDS)]
        ending, data = maker()
        files[f"{kind.replace(' ', '_')}_{index:03}{ending}"] = data
    with tempfile.TemporaryDirectory() as place:
        paths = {name: pathlib.Path(place) / name for name in files}
        for name, path in paths.items():
            path.write_bytes(files[name])
        lines = "".join(f"{path}\n" for path in paths.values())
        out = subprocess.run([program], input=lines, capture_output=True, text=True, check=True).stdout
    expected = {}
    for name, report in zip(list(files), map(json.loads, out.splitlines())):
        verdict = judge(files[name], report)
        assert verdict not in ("missing", "other pixels"), (name, verdict)
        if verdict == "read by us alone":
            del files[name]
        else:
            expected[name] = None if "error" in report else [*report["size"], report["sha256"]]
    folder.mkdir(exist_ok=True)
    write_safetensors(folder / "files.safetensors", files)
    entries = ",\n".join(f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'))}" for name, value in expected.items())
    (folder / "expected.json").write_text(f'{{"made_by":"Pillow {Image.__version__}","files":{{\n{entries}\n}}}}\n')
    print(len(files), "files,", sum(map(len, files.values())), "bytes;", sum(value is None for value in expected.values()), "refused")


def cases():
    """One of each reported kind, whose name begins with the number of its case."""
    image, six, three = picture(), b"Exif\0\0" + block(6, 3, ">"), b"Exif\0\0" + block(3, 3, ">")
    raw = f"\nexif\n{len(three):8}\n{three.hex()}\n".encode()
    plain = saved(image, "PNG")
    data, end = plain.index(b"IDAT") - 4, plain.rindex(b"IEND") - 4
    upright_jpeg = saved(image, "JPEG", quality=90)

    def with_app1(*blocks):
        segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in blocks)
        return upright_jpeg[:2] + segments + upright_jpeg[2:]

    files = {
        "03_upright.png": plain,
        "03_exif_behind_the_data.png": plain[:end] + chunk(b"eXIf", three[6:]) + chunk(b"tEXt", b"date:create\0today") + plain[end:],
        "03_raw_profile.png": plain[:data] + chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw)) + plain[data:],
        "03_raw_profile_behind_the_data.png": plain[:end] + chunk(b"tEXt", b"Raw profile type exif\0" + raw) + plain[end:],
        "03_xmp.png": plain[:end] + chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="3"/>') + plain[end:],
        "05_upright.jpg": upright_jpeg,
        "05_exif_long.jpg": with_app1(b"Exif\0\0" + block(3, 4, ">")),
        "05_exif_long_le.jpg": with_app1(b"Exif\0\0" + block(3, 4, "<")),
        "05_two_exif_6_3.jpg": with_app1(six, three),
        "05_two_exif_3_6.jpg": with_app1(three, six),
        "24_bigtiff.tif": saved(image, "TIFF", big_tiff=True),
        "24_palette.tif": saved(image.quantize(16), "TIFF"),
        "24_ycbcr.tif": saved(image.convert("YCbCr"), "TIFF"),
        "24_lab.tif": saved(Image.frombytes("LAB", (3, 2), bytes(range(100, 118))), "TIFF"),
        "24_float.tif": saved(picture("F"), "TIFF"),
        "24_int32.tif": saved(picture("I"), "TIFF"),
        "24_cmyk.tif": saved(picture("CMYK"), "TIFF"),
        "25_avif_called.jpg": saved(image, "AVIF"),
        "25_jpeg_2000.jp2": saved(image, "JPEG2000"),
        "25_picture.ppm": saved(image, "PPM"),
        "25_picture.tga": saved(image, "TGA"),
        "25_picture.ico": saved(image.resize((16, 16)), "ICO"),
        "27_gray_12_in_16.png": saved(Image.fromarray(np.linspace(0, 4095, 60).astype(np.uint16).reshape(6, 10)), "PNG"),
        "33_offset.gif": offset_gif(),
        "39_black_on_transparent.png": saved(Image.fromarray(np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 100]]], np.uint8)), "PNG"),
        "39_black_on_transparent.gif": saved(Image.frombytes("P", (3, 1), b"\0\1\0"), "GIF", transparency=0),
    }
    for packing in ("group3", "group4", "tiff_ccitt"):
        files[f"24_{packing}.tif"] = saved(picture("1"), "TIFF", compression=packing)
    for kind in (1, 6, 8, 9, 11, 13):
        files[f"05_exif_type_{kind}.jpg"] = with_app1(b"Exif\0\0" + block(6, kind, "<"))
    return files


def offset_gif():
    """A picture that is smaller than its canvas, whose background is another colour than what Pillow shows."""
    data = bytearray(saved(picture("P"), "GIF"))
    frame = frame_of_gif(data)
    width, height = struct.unpack_from("<HH", data, frame + 4)
    struct.pack_into("<HH", data, 6, width + 9, height + 7)
    struct.pack_into("<HH", data, frame, 3, 2)
    data[11] = 1
    return bytes(data)


def write_safetensors(path, files):
    header, at = {}, 0
    for name, data in files.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    header = json.dumps(header, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(files.values()))


def judge(data, report):
    if report is None:
        return "missing"
    theirs = pillow(data)
    if "error" in report:
        return "refused by both" if theirs is None else "refused by us alone, by name"
    ours = (tuple(report["size"]), report["sha256"])
    if theirs is None:
        return "read by us alone"
    return "equal" if ours == theirs else "other pixels"


def pillow(data):
    try:
        image = Image.open(io.BytesIO(data))
        deep = deep_gray(image, data)
        image = ImageOps.exif_transpose(image)
        if deep:
            levels = np.asarray(image).astype(np.int64)
            bits = int(levels.max()).bit_length()
            levels = levels >> (8 if bits > 12 else max(0, bits - 8))
            image = Image.fromarray(levels.astype(np.uint8))
        image = image.convert("RGB")
    except Exception:  # whatever Pillow raises is its refusal
        return None
    return image.size, hashlib.sha256(image.tobytes()).hexdigest()


def deep_gray(image, data):
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")


def write(folder, pictures):
    """Files of a few folders, and the last 300 in two archives: where each is, by line of the program's input."""
    made = {}
    with zipfile.ZipFile(folder / "some.zip", "w") as zipped, tarfile.open(folder / "some.tar", "w") as tarred:
        for index, (kind, ending, data) in enumerate(pictures):
            name = NAMES[index % len(NAMES)].format(f"{index:04}") + ending
            if index % 10 == 8:
                zipped.writestr(f"inside/{name}", data)
                place = f"{folder}/some.zip\tinside/{name}"
            elif index % 10 == 9:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tarred.addfile(info, io.BytesIO(data))
                place = f"{folder}/some.tar\t{name}"
            else:
                path = folder / f"part {index % 7}" / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
                place = str(path)
            made[place] = (kind, data)
    return made


def make(index):
    kind, maker = KINDS[index % len(KINDS)]
    ending, data = maker()
    if index % 11 == 5:
        kind, data = f"broken {kind}", broken(data)
    if index % 17 == 3:
        ending = rng.choice([".jpg", ".png", "", ".JPEG", ".jfif", ".dat"])
    return kind, ending, data


def broken(data):
    """Cut short, or with a byte changed, or behind something else."""
    way = rng.randrange(4)
    if way == 0:
        return data[: rng.randrange(len(data))]
    if way == 1:
        return data[: len(data) * 9 // 10]
    if way == 2:
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    return rng.choice([b"", b"\0" * 100, b"<html>not found</html>", b"\xef\xbb\xbfa text\n", data[3:]])


def picture(mode="RGB"):
    width, height = rng.randrange(1, largest), rng.randrange(1, largest)
    noise = np.random.Generator(np.random.PCG64(rng.getrandbits(32)))
    y, x = np.mgrid[0:height, 0:width]
    levels = np.stack([x * 255 // width, y * 255 // height, (x + 2 * y) * 7 % 256, 255 - (x * y) % 256], -1)
    levels = np.clip(levels + noise.integers(-20, 21, levels.shape), 0, 255).astype(np.uint8)
    if mode in ("RGBA", "CMYK"):
        return Image.frombytes(mode, (width, height), levels.tobytes())
    image = Image.fromarray(np.ascontiguousarray(levels[..., :3]))
    if mode == "LA":
        return Image.merge("LA", [image.convert("L"), Image.fromarray(np.ascontiguousarray(levels[..., 3]))])
    if mode == "I;16":
        top = rng.choice([255, 1023, 4095, 16383, 65535])
        return Image.fromarray((levels[..., 0].astype(np.uint32) * top // 255).astype(np.uint16))
    if mode == "I":
        return Image.fromarray(levels[..., 0].astype(np.int32) * 3 - 200)
    if mode == "F":
        return Image.fromarray(levels[..., 0].astype(np.float32) * 1.7 - 60.3)
    if mode == "P":
        return image.quantize(rng.choice([2, 4, 16, 200]))
    return image.convert(mode)


def saved(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def exif(orientation=None, kind=None):
    """A block with an orientation of some type, in either order of bytes."""
    order = rng.choice("<>")
    value = rng.randrange(10) if orientation is None else orientation
    kind = kind or rng.choice([3, 3, 3, 4, 1, 6, 7, 8, 9, 11, 13])
    entries = []
    if rng.random() < 0.3:
        place = rng.choice([8, 20, 5000])
        entries.append(struct.pack(order + "HHLL", 271, 2, rng.choice([5, 12, 900]), place))
    return block(value, kind, order, entries)


def block(value, kind, order, entries=()):
    """A block that says that orientation, behind other entries."""
    codes = {3: "HH", 4: "L", 1: "BBBB", 6: "BBBB", 7: "BBBB", 8: "hh", 9: "l", 11: "f", 13: "L"}[kind]
    field = struct.pack(order + codes, *([value] + [0] * (len(codes) - 1)))
    entries = [*entries, struct.pack(order + "HHL", 274, kind, 1) + field]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "LH", 8, len(entries))
    return head + b"".join(entries) + b"\0\0\0\0"


def xmp():
    value = rng.randrange(1, 9)
    form = rng.choice(['<x tiff:Orientation="{}"/>', "<tiff:Orientation>{}</tiff:Orientation>", "<x tiff:orientation='{}'/>"])
    return form.format(value).encode()


def jpeg():
    data = saved(picture(rng.choice(["RGB", "RGB", "L", "CMYK"])), "JPEG", quality=rng.choice([30, 75, 95]), progressive=rng.random() < 0.3, subsampling=0)
    blocks = []
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        blocks.append(b"Exif\0\0" + exif())
    if rng.random() < 0.4:
        blocks.insert(rng.randrange(len(blocks) + 1), b"http://ns.adobe.com/xap/1.0/\0" + xmp())
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block for block in blocks)
    return rng.choice([".jpg", ".jpeg", ".JPG", ".jfif"]), data[:2] + segments + data[2:]


def mpo():
    return ".mpo", saved(picture(), "MPO", save_all=True, append_images=[picture()], exif=b"Exif\0\0" + exif(rng.randrange(1, 9), 3))


def chunk(kind, data):
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def metadata_chunk():
    block = exif()
    raw = ("\nexif\n%8d\n" % (len(block) + 6) + (b"Exif\0\0" + block).hex() + "\n").encode()
    return rng.choice([
        lambda: chunk(b"eXIf", block),
        lambda: chunk(b"tEXt", b"Raw profile type exif\0" + raw),
        lambda: chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw)),
        lambda: chunk(b"iTXt", b"Raw profile type exif\0\1\0\0\0" + zlib.compress(raw)),
        lambda: chunk(b"tEXt", b"Raw profile type APP1\0" + raw),
        lambda: chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp()),
        lambda: chunk(b"tEXt", b"exif\0" + block),
    ])()


def png():
    mode = rng.choice(["1", "L", "LA", "P", "P", "RGB", "RGB", "RGBA", "I;16"])
    options = {}
    if mode in ("P", "L") and rng.random() < 0.5:
        options["transparency"] = rng.randrange(2)
    if mode == "RGB" and rng.random() < 0.2:
        options["transparency"] = (1, 2, 3)
    data = saved(picture(mode), "PNG", **options)
    start, end = data.index(b"IDAT") - 4, data.rindex(b"IEND") - 4
    before, behind = (b"".join(metadata_chunk() for _ in range(rng.choice([0, 0, 1, 2]))) for _ in range(2))
    return ".png", data[:start] + before + data[start:end] + behind + data[end:]


def animated_png():
    size = picture().size
    frames = [picture().resize(size) for _ in range(3)]
    return ".png", saved(frames[0], "PNG", save_all=True, append_images=frames[1:])


def webp():
    mode = rng.choice(["RGB", "RGBA"])
    options = {"lossless": rng.random() < 0.5, "quality": rng.choice([20, 80])}
    if rng.random() < 0.6:
        options["exif"] = rng.choice([b"", b"Exif\0\0"]) + exif()
    if rng.random() < 0.4:
        options["xmp"] = xmp()
    if rng.random() < 0.2:
        first = picture(mode)
        options.update(save_all=True, append_images=[picture(mode).resize(first.size)])
        return ".webp", saved(first, "WEBP", **options)
    return ".webp", saved(picture(mode), "WEBP", **options)


def gif():
    image = picture(rng.choice(["P", "L", "RGB", "1"]))
    options = {"interlace": rng.random() < 0.5}
    if rng.random() < 0.3:
        options["transparency"] = 1
    if rng.random() < 0.3:
        options.update(save_all=True, append_images=[picture().resize(image.size)])
    data = bytearray(saved(image, "GIF", **options))
    if rng.random() < 0.5:  # the canvas grows, or the picture moves beyond it
        frame = frame_of_gif(data)
        for at in rng.sample([6, 8, frame, frame + 2], 2):
            value = struct.unpack_from("<H", data, at)[0]
            struct.pack_into("<H", data, at, value + rng.randrange(1, 30))
        data[11] = rng.randrange(4)
    return ".gif", bytes(data)


def frame_of_gif(data):
    """Where the first picture's place is: behind the palette and the extensions."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    while data[at] == 0x21:
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    return at + 1


def bmp():
    return ".bmp", saved(picture(rng.choice(["1", "L", "P", "RGB", "RGBA"])), "BMP")


def tiff_by_pillow():
    mode = rng.choice(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
    packing = rng.choice(["raw", "raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group3", "group4", "tiff_ccitt", "lzma", "zstd"])
    if packing in ("group3", "group4", "tiff_ccitt"):
        mode = "1"
    if packing == "jpeg":
        mode = rng.choice(["L", "RGB"])
    image = picture(mode) if mode != "LAB" else Image.frombytes("LAB", (3, 2), bytes(range(100, 118)))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if rng.random() < 0.5:
        tags[274] = rng.randrange(1, 9)
    if rng.random() < 0.2:
        tags[700] = xmp()
    try:
        return ".tif", saved(image, "TIFF", compression=packing, tiffinfo=tags, big_tiff=rng.random() < 0.3)
    except (OSError, ValueError, KeyError, RuntimeError):  # what Pillow does not write
        return ".tif", saved(image, "TIFF")


def tiff_by_hand():
    """Kinds that Pillow reads and does not write: orders of bytes and bits, planes, tiles, narrow levels, extra ones, predictors."""
    order, is_big = rng.choice("<>"), rng.random() < 0.3
    photometric, bits, samples, extra = rng.choice([
        (0, 1, 1, None), (1, 1, 1, None), (0, 2, 1, None), (1, 2, 1, None), (0, 4, 1, None), (1, 4, 1, None), (0, 8, 1, None),
        (1, 8, 1, None), (1, 16, 1, None), (3, 1, 1, None), (3, 2, 1, None), (3, 4, 1, None), (3, 8, 1, None), (1, 8, 2, 0),
        (1, 8, 2, 1), (1, 8, 2, 2), (2, 8, 3, None), (2, 8, 4, 0), (2, 8, 4, 1), (2, 8, 4, 2), (2, 8, 4, None), (2, 8, 5, 0),
        (2, 16, 3, None), (2, 16, 4, 2), (2, 16, 4, 1), (3, 8, 2, 2), (5, 8, 4, None), (5, 8, 5, 0), (5, 16, 4, None),
        (6, 8, 3, None), (2, 4, 3, None), (1, 12, 1, None), (4, 1, 1, None), (1, 64, 1, None)])
    width, height = rng.randrange(1, largest), rng.randrange(1, largest)
    fill, planar, packing = rng.choice([1, 1, 1, 2]), rng.choice([1, 1, 1, 2]), rng.choice([1, 1, 8, 32773])
    predictor = rng.choice([1, 2]) if packing == 8 and bits in (8, 16) and planar == 1 else 1
    if packing == 1 and (bits == 16 or samples == 1):
        planar = 1  # Pillow reads such planes as if they were plain ones of 8 bits
    is_tiled = rng.random() < 0.3 and bits >= 8
    across, down = (16, 16) if is_tiled else (width, rng.randrange(1, height + 1))
    noise = np.random.Generator(np.random.PCG64(rng.getrandbits(32)))
    top = rng.choice([255, 4095, 65535]) if bits == 16 else (1 << min(bits, 16)) - 1
    levels = noise.integers(0, top + 1, (height, width, samples))
    parts = []
    for plane in range(samples if planar == 2 else 1):
        shown = levels[..., plane : plane + 1] if planar == 2 else levels
        for y in range(0, height, down):
            for x in range(0, width, across):
                part = shown[y : y + down, x : x + across]
                if is_tiled:
                    part = np.pad(part, ((0, down - part.shape[0]), (0, across - part.shape[1]), (0, 0)))
                if predictor == 2:
                    part = np.concatenate([part[:, :1], part[:, 1:] - part[:, :-1]], 1) % (1 << bits)
                parts.append(packed(part, bits, order, packing, fill))
    entries = {256: ("L", [width]), 257: ("L", [height]), 258: ("H", [bits] * samples), 259: ("H", [packing]), 262: ("H", [photometric]),
               266: ("H", [fill]), 277: ("H", [samples]), 284: ("H", [planar]), 317: ("H", [predictor]),
               (324 if is_tiled else 273): ("L", None), (325 if is_tiled else 279): ("L", [len(part) for part in parts])}
    entries.update({322: ("L", [across]), 323: ("L", [down])} if is_tiled else {278: ("L", [down])})
    if extra is not None:
        entries[338] = ("H", [extra] + [0] * (samples - {1: 2, 2: 4, 3: 2, 5: 5}[photometric]))
    if photometric == 3:
        entries[320] = ("H", [int(level) for level in noise.integers(0, 65536, 3 << bits)])
    if photometric == 6:
        entries[530] = ("H", [1, 1])
    if rng.random() < 0.4:
        entries[274] = ("H", [rng.randrange(1, 9)])
    return ".tiff", tiff_file(order, is_big, entries, parts)


def packed(part, bits, order, packing, fill):
    if bits < 8 or bits == 12:
        rows = part.reshape(part.shape[0], -1)
        ones = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        data = np.packbits(ones.reshape(part.shape[0], -1).astype(np.uint8), axis=1).tobytes()
    else:
        data = part.astype(order + {8: "u1", 16: "u2", 64: "u8"}[bits]).tobytes()
    if packing == 8:
        data = zlib.compress(data)
    if packing == 32773:
        data = b"".join(bytes([len(data[i : i + 128]) - 1]) + data[i : i + 128] for i in range(0, len(data), 128))
    if fill == 2:
        data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
    return data


def tiff_file(order, is_big, entries, parts):
    large, head = ("Q", 16) if is_big else ("L", 8)
    size = 8 if is_big else 4
    out = bytearray(head)
    offsets = []
    for part in parts:
        offsets.append(len(out))
        out += part + b"\0" * (len(part) % 2)
    fields = []
    for tag, (code, values) in sorted(entries.items()):
        values = offsets if values is None else values
        data = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(data) > size:
            out += b"\0" * (len(out) % 2)
            place, data = len(out), data
            out += data
            data = struct.pack(order + large, place)
        fields.append(struct.pack(f"{order}HH{large}", tag, {"H": 3, "L": 4}[code], len(values)) + data.ljust(size, b"\0"))
    out += b"\0" * (len(out) % 2)
    directory = len(out)
    out += struct.pack(order + ("Q" if is_big else "H"), len(fields)) + b"".join(fields) + b"\0" * size
    mark = b"II" if order == "<" else b"MM"
    start = struct.pack(order + "HHHQ", 43, 8, 0, directory) if is_big else struct.pack(order + "HL", 42, directory)
    out[: len(mark + start)] = mark + start
    return bytes(out)


def pnm():
    kind = rng.randrange(1, 7)
    width, height = rng.randrange(1, largest), rng.randrange(1, largest)
    top = 1 if kind in (1, 4) else rng.choice([255, 255, 15, 100, 1023, 4095, 65535])
    noise = np.random.Generator(np.random.PCG64(rng.getrandbits(32)))
    levels = noise.integers(0, top + 1, (height, width * (3 if kind in (3, 6) else 1)))
    head = f"P{kind}\n# a comment\n{width} {height}\n" + ("" if kind in (1, 4) else f"{top}\n")
    if kind < 4:
        body = "\n".join(" ".join(map(str, row)) for row in levels).encode() + b"\n"
    elif kind == 4:
        body = np.packbits(levels.astype(np.uint8), axis=1).tobytes()
    else:
        body = levels.astype(">u2" if top > 255 else "u1").tobytes()
    return {1: ".pbm", 4: ".pbm", 2: ".pgm", 5: ".pgm"}.get(kind, ".ppm"), head.encode() + body


def tga():
    options = {"compression": "tga_rle"} if rng.random() < 0.5 else {}
    return ".tga", saved(picture(rng.choice(["L", "P", "RGB", "RGBA", "LA"])), "TGA", orientation=rng.choice([-1, 1]), **options)


def ico():
    image = picture(rng.choice(["RGBA", "RGB", "P"])).resize((64, 64) if largest > 20 else (16, 16))
    return ".ico", saved(image, "ICO", bitmap_format=rng.choice(["bmp", "png"]), sizes=[(16, 16), (rng.choice([24, 48, 64]),) * 2])


def not_read():
    ending = rng.choice([".avif", ".jp2", ".heic", ".jxl", ".pcx", ".dds", ".svg", ".psd", ".webm"])
    if ending in (".avif", ".jp2", ".pcx", ".dds"):
        data = saved(picture(), {".avif": "AVIF", ".jp2": "JPEG2000", ".pcx": "PCX", ".dds": "DDS"}[ending])
        return rng.choice([ending, ".jpg"]), data
    starts = {".heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ".jxl": b"\xff\x0a", ".svg": b"<svg/>", ".psd": b"8BPS\0\x01", ".webm": b"\x1aE\xdf\xa3"}
    return ending, starts[ending] + bytes(100)


KINDS = [("JPEG", jpeg)] * 5 + [("MPO", mpo)] + [("PNG", png)] * 6 + [("animated PNG", animated_png)] + [("WebP", webp)] * 4 + [("GIF", gif)] * 3
KINDS += [("BMP", bmp)] * 2 + [("TIFF", tiff_by_pillow)] * 4 + [("TIFF", tiff_by_hand)] * 6 + [("PNM", pnm)] * 2 + [("TGA", tga)] + [("ICO", ico)] + [("other", not_read)] * 2

if __name__ == "__main__":
    main()
