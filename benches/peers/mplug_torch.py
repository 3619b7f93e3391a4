"""mPLUG captioning in PyTorch, written the way a careful PyTorch user would write it for speed on a CPU.

What the original does at every step for the whole prefix is done once here: keys and values are cached, a picture's
cross-attention keys and values are computed once and shared by its beams (never repeated in memory), attention is
`F.scaled_dot_product_attention`, and only the last position goes through the vocabulary. The numbers are the
original's up to rounding, and so are the tokens at f32.

Shapes: b pictures, k beams, h heads, d head width, n image tokens, t text tokens.
"""

import json
import pathlib

import torch
import torch.nn.functional as F
import yaml
from torch import nn

START, END = 101, 102
VISION_HEAD_WIDTH = 64


class Settings:
    """The numbers of a model folder that shapes alone do not tell."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        config = yaml.safe_load((folder / "config.yaml").read_text())
        bert = json.loads((folder / config["bert_config"]).read_text())
        self.image_size = config["image_res"]
        self.patch_size = 14 if "14" in config["clip_name"] else 16
        self.vision_width = config["vision_width"]
        self.vision_layers = config["clip_vision_layers"]
        self.hidden_size = bert["hidden_size"]
        self.intermediate_size = bert["intermediate_size"]
        self.decoder_layers = bert["text_decode_layers"]
        self.heads = bert["num_attention_heads"]
        self.vocab_size = bert["vocab_size"]
        self.positions = bert["max_position_embeddings"]
        self.norm_eps = bert["layer_norm_eps"]


def split_heads(states, heads):
    """(b, t, h * d) to (b, h, t, d), without a copy."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(states):
    """(b, h, t, d) to (b, t, h * d)."""
    return states.transpose(1, 2).flatten(2)


class VisionBlock(nn.Module):
    """One pre-norm layer of CLIP's vision transformer."""

    def __init__(self, width):
        super().__init__()
        self.heads = width // VISION_HEAD_WIDTH
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.in_proj, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, states):
        query, key, value = (split_heads(part, self.heads) for part in self.in_proj(self.ln_1(states)).chunk(3, -1))
        states = states + self.out_proj(merge_heads(F.scaled_dot_product_attention(query, key, value)))
        inner = self.c_fc(self.ln_2(states))
        return states + self.c_proj(inner * torch.sigmoid(1.702 * inner))


class VisualEncoder(nn.Module):
    """Pixels (b, 3, size, size) to image embeddings (b, n, hidden)."""

    def __init__(self, settings):
        super().__init__()
        width, patch = settings.vision_width, settings.patch_size
        tokens = (settings.image_size // patch) ** 2 + 1
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(tokens, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(VisionBlock(width) for _ in range(settings.vision_layers))
        self.projection = nn.Identity()
        if width != settings.hidden_size:
            norm = nn.LayerNorm(settings.hidden_size, eps=settings.norm_eps)
            self.projection = nn.Sequential(nn.Linear(width, settings.hidden_size), norm)

    def forward(self, pixels):
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(patches), 1, -1)
        states = self.ln_pre(torch.cat([first, patches], 1) + self.positional_embedding)
        for block in self.blocks:
            states = block(states)
        return self.projection(self.ln_post(states))


class DecoderLayer(nn.Module):
    """One post-norm BERT layer: causal self-attention over a cache, cross-attention over shared keys and values."""

    def __init__(self, settings):
        super().__init__()
        width, inner, eps = settings.hidden_size, settings.intermediate_size, settings.norm_eps
        self.heads = settings.heads
        self.self_qkv, self.self_output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.cross_query, self.cross_key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.cross_output = nn.Linear(width, width)
        self.intermediate, self.output = nn.Linear(width, inner), nn.Linear(inner, width)
        self.self_norm, self.cross_norm, self.norm = (nn.LayerNorm(width, eps=eps) for _ in range(3))

    def image_keys_values(self, image_embeds):
        """(b, n, hidden) to keys and values (b, h, n, d), contiguous: they are read at every step."""
        return [split_heads(part, self.heads).contiguous() for part in self.cross_key_value(image_embeds).chunk(2, -1)]

    def forward(self, states, cache, position, image):
        """states (b * k, 1, hidden); cache = keys and values (b * k, h, positions, d); image = (b, h, n, d) twice."""
        query, key, value = (split_heads(part, self.heads) for part in self.self_qkv(states).chunk(3, -1))
        keys, values = cache
        keys[:, :, position], values[:, :, position] = key[:, :, 0], value[:, :, 0]
        seen = slice(0, position + 1)
        attended = F.scaled_dot_product_attention(query, keys[:, :, seen], values[:, :, seen])
        states = self.self_norm(states + self.self_output(merge_heads(attended)))
        states = self.cross_norm(states + self.cross_output(self.cross_attention(states, *image)))
        return self.norm(states + self.output(F.gelu(self.intermediate(states))))

    def cross_attention(self, states, keys, values):
        """A picture's beams stand as k queries over its one set of keys: nothing is repeated."""
        query = split_heads(self.cross_query(states).view(len(keys), -1, states.shape[-1]), self.heads)  # (b, h, k, d)
        return merge_heads(F.scaled_dot_product_attention(query, keys, values)).view(states.shape)


class TextDecoder(nn.Module):
    """BERT with cross-attention and a vocabulary head tied to its word embedding, one position at a time."""

    def __init__(self, settings):
        super().__init__()
        width, eps = settings.hidden_size, settings.norm_eps
        self.heads = settings.heads
        self.word_embedding = nn.Embedding(settings.vocab_size, width)
        self.position_embedding = nn.Embedding(settings.positions, width)
        self.token_type_embedding = nn.Embedding(2, width)
        self.embedding_norm = nn.LayerNorm(width, eps=eps)
        self.layers = nn.ModuleList(DecoderLayer(settings) for _ in range(settings.decoder_layers))
        self.transform, self.transform_norm = nn.Linear(width, width), nn.LayerNorm(width, eps=eps)
        self.vocabulary = nn.Linear(width, settings.vocab_size)

    def image_keys_values(self, image_embeds):
        return [layer.image_keys_values(image_embeds) for layer in self.layers]

    def new_cache(self, rows, length):
        kind = self.word_embedding.weight.dtype
        shape = (rows, self.heads, length, self.word_embedding.embedding_dim // self.heads)
        return [[torch.zeros(shape, dtype=kind), torch.zeros(shape, dtype=kind)] for _ in self.layers]

    def forward(self, tokens, position, cache, image):
        """Tokens (b * k) at one position to logits (b * k, vocabulary); writes that position of the cache."""
        states = self.word_embedding(tokens) + self.token_type_embedding.weight[0]
        states = self.embedding_norm(states + self.position_embedding.weight[position])[:, None]
        for layer, layer_cache, layer_image in zip(self.layers, cache, image, strict=True):
            states = layer(states, layer_cache, position, layer_image)
        return self.vocabulary(self.transform_norm(F.gelu(self.transform(states[:, 0]))))


class Captioner(nn.Module):
    """The two modules that captioning runs."""

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        self.visual_encoder, self.text_decoder = VisualEncoder(settings), TextDecoder(settings)

    @torch.inference_mode()
    def caption(self, pixels, **search):
        """The best hypothesis of each picture, as token ids with the start token."""
        kind = self.text_decoder.word_embedding.weight.dtype
        image = self.text_decoder.image_keys_values(self.visual_encoder(pixels.to(kind)))
        return beam_search(self.text_decoder, image, **search)


def length_penalty(step):
    return ((5 + step + 1) / 6) ** 0.6


def beam_search(decoder, image, beams=5, min_length=8, max_length=25):
    """The original's search, its quirks included.

    A finished beam is noted and lives on past its end token; a picture ends when its best beam does, or at the last
    step; of everything noted, the best score wins, earlier ones first among equals.
    """
    pictures = len(image[0][0])
    cache = decoder.new_cache(pictures * beams, max_length)
    alive = torch.full((pictures * beams, 1), START)
    log_probs = torch.tensor([0.0] + [-torch.inf] * (beams - 1)).repeat(pictures, 1)
    remaining, found = list(range(pictures)), [[] for _ in range(pictures)]
    for step in range(max_length):
        logits = decoder(alive[:, -1], step, cache, image)
        scores, log_probs, rows, tokens = advance(logits.float(), log_probs, step, step < min_length)
        alive = torch.cat([alive[rows], tokens[:, None]], 1)
        finished = (tokens == END).view(-1, beams) | (step + 1 == max_length)
        ended = finished[:, 0]
        note_finished(found, remaining, alive.view(-1, beams, step + 2), scores, finished | ended[:, None])
        if ended.all():
            break
        if ended.any():
            keep = (~ended).nonzero().view(-1)
            remaining, log_probs = [remaining[index] for index in keep.tolist()], log_probs[keep]
            image = [[part[keep] for part in layer] for layer in image]
            chosen = (keep[:, None] * beams + torch.arange(beams)).view(-1)
            alive, rows = alive[chosen], rows[chosen]
        cache = [[reordered(part, rows, step + 1) for part in layer] for layer in cache]
    return [max(hypotheses, key=lambda hypothesis: hypothesis[0])[1] for hypotheses in found]


def reordered(part, rows, length):
    """The cache of the chosen rows, in place: only the positions written so far are moved."""
    part[: len(rows), :, :length] = part[rows, :, :length]
    return part[: len(rows)]


def advance(logits, log_probs, step, end_forbidden):
    """The best continuations of each picture's beams: their scores, log-probabilities, rows of origin and tokens."""
    pictures, beams = log_probs.shape
    candidates = torch.log_softmax(logits, -1)
    if end_forbidden:
        candidates[:, END] = -1e20
    candidates = (candidates + log_probs.view(-1, 1)) / length_penalty(step)
    scores, flat = candidates.view(pictures, -1).topk(beams, -1)
    vocabulary = logits.shape[-1]
    rows = flat // vocabulary + torch.arange(pictures)[:, None] * beams
    return scores, scores * length_penalty(step), rows.view(-1), (flat % vocabulary).view(-1)


def note_finished(found, remaining, sequences, scores, finished):
    """Adds every finished beam, in beam order, to its picture's hypotheses."""
    for row, beam in finished.nonzero().tolist():
        found[remaining[row]].append((scores[row, beam].item(), sequences[row, beam].tolist()))


def load_captioner(folder):
    """A captioner at f32 from a model folder with PyTorch's file, read through a memory map."""
    settings = Settings(folder)
    stored = torch.load(pathlib.Path(folder) / "pytorch_model.bin", map_location="cpu", mmap=True, weights_only=True)
    stored = stored.get("model", stored.get("module", stored))
    stored = {name.replace("model.", ""): tensor for name, tensor in stored.items()}
    with torch.device("meta"):
        model = Captioner(settings)
    state = {name: source(stored).clone() for name, source in tensor_sources(settings).items()}
    model.load_state_dict(state, strict=True, assign=True)
    model.text_decoder.word_embedding.weight = model.text_decoder.vocabulary.weight  # tied, as in the original
    return model.eval().requires_grad_(False)


def tensor_sources(settings):
    """Our parameter names, each with a function that takes it from the checkpoint's tensors."""
    sources = {}

    def take(ours, *theirs):
        for kind in ("weight", "bias"):
            keys = [f"{key}.{kind}" for key in theirs]
            sources[f"{ours}.{kind}"] = lambda stored, keys=keys: torch.cat([stored[key] for key in keys])

    def take_as_is(ours, theirs):
        sources[ours] = lambda stored: stored[theirs]

    visual_sources(settings, take, take_as_is)
    decoder_sources(settings, take, take_as_is)
    return sources


def visual_sources(settings, take, take_as_is):
    theirs = "visual_encoder.visual"
    for name in ("class_embedding", "positional_embedding", "conv1.weight"):
        take_as_is(f"visual_encoder.{name}", f"{theirs}.{name}")
    for name in ("ln_pre", "ln_post"):
        take(f"visual_encoder.{name}", f"{theirs}.{name}")
    for index in range(settings.vision_layers):
        block, source = f"visual_encoder.blocks.{index}", f"{theirs}.transformer.resblocks.{index}"
        for name in ("ln_1", "ln_2"):
            take(f"{block}.{name}", f"{source}.{name}")
        for kind in ("weight", "bias"):
            take_as_is(f"{block}.in_proj.{kind}", f"{source}.attn.in_proj_{kind}")
        take(f"{block}.out_proj", f"{source}.attn.out_proj")
        take(f"{block}.c_fc", f"{source}.mlp.c_fc")
        take(f"{block}.c_proj", f"{source}.mlp.c_proj")
    if settings.vision_width != settings.hidden_size:
        take("visual_encoder.projection.0", "visn_fc")
        take("visual_encoder.projection.1", "visn_layer_norm")


def decoder_sources(settings, take, take_as_is):
    embeddings, head = "text_decoder.bert.embeddings", "text_decoder.cls.predictions"
    take_as_is("text_decoder.word_embedding.weight", f"{head}.decoder.weight")
    for name in ("position", "token_type"):
        take_as_is(f"text_decoder.{name}_embedding.weight", f"{embeddings}.{name}_embeddings.weight")
    take("text_decoder.embedding_norm", f"{embeddings}.LayerNorm")
    for index in range(settings.decoder_layers):
        layer_sources(f"text_decoder.layers.{index}", f"text_decoder.bert.encoder.layer.{index}", take)
    take("text_decoder.transform", f"{head}.transform.dense")
    take("text_decoder.transform_norm", f"{head}.transform.LayerNorm")
    take("text_decoder.vocabulary", f"{head}.decoder")


def layer_sources(layer, source, take):
    """Query, key and value become one product for self-attention, key and value one for cross-attention."""
    attention, cross = f"{source}.attention", f"{source}.crossattention"
    take(f"{layer}.self_qkv", *(f"{attention}.self.{name}" for name in ("query", "key", "value")))
    take(f"{layer}.self_output", f"{attention}.output.dense")
    take(f"{layer}.self_norm", f"{attention}.output.LayerNorm")
    take(f"{layer}.cross_query", f"{cross}.self.query")
    take(f"{layer}.cross_key_value", *(f"{cross}.self.{name}" for name in ("key", "value")))
    take(f"{layer}.cross_output", f"{cross}.output.dense")
    take(f"{layer}.cross_norm", f"{cross}.output.LayerNorm")
    take(f"{layer}.intermediate", f"{source}.intermediate.dense")
    take(f"{layer}.output", f"{source}.output.dense")
    take(f"{layer}.norm", f"{source}.output.LayerNorm")
