"""From a picture file to the array that every engine but the original takes; no framework is imported for it."""

import numpy as np
from PIL import Image, ImageOps

IMAGE_MEAN = np.float32((0.48145466, 0.4578275, 0.40821073))
IMAGE_STD = np.float32((0.26862954, 0.26130258, 0.27577711))


def decoded(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def read_picture(path, size):
    """(1, 3, size, size): upright, stretched to a square by Pillow's bicubic filter, normalised as CLIP's are."""
    picture = decoded(path).resize((size, size), Image.BICUBIC)
    values = (np.asarray(picture, np.float32) / 255 - IMAGE_MEAN) / IMAGE_STD
    return np.ascontiguousarray(values.transpose(2, 0, 1))[None]
