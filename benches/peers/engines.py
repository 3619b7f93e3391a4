"""The engines that run inside a Python worker: each loads once and then measures what it is asked for.

An engine has `measures`, the names of the measures it answers, each a method that gives seconds (or pictures a second
where the name says so). Libraries are imported inside the engines: a worker pays for, and is measured with, its own
alone.
"""

import statistics
import sys
import time
import types

from pictures import read_picture

SEARCH = {"beams": 5, "min_length": 8, "max_length": 25}
DECODE_POSITION = 10
BATCH = 8


def seconds(function, times=1):
    """The median duration of a call."""
    samples = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        samples.append(time.perf_counter() - start)
    return statistics.median(samples)


def without_start(token_ids):
    """Token ids as our program gives them: without the start token, with the end token where there is one."""
    return token_ids[1:]


class Original:
    """The pipeline of the `modelscope` package, as its model card uses it, on the folder of `original_folder`."""

    measures = ("end_to_end",)

    def __init__(self, options):
        self.picture, self.token_ids = options.picture, None
        start = time.perf_counter()
        leave_out_unrelated_models()
        import torch
        from modelscope.pipelines import pipeline

        torch.set_num_threads(options.threads)
        self.import_s = time.perf_counter() - start
        start = time.perf_counter()
        self.pipeline = pipeline("image-captioning", model=str(original_folder(options)), device="cpu")
        self.pipeline.model.model.register_forward_hook(self.note_token_ids)
        self.load_s = time.perf_counter() - start

    def note_token_ids(self, _module, _inputs, output):
        self.token_ids = without_start([int(token) for token in output[0][0][0]])

    def end_to_end(self):
        return seconds(lambda: self.pipeline(self.picture))


def leave_out_unrelated_models():
    """Lets the pipeline's module be imported without the libraries of other models that it also names.

    It imports the OFA model, and with it fairseq, librosa and torchaudio, and CLIP Interrogator, only to ask whether
    the model is one of theirs. Those names become empty classes here; everything of mPLUG is the package's own.
    """
    import modelscope.models.multi_modal as models
    import modelscope.preprocessors as preprocessors

    ofa = "modelscope.preprocessors.ofa"
    for name, content in {
        ofa: {"__path__": [], "__all__": []},
        f"{ofa}.utils": {"__path__": []},
        f"{ofa}.utils.collate": {"collate_fn": None},
        f"{ofa}.utils.constant": {"OFA_TASK_KEY_MAPPING": {}},
    }.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)
    for module, names in (
        (models, ("OfaForAllTasks", "CLIP_Interrogator")),
        (preprocessors, ("OfaPreprocessor", "ImageCaptioningClipInterrogatorPreprocessor")),
    ):
        for name in names:
            setattr(module, name, type(name, (), {}))


def original_folder(options):
    """The model folder again with this benchmark's search settings in it, as the pipeline reads them nowhere else.

    The text tower of CLIP, which captioning never runs but the original always builds, gets the size it has in CLIP
    ViT-B/16 where the configuration does not give one; the default is that of a large model.
    """
    import yaml

    folder = options.work / "original"
    folder.mkdir(exist_ok=True)
    for file in options.model.resolve().iterdir():
        link = folder / file.name
        if file.name != "config.yaml" and not link.is_symlink():
            link.symlink_to(file)
    config = {"clip_embed_dim": 512, "clip_transformer_width": 512, "clip_transformer_heads": 8}
    config |= yaml.safe_load((options.model / "config.yaml").read_text())
    config |= {"beam_size": SEARCH["beams"]} | {name: SEARCH[name] for name in ("min_length", "max_length")}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


class TorchCached:
    """`mplug_torch`, at f32, at bf16, or with every linear layer quantised dynamically to int8."""

    measures = ("encoder", "cross_key_values", "decode_step", "end_to_end", "pictures_per_s_batch_8")

    def __init__(self, options):
        start = time.perf_counter()
        import torch

        import mplug_torch

        torch.set_num_threads(options.threads)
        self.torch, self.picture, self.token_ids = torch, options.picture, None
        self.import_s = time.perf_counter() - start
        start = time.perf_counter()
        self.model = self.at_precision(mplug_torch.load_captioner(options.model), options.precision)
        self.vocabulary = (options.model / "vocab.txt").read_text().split("\n")
        self.load_s = time.perf_counter() - start
        self.number = torch.bfloat16 if options.precision == "bf16" else torch.float32
        self.size = self.model.settings.image_size

    def at_precision(self, model, precision):
        if precision == "int8":
            quantization = self.torch.ao.quantization
            layers = {self.torch.nn.Linear: quantization.per_channel_dynamic_qconfig}
            return quantization.quantize_dynamic(model, layers, self.torch.qint8)
        return model.to(self.torch.bfloat16) if precision == "bf16" else model

    def pixels(self):
        return self.torch.from_numpy(read_picture(self.picture, self.size)).to(self.number)

    def image_embeds(self):
        with self.torch.inference_mode():
            return self.model.visual_encoder(self.pixels())

    def encoder(self):
        pixels = self.pixels()
        with self.torch.inference_mode():
            self.model.visual_encoder(pixels)
            return seconds(lambda: self.model.visual_encoder(pixels))

    def cross_key_values(self):
        image_embeds = self.image_embeds()
        with self.torch.inference_mode():
            return seconds(lambda: self.model.text_decoder.image_keys_values(image_embeds), 3)

    def decode_step(self):
        """One step of one picture's beams, the vocabulary included, the search left out."""
        decoder, beams = self.model.text_decoder, SEARCH["beams"]
        with self.torch.inference_mode():
            image = decoder.image_keys_values(self.image_embeds())
            cache = decoder.new_cache(beams, SEARCH["max_length"])
            tokens = self.torch.arange(beams) + 200
            decoder(tokens, DECODE_POSITION, cache, image)
            return seconds(lambda: decoder(tokens, DECODE_POSITION, cache, image), 9)

    def end_to_end(self):
        """From the file's name to the caption's text."""
        return seconds(self.caption)

    def caption(self):
        self.token_ids = without_start(self.model.caption(self.pixels(), **SEARCH)[0])
        return " ".join(self.vocabulary[token] for token in self.token_ids if token > 103)

    def pictures_per_s_batch_8(self):
        """Pictures of one batch, from their files to their token ids, a second."""
        return BATCH / seconds(self.caption_batch)

    def caption_batch(self):
        return self.model.caption(self.torch.cat([self.pixels() for _ in range(BATCH)]), **SEARCH)


class OnnxRuntime:
    """The visual encoder alone, exported to ONNX, at f32 or quantised dynamically to int8."""

    measures = ("encoder",)

    def __init__(self, options):
        start = time.perf_counter()
        import onnxruntime

        self.import_s = time.perf_counter() - start
        start = time.perf_counter()
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads, session.inter_op_num_threads = options.threads, 1
        self.session = onnxruntime.InferenceSession(encoder_file(options), session, ["CPUExecutionProvider"])
        self.load_s = time.perf_counter() - start
        self.pixels = read_picture(options.picture, self.session.get_inputs()[0].shape[-1])

    def image_embeds(self):
        return self.session.run(None, {"pixels": self.pixels})[0]

    def encoder(self):
        self.image_embeds()
        return seconds(self.image_embeds)


class OpenVino:
    """The visual encoder alone, from the same ONNX file, at the precision it is asked for if the processor has it."""

    measures = ("encoder",)

    def __init__(self, options):
        start = time.perf_counter()
        import openvino

        self.import_s = time.perf_counter() - start
        start = time.perf_counter()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": options.threads,
            "INFERENCE_PRECISION_HINT": options.precision,
        }
        self.compiled = openvino.Core().compile_model(encoder_file(options), "CPU", settings)
        self.load_s = time.perf_counter() - start
        self.pixels = read_picture(options.picture, self.compiled.input(0).shape[-1])
        self.note = f"ran {self.product_precision()}"

    def product_precision(self):
        """The precisions in which the compiled matrix products and the convolution say they run."""
        products = {"FullyConnected", "MatMul", "Convolution"}
        found = set()
        for operator in self.compiled.get_runtime_model().get_ops():
            facts = operator.get_rt_info()
            if "layerType" in facts and str(facts["layerType"].value) in products:
                found.add(str(facts["runtimePrecision"].value))
        return " and ".join(sorted(found)) or "unknown"

    def image_embeds(self):
        return self.compiled([self.pixels])[0]

    def encoder(self):
        self.image_embeds()
        return seconds(self.image_embeds)


def encoder_file(options):
    """The exported encoder of a model folder, which `export_encoder` wrote."""
    return str(options.work / ("encoder_int8.onnx" if options.precision == "int8" else "encoder.onnx"))


def export_encoder(options):
    """Writes the visual encoder as ONNX at f32 and, from that, quantised dynamically to int8.

    Seven bits of weight range: ONNX Runtime's product of u8 and i8 saturates on processors without VNNI otherwise.
    """
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    import mplug_torch

    encoder = mplug_torch.load_captioner(options.model).visual_encoder
    size = mplug_torch.Settings(options.model).image_size
    whole, quantized = (options.work / name for name in ("encoder.onnx", "encoder_int8.onnx"))
    names = {"input_names": ["pixels"], "output_names": ["image_embeds"]}
    torch.onnx.export(encoder, (torch.zeros(1, 3, size, size),), whole, dynamo=True, external_data=False, **names)
    quantize_dynamic(whole, quantized, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True)


ENGINES = {"original": Original, "torch-cached": TorchCached, "onnxruntime": OnnxRuntime, "openvino": OpenVino}
