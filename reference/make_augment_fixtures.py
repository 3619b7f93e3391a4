#!/usr/bin/env python3
"""Makes `fixtures/augment`: what numpy, OpenCV and Pillow make of small pictures, to hold `mplug_data::augment` to.

    pip install opencv-python-headless==4.8.1.78 "numpy<2" pillow==13.0.0
    python reference/make_augment_fixtures.py fixtures/augment

Our own code, written to compute what the research code's `RandomAugment` computes. OpenCV 4.5 to 4.13 give the same
bytes, 5.0 warps differently. Two of the operations overflow 8 bits; here the overflow is spelled out, so that the bytes
depend on no compiler. What is made:

- `NAME.png`, three drawn pictures, and `NAME_level7.png`, below each other what every operation makes of it: first all
  ten, those with a direction twice (positive, negated), then AutoContrast and Sharpness without overflow, by Pillow;
- `cases.json`: hashes (FNV-1a, 64 bits) of what the operations make of pictures that a formula gives, at all levels; of
  whole views (crop, resize, mirror, operations); and averages of a million random crops of some sizes.
"""
import json
import math
import pathlib
import random
import sys

import cv2
import numpy as np
import PIL
from PIL import Image, ImageEnhance, ImageOps

GRAY = (128, 128, 128)
PLAIN = ("Identity", "AutoContrast", "Equalize")
FACTORS = ("Brightness", "Sharpness")
DIRECTED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
# what a level of 10 is in an operation's unit
FULL = {"ShearX": 0.3, "ShearY": 0.3, "TranslateX": 10.0, "TranslateY": 10.0, "Rotate": 30}
LEVELS = range(11)
# kind, width, height, levels
FORMULAS = [
    ("noise", 1, 1, LEVELS),
    ("noise", 2, 2, LEVELS),
    ("noise", 3, 3, LEVELS),
    ("noise", 1, 40, LEVELS),
    ("noise", 41, 2, LEVELS),
    ("noise", 97, 70, LEVELS),
    ("pale", 131, 67, LEVELS),
    ("ramp", 80, 99, LEVELS),
    ("flat", 20, 30, [7]),
    ("noise", 384, 384, [7]),
    ("pale", 336, 336, [7]),
]


# --- the operations -------------------------------------------------------------------------------------------------


def per_channel(picture, look_up):
    return np.dstack([look_up(picture[:, :, channel])[picture[:, :, channel]] for channel in range(3)])


def stretched(channel):
    low, high = int(channel.min()), int(channel.max())
    values = np.arange(256)
    if high <= low:
        return values.astype(np.uint8)
    scale = 255 / (high - low)
    negated = (256 - low) % 256  # the original negates an unsigned byte
    return (values * scale + negated * scale).clip(0, 255).astype(np.uint8)


def levelled(channel):
    counts = np.bincount(channel.reshape(-1), minlength=256)
    step = (channel.size - counts[channel.max()]) // 255
    if step == 0:
        return np.arange(256, dtype=np.uint8)
    below = step // 2 + np.concatenate([[0], np.cumsum(counts)[:-1]])
    return (below // step).clip(0, 255).astype(np.uint8)


def brightened(picture, factor):
    table = np.arange(256, dtype=np.float32) * np.float32(factor)
    return table.clip(0, 255).astype(np.uint8)[picture]


def sharpened(picture, factor):
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / np.float32(13)
    smooth = cv2.filter2D(picture, -1, kernel).astype(np.float32)
    sharp = smooth + np.float32(factor) * (picture.astype(np.float32) - smooth)
    result = picture.copy()
    # the original casts straight to bytes: on x86-64 the fraction is cut and the low eight bits stay
    result[1:-1, 1:-1] = (sharp[1:-1, 1:-1].astype(np.int32) & 255).astype(np.uint8)
    return result


def warped(picture, matrix):
    height, width = picture.shape[:2]
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=GRAY)


def magnitude(name, level):
    if name in PLAIN:
        return 0.0
    return level / 10 * 1.8 + 0.1 if name in FACTORS else level / 10 * FULL[name]


def operate(picture, name, amount):
    height, width = picture.shape[:2]
    matrices = {
        "ShearX": ((1, amount, 0), (0, 1, 0)),
        "ShearY": ((1, 0, 0), (amount, 1, 0)),
        "TranslateX": ((1, 0, -amount), (0, 1, 0)),
        "TranslateY": ((1, 0, 0), (0, 1, -amount)),
    }
    if name in matrices:
        return warped(picture, np.array(matrices[name], np.float32))
    if name == "Rotate":
        return warped(picture, cv2.getRotationMatrix2D((width / 2, height / 2), amount, 1))
    if name in FACTORS:
        return (brightened if name == "Brightness" else sharpened)(picture, amount)
    if name == "Identity":
        return picture
    return per_channel(picture, stretched if name == "AutoContrast" else levelled)


def by_pillow(picture, name, amount):
    """The same operation by Pillow, which clamps."""
    image = Image.fromarray(picture)
    if name == "AutoContrast":
        return np.array(ImageOps.autocontrast(image))
    return np.array(ImageEnhance.Sharpness(image).enhance(amount))


# --- pictures -------------------------------------------------------------------------------------------------------


def drawn(kind, width, height):
    """Scenes whose results are stored as they are."""
    y, x = np.mgrid[0:height, 0:width]
    red, green, blue = (40 + 3 * y, 60 + 2 * x + y, 200 - 2 * y) if kind == "scene" else (5 * x, 255 - 5 * x, 6 * y)
    picture = np.dstack([red, green, blue]).clip(0, 255).astype(np.uint8)
    picture[(x - width * 0.6) ** 2 + (y - height * 0.4) ** 2 < (height * 0.25) ** 2] = (230, 220, 25)
    picture[height * 3 // 4 :, 2 : width // 3] = (20, 90, 40)
    if kind == "black_and_white":
        picture[:] = np.where((x * y // 24 + x // 5 + y // 7) % 2 == 0, 255, 0)[:, :, None]
        picture[height // 3 : height // 2, :, 1] = 128
    return picture


def formula(kind, width, height):
    """Pictures that the tests make by the same formula."""
    y, x, channel = np.mgrid[0:height, 0:width, 0:3].astype(np.uint32)
    if kind == "flat":
        return (channel * 100 + 3).astype(np.uint8)
    if kind == "ramp":
        return ((x * 5 + y * 3 + channel * 70) // 2 & 255).astype(np.uint8)
    bits = x * np.uint32(73856093) ^ y * np.uint32(19349663) ^ (channel + 1) * np.uint32(83492791)
    bits = (bits ^ bits >> 13) * np.uint32(0x5BD1E995)
    bits ^= bits >> 15
    value = bits >> 8 & 255
    if kind == "pale":
        return (60 + value % 131).astype(np.uint8)
    return np.where(bits >> 30 == 0, 0, np.where(bits >> 30 == 1, 255, value)).astype(np.uint8)


def fnv(picture):
    value = 0xCBF29CE484222325
    for byte in np.ascontiguousarray(picture).tobytes():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


# --- what is written ------------------------------------------------------------------------------------------------


def level7(picture):
    results = [operate(picture, name, magnitude(name, 7)) for name in PLAIN + FACTORS]
    for name in DIRECTED:
        results += [operate(picture, name, sign * magnitude(name, 7)) for sign in (1, -1)]
    results += [by_pillow(picture, name, magnitude(name, 7)) for name in ("AutoContrast", "Sharpness")]
    return np.vstack(results)


def hashes(picture, levels):
    """Operation, + or - (direction) or = (clamped), to a hash for each level."""
    found = {name: [fnv(operate(picture, name, 0))] for name in PLAIN}
    found["AutoContrast="] = [fnv(by_pillow(picture, "AutoContrast", 0))]
    for name in FACTORS:
        found[name] = [fnv(operate(picture, name, magnitude(name, level))) for level in levels]
    found["Sharpness="] = [fnv(by_pillow(picture, "Sharpness", magnitude("Sharpness", level))) for level in levels]
    for name in DIRECTED:
        for mark, sign in (("+", 1), ("-", -1)):
            found[name + mark] = [fnv(operate(picture, name, sign * magnitude(name, level))) for level in levels]
    return found


def views(count=24, seed=5):
    """Whole views: Pillow crops, resizes and mirrors, then the operations follow."""
    chance = random.Random(seed)
    for _ in range(count):
        kind = chance.choice(("noise", "pale", "ramp"))
        width, height, size = chance.randint(1, 200), chance.randint(1, 200), chance.choice((16, 64, 96))
        w, h = chance.randint(1, width), chance.randint(1, height)
        left, top = chance.randint(0, width - w), chance.randint(0, height - h)
        image = Image.fromarray(formula(kind, width, height)).crop((left, top, left + w, top + h))
        image = image.resize((size, size), Image.Resampling.BICUBIC)
        is_mirrored = chance.random() < 0.5
        picture = np.array(ImageOps.mirror(image) if is_mirrored else image)
        operations = []
        for name in chance.choices(PLAIN + FACTORS + DIRECTED, k=chance.randint(0, 3)):
            level, sign = chance.randint(0, 10), chance.choice((1, -1)) if name in DIRECTED else 1
            operations.append([name, level, sign])
            picture = operate(picture, name, sign * magnitude(name, level))
        yield {
            "kind": kind, "width": width, "height": height, "crop": [left, top, w, h], "size": size,
            "is_mirrored": is_mirrored, "operations": operations, "hash": fnv(picture),
        }  # fmt: skip


def random_crop(width, height, scale, chance):
    """torchvision's rule: ten tries, then the centre."""
    for _ in range(10):
        area = width * height * chance.uniform(*scale)
        ratio = math.exp(chance.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = chance.randint(0, height - h), chance.randint(0, width - w)
            return left, top, w, h
    w, h = min(width, round(height * 4 / 3)), min(height, round(width / (3 / 4)))
    return (width - w) // 2, (height - h) // 2, w, h


def crop_averages(width, height, scale, count=1_000_000, seed=3):
    """Means over random crops: left, top, width, height as shares of the picture, area's share, its square."""
    chance = random.Random(seed)
    sums = np.zeros(6)
    for _ in range(count):
        left, top, w, h = random_crop(width, height, scale, chance)
        share = w * h / width / height
        sums += (left / width, top / height, w / width, h / height, share, share * share)
    return {"width": width, "height": height, "scale": scale, "means": [round(mean, 5) for mean in sums / count]}


def main():
    target = pathlib.Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name, width, height in (("scene", 48, 40), ("full_range", 52, 37), ("black_and_white", 33, 35)):
        picture = drawn(name, width, height)
        Image.fromarray(picture).save(target / f"{name}.png", optimize=True)
        Image.fromarray(level7(picture)).save(target / f"{name}_level7.png", optimize=True)
    cases = {
        "made_with": {"opencv": cv2.__version__, "numpy": np.__version__, "pillow": PIL.__version__},
        "operations": [
            {"kind": kind, "width": w, "height": h, "levels": list(levels), "hashes": hashes(formula(kind, w, h), levels)}
            for kind, w, h, levels in FORMULAS
        ],
        "views": list(views()),
        "crops": [
            crop_averages(*case)
            for case in ((640, 480, (0.5, 1.0)), (300, 500, (0.2, 1.0)), (900, 300, (0.5, 1.0)), (64, 64, (0.2, 1.0)))
        ],
    }
    (target / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
