//! What shape a model has: the original's `config.yaml` and BERT json, checked against the checkpoint's own tensors.
//!
//! Names follow the field's words; the original's spellings (`stride_layer`, `image_res`, …) appear only here.

/// What a model was fine-tuned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// A picture in, a sentence out.
    ImageCaptioning,
    /// A picture and a question in, an answer out.
    VisualQuestionAnswering,
    /// A picture and a text in, the probability that they match out.
    ImageTextRetrieval,
}

/// The shape of the visual encoder (OpenAI's CLIP ViT).
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Side of the square input picture, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels; divides `image_size`.
    pub patch_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of residual blocks.
    pub num_hidden_layers: usize,
    /// Heads of 64 channels each (SPEC: `hidden_size / 64`).
    pub num_attention_heads: usize,
    /// Width of the feed-forward's inner layer.
    pub intermediate_size: usize,
}

impl VisionConfig {
    /// Patches of a picture: `(image_size / patch_size)²`.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Tokens of a picture: its patches and the class token.
    pub fn image_len(&self) -> usize {
        self.num_patches() + 1
    }
}

/// The shape of the BERT-like stacks (text encoder, fusion encoder, decoder), which all share one width.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward's inner layer.
    pub intermediate_size: usize,
    /// Number of tokens in the vocabulary.
    pub vocab_size: usize,
    /// Longest sequence that the position embeddings cover.
    pub max_position_embeddings: usize,
    /// Rows of the token type table (2 in BERT; only row 0 is used).
    pub type_vocab_size: usize,
    /// Epsilon of the layer norms (1e-12 in BERT).
    pub layer_norm_eps: f32,
    /// Layers of the text encoder.
    pub text_encoder_layers: usize,
    /// Index of the first fusion layer that runs; those before it are stored but never run.
    pub first_fusion_layer: usize,
    /// Fusion layers that run.
    pub fusion_layers: usize,
    /// Every so many fusion layers one attends over image and text together (the original's `stride_layer`).
    pub connected_stride: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
}

/// The generation settings that a model folder carries.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationDefaults {
    /// Beam width.
    pub num_beams: usize,
    /// Tokens before the end token may appear.
    pub min_new_tokens: usize,
    /// Most tokens generated, the end token included.
    pub max_new_tokens: usize,
}

/// Everything about a model that is not weights. Checked at construction: it cannot be inconsistent.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// What the model does.
    pub task: Task,
    /// The visual encoder.
    pub vision: VisionConfig,
    /// The text side.
    pub text: TextConfig,
    /// Whether a projection with a layer norm maps the visual width to the text width (large models).
    pub has_visual_projection: bool,
    /// Width of the shared embedding space of retrieval models (256); 0 for the other tasks.
    pub projection_size: usize,
    /// Beam width and lengths.
    pub generation: GenerationDefaults,
    /// Length to which questions are padded and cut (25).
    pub max_text_len: usize,
}
