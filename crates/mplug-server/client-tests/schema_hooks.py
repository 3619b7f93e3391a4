"""Puts real pictures where schemathesis invents texts, so that requests get past the decoder."""

import base64
import random

import schemathesis

from support import png

PICTURES = [base64.b64encode(png(seed)).decode() for seed in range(8)]


MODELS = [None, None, "mplug", "demo-caption", "demo-ask", "demo-match"]


def picture(chance):
    return chance.choice(PICTURES)


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    # The same for the same body: schemathesis repeats itself.
    chance = random.Random(repr(body))
    if isinstance(body.get("model"), str) and chance.random() < 0.8:
        body["model"] = chance.choice(MODELS)
    if isinstance(body.get("image"), str) and chance.random() < 0.9:
        body["image"] = picture(chance)
    if isinstance(body.get("images"), list):
        body["images"] = [picture(chance) if isinstance(entry, str) and chance.random() < 0.9 else entry for entry in body["images"]]
    if isinstance(body.get("messages"), list) and chance.random() < 0.5:
        body["messages"].append({"role": "user", "content": [{"type": "image_url", "image_url": ""}]})
    for message in body.get("messages") or [] if isinstance(body.get("messages"), list) else []:
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict) and "image_url" in part:
                part["image_url"] = {"url": "data:image/png;base64," + picture(chance)}
                message["role"] = "user"
    return body
