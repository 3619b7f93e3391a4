//! What a network takes, by its shape alone: numbers to learn, operations, memory, disk. Knows no machine. Counts of parameters
//! are exact; operations count the matrix products; activations are calibrated on measured runs.

use mplug::config::{ModelConfig, TextConfig, VisionConfig};
use mplug_nn::Parts;

use crate::config::{DeviceKind, ObjectiveSection, TrainConfig};
use crate::objective::Contrast;

/// Bytes of a number.
const F32: u64 = 4;
/// Values kept for the gradient of a visual block, in multiples of its hidden states.
const KEPT_OF_BLOCK: u64 = 18;
/// Values kept for the gradient of a layer of a text stack, in multiples of its hidden states.
const KEPT_OF_LAYER: u64 = 24;

/// What a run's network takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Numbers of the network.
    pub parameters: u64,
    /// Those of them that are trained, about.
    trained: u64,
    /// Numbers of a momentum model.
    momentum: u64,
    /// Numbers of a queue of features.
    queue: u64,
    /// Whether there is an average of the weights.
    has_average: bool,
    threads: u64,
    /// Examples that go through the network at once, on all threads.
    side_by_side: u64,
    /// Bytes kept for the gradient of one example.
    activations: u64,
    /// Bytes of the batches at hand.
    batches: u64,
    /// What an example costs.
    pub work: Work,
}

/// Floating-point operations of an example's way forward.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// In the visual encoder.
    pub vision: f64,
    /// In everything else.
    pub rest: f64,
}

impl Work {
    /// Of a pass forward and back through everything. A gradient costs twice as much as a value.
    pub fn training(self) -> f64 {
        3.0 * (self.vision + self.rest)
    }
}

impl Cost {
    /// Of a run of `config` with a network of this shape and texts of at most `max_len` tokens.
    pub fn of(shape: &ModelConfig, config: &TrainConfig, max_len: usize) -> Self {
        let (objective, run) = (&config.objective, &config.run);
        let parts = objective.parts();
        let (momentum_parts, queue_size) = match objective {
            ObjectiveSection::Captioning {} | ObjectiveSection::Cider(_) => (None, 0),
            ObjectiveSection::Answering(answering) => ((answering.distillation > 0.0).then_some(parts), 0),
            ObjectiveSection::Retrieval(section) => (Some(Contrast::momentum_parts()), section.queue_size),
            ObjectiveSection::Pretraining(section) => (Some(Contrast::momentum_parts()), section.queue_size),
        };
        let text_len = max_len.div_ceil(2);
        let on_cpu = run.device == DeviceKind::Cpu;
        let threads = run.threads as u64;
        let picture = 3 * (shape.vision.image_size as u64).pow(2) * F32;
        let parameters_in_all = parameters(shape, parts);
        let trained = trained(config, shape, parameters_in_all);
        Self {
            parameters: parameters_in_all,
            trained,
            momentum: momentum_parts.map_or(0, |parts| parameters(shape, parts)),
            queue: (2 * shape.projection_size as u64).saturating_mul(queue_size as u64),
            has_average: config.optimizer.average_decay > 0.0,
            threads,
            side_by_side: if on_cpu {
                threads.saturating_mul(run.micro_batch_size.min(run.batch_size) as u64)
            } else {
                0
            },
            activations: activations(shape, objective, text_len, run.gradient_checkpointing),
            // One is in use, and one waits at least.
            batches: picture.saturating_mul(2 * run.batch_size as u64),
            work: work(shape, objective, text_len),
        }
    }

    /// Bytes of weights, moments and gradients. Every thread has a sum of gradients, which is copied once a step.
    pub fn fixed_memory(&self) -> u64 {
        self.bytes(1 + u64::from(self.has_average), 2 + 2 * self.threads)
    }

    /// Bytes that come and go with the examples: activations and pictures.
    pub fn passing_memory(&self) -> u64 {
        self.side_by_side.saturating_mul(self.activations).saturating_add(self.batches)
    }

    /// Bytes of what a checkpoint has beside its model: moments, the weights where the model is their average, what an objective keeps.
    pub fn state(&self) -> u64 {
        self.bytes(0, 2 + u64::from(self.has_average))
    }

    /// Bytes of `whole` copies of the network's numbers, of `trained` copies of those that are trained, and of what an objective
    /// keeps.
    fn bytes(&self, whole: u64, trained: u64) -> u64 {
        let copies =
            whole.saturating_mul(self.parameters).saturating_add(trained.saturating_mul(self.trained));
        let kept = self.momentum.saturating_add(self.queue);
        copies.saturating_add(kept).saturating_mul(F32)
    }

    /// Bytes of a model folder.
    pub fn model(&self) -> u64 {
        F32 * self.parameters
    }
}

/// About how many of a network's numbers are trained: low-rank matrices are a few in a hundred of the weights beside which they are.
fn trained(config: &TrainConfig, shape: &ModelConfig, parameters: u64) -> u64 {
    const SHARE_OF_LOW_RANK: u64 = 50;

    let is_frozen = |part: &str| config.freeze.iter().any(|prefix| part == prefix.trim_end_matches('.'));
    if config.lora.is_some() {
        parameters / SHARE_OF_LOW_RANK
    } else if is_frozen("visual_encoder") {
        parameters - visual_parameters(&shape.vision)
    } else {
        parameters
    }
}

/// Numbers of a linear layer with its bias.
fn linear(input: usize, output: usize) -> u64 {
    (input * output + output) as u64
}

/// The learnable numbers of a network.
pub fn parameters(shape: &ModelConfig, parts: Parts) -> u64 {
    let text = &shape.text;
    let (width, inner, words) = (text.hidden_size, text.intermediate_size, text.vocab_size);
    let norm = 2 * width as u64;
    let attention = 4 * linear(width, width) + norm;
    let feed_forward = linear(width, inner) + linear(inner, width) + norm;
    let (alone, crossing) = (attention + feed_forward, 2 * attention + feed_forward);
    let tables = ((words + text.max_position_embeddings + text.type_vocab_size) * width) as u64 + norm;
    let head = linear(width, width) + norm + words as u64;
    let fusion: u64 = (0..text.fusion_layers)
        .map(|layer| if text.is_connected_layer(layer) { alone } else { crossing })
        .sum();
    let visual_width = shape.vision.hidden_size;
    let projection = if shape.has_visual_projection { linear(visual_width, width) + norm } else { 0 };
    [
        (true, visual_parameters(&shape.vision) + projection),
        (parts.text_encoder, tables + text.text_encoder_layers as u64 * alone),
        (parts.fusion_encoder, fusion),
        (parts.text_decoder, tables + text.decoder_layers as u64 * crossing + head),
        (parts.contrastive_head, 2 * linear(width, shape.projection_size) + 1),
        (parts.matching_head, linear(width, 2)),
        (parts.masked_language_head, head),
    ]
    .into_iter()
    .map(|(is_there, count)| if is_there { count } else { 0 })
    .sum()
}

fn visual_parameters(vision: &VisionConfig) -> u64 {
    let width = vision.hidden_size;
    let norm = 2 * width as u64;
    let block = linear(width, 3 * width)
        + linear(width, width)
        + linear(width, vision.intermediate_size)
        + linear(vision.intermediate_size, width)
        + 2 * norm;
    let patches = (3 * vision.patch_size * vision.patch_size * width) as u64;
    patches + ((1 + image_len(vision)) * width) as u64 + vision.num_hidden_layers as u64 * block + 2 * norm
}

/// Tokens of a picture.
fn image_len(vision: &VisionConfig) -> usize {
    (vision.image_size / vision.patch_size.max(1)).pow(2) + 1
}

/// How often an example's text, and its pair with a picture, go through the network in a step.
struct Passes {
    texts: u64,
    pairs: u64,
}

impl Passes {
    /// Matching reads a pair, and twice a pair that does not belong together; masked and prefix language modelling read a text
    /// and a pair of their own.
    fn of(objective: &ObjectiveSection) -> Self {
        match objective {
            ObjectiveSection::Captioning {} | ObjectiveSection::Cider(_) => Self { texts: 0, pairs: 0 },
            ObjectiveSection::Answering(_) => Self { texts: 1, pairs: 1 },
            ObjectiveSection::Retrieval(_) => Self { texts: 1, pairs: 3 },
            ObjectiveSection::Pretraining(_) => Self { texts: 3, pairs: 5 },
        }
    }
}

/// Operations of an example's way forward, with texts of `text_len` tokens.
pub fn work(shape: &ModelConfig, objective: &ObjectiveSection, text_len: usize) -> Work {
    let (parts, passes) = (objective.parts(), Passes::of(objective));
    let (vision, text) = (&shape.vision, &shape.text);
    let (tokens, width) = (image_len(vision) as f64, vision.hidden_size as f64);
    let inner = vision.intermediate_size as f64;
    let block = 2.0 * tokens * (4.0 * width * width + 2.0 * width * inner) + 4.0 * tokens * tokens * width;
    let patches = 2.0 * tokens * 3.0 * (vision.patch_size * vision.patch_size) as f64 * width;
    let stack = TextStack { text, text_len: text_len as f64, image_len: tokens };
    let decoded = text.decoder_layers as f64 * stack.crossing() + stack.words();
    let read = passes.texts as f64 * text.text_encoder_layers as f64 * stack.alone(text_len as f64);
    let fused: f64 = (0..text.fusion_layers)
        .map(|layer| {
            if text.is_connected_layer(layer) {
                stack.alone(text_len as f64 + tokens)
            } else {
                stack.crossing()
            }
        })
        .sum();
    let rest = [
        (parts.text_decoder, decoded),
        (parts.text_encoder, read),
        (parts.fusion_encoder, passes.pairs as f64 * fused),
    ];
    Work {
        vision: vision.num_hidden_layers as f64 * block + patches,
        rest: rest.into_iter().filter(|(is_there, _)| *is_there).map(|(_, operations)| operations).sum(),
    }
}

/// Layers over a text beside a picture.
struct TextStack<'a> {
    text: &'a TextConfig,
    text_len: f64,
    image_len: f64,
}

impl TextStack<'_> {
    /// A layer of self-attention over `len` tokens.
    fn alone(&self, len: f64) -> f64 {
        let (width, inner) = (self.text.hidden_size as f64, self.text.intermediate_size as f64);
        2.0 * len * (4.0 * width * width + 2.0 * width * inner) + 4.0 * len * len * width
    }

    /// A layer that attends to the picture too.
    fn crossing(&self) -> f64 {
        let width = self.text.hidden_size as f64;
        let projections = 4.0 * width * width * (self.text_len + self.image_len);
        self.alone(self.text_len) + projections + 4.0 * self.text_len * self.image_len * width
    }

    /// Scores of the next tokens.
    fn words(&self) -> f64 {
        let (width, words) = (self.text.hidden_size as f64, self.text.vocab_size as f64);
        2.0 * self.text_len * (width * width + width * words)
    }
}

/// Bytes that are kept for the gradient of one example.
fn activations(shape: &ModelConfig, objective: &ObjectiveSection, text_len: usize, recomputes: bool) -> u64 {
    let (parts, passes) = (objective.parts(), Passes::of(objective));
    let (vision, text) = (&shape.vision, &shape.text);
    let tokens = image_len(vision) as u64;
    let hidden = tokens * vision.hidden_size as u64;
    let scores = tokens * tokens * vision.num_attention_heads as u64;
    let block = KEPT_OF_BLOCK * hidden + scores;
    let layers = vision.num_hidden_layers as u64;
    let seen = if recomputes { layers * hidden + block } else { layers * block };
    let (width, len) = (text.hidden_size as u64, text_len as u64);
    let alone = KEPT_OF_LAYER * len * width;
    // Keys and values of the picture.
    let crossing = alone + 2 * tokens * width + len * tokens * text.num_attention_heads as u64;
    let words = 3 * len * text.vocab_size as u64;
    let connected =
        KEPT_OF_LAYER * (len + tokens) * width + (len + tokens).pow(2) * text.num_attention_heads as u64;
    let fused: u64 = (0..text.fusion_layers)
        .map(|layer| if text.is_connected_layer(layer) { connected } else { crossing })
        .sum();
    let rest = [
        (parts.text_decoder, text.decoder_layers as u64 * crossing + words),
        (parts.text_encoder, passes.texts * text.text_encoder_layers as u64 * alone),
        (parts.fusion_encoder, passes.pairs * fused),
        (parts.masked_language_head, words),
    ];
    let rest: u64 = rest.into_iter().filter(|(is_there, _)| *is_there).map(|(_, values)| values).sum();
    F32 * (seen + rest)
}
