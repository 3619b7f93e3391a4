//! The names of the original's tensors, as parts that are put together with dots: each written once, for the engine, the trainable
//! model, and the lists of what a checkpoint holds. Plain names, see [`plain_name`](super::key_names::plain_name).

/// The visual encoder (CLIP's ViT). Its names are in [`visual`].
pub const VISUAL_ENCODER: &str = "visual_encoder.visual";
/// The projection of a large visual encoder to the width of texts.
pub const VISUAL_PROJECTION: &str = "visn_fc";
/// The layer norm after it.
pub const VISUAL_PROJECTION_NORM: &str = "visn_layer_norm";
/// The text encoder, with [`EMBEDDINGS`] and [`LAYERS`].
pub const TEXT_ENCODER: &str = "text_encoder";
/// The layers of the fusion encoder.
pub const FUSION_LAYERS: &str = "fusion_encoder.encoder.layer";
/// The fusion encoder's head for masked tokens, of pre-training.
pub const FUSION_HEAD: &str = "fusion_encoder.cls.predictions";
/// The text decoder, with [`EMBEDDINGS`] and [`LAYERS`].
pub const TEXT_DECODER: &str = "text_decoder.bert";
/// The text decoder's head. Its names are in [`language_head`].
pub const DECODER_HEAD: &str = "text_decoder.cls.predictions";
/// The head that predicts whether picture and text match.
pub const MATCHING_HEAD: &str = "itm_head";
/// The projection of a picture's embedding for retrieval.
pub const IMAGE_FEATURES: &str = "vision_proj";
/// The projection of a text's embedding for retrieval.
pub const TEXT_FEATURES: &str = "text_proj";
/// The temperature of the contrast between them.
pub const TEMPERATURE: &str = "temp";

/// The embeddings of a BERT. Their names are in [`embeddings`].
pub const EMBEDDINGS: &str = "embeddings";
/// The layers of a BERT. Their names are in [`layer`].
pub const LAYERS: &str = "encoder.layer";

/// A weight, in whatever has one and a bias.
pub const WEIGHT: &str = "weight";
/// A bias, in whatever has one and a weight.
pub const BIAS: &str = "bias";

/// The name of `inner` in `outer`.
pub fn below(outer: &str, inner: &str) -> String {
    format!("{outer}.{inner}")
}

/// Below the visual encoder.
pub mod visual {
    /// The embedding in front of the patches'.
    pub const CLASS_EMBEDDING: &str = "class_embedding";
    /// The table of positions.
    pub const POSITIONAL_EMBEDDING: &str = "positional_embedding";
    /// The patches' convolution.
    pub const PATCHES: &str = "conv1.weight";
    /// The layer norm before the blocks.
    pub const FIRST_NORM: &str = "ln_pre";
    /// The layer norm after them.
    pub const LAST_NORM: &str = "ln_post";
    /// The blocks, by number. Their names are in [`super::block`].
    pub const BLOCKS: &str = "transformer.resblocks";
}

/// Below a block of the visual encoder.
pub mod block {
    /// The layer norm before attention.
    pub const ATTENTION_NORM: &str = "ln_1";
    /// Queries, keys and values in one matrix.
    pub const QUERY_KEY_VALUE_WEIGHT: &str = "attn.in_proj_weight";
    /// Its bias.
    pub const QUERY_KEY_VALUE_BIAS: &str = "attn.in_proj_bias";
    /// What follows attention.
    pub const ATTENTION_OUTPUT: &str = "attn.out_proj";
    /// The layer norm before the feed-forward part.
    pub const FEED_FORWARD_NORM: &str = "ln_2";
    /// The feed-forward part's first matrix.
    pub const INTERMEDIATE: &str = "mlp.c_fc";
    /// Its second matrix.
    pub const OUTPUT: &str = "mlp.c_proj";
}

/// Below the embeddings of a BERT.
pub mod embeddings {
    /// The table of tokens.
    pub const WORDS: &str = "word_embeddings.weight";
    /// The table of positions.
    pub const POSITIONS: &str = "position_embeddings.weight";
    /// The table of segments.
    pub const TOKEN_TYPES: &str = "token_type_embeddings.weight";
    /// The layer norm of their sum.
    pub const NORM: &str = "LayerNorm";
}

/// Below a layer of a BERT.
pub mod layer {
    /// Self-attention. Its names are in [`super::attention`].
    pub const SELF_ATTENTION: &str = "attention";
    /// Cross-attention, with the same names.
    pub const CROSS_ATTENTION: &str = "crossattention";
    /// The feed-forward part's first matrix.
    pub const INTERMEDIATE: &str = "intermediate.dense";
    /// Its second matrix.
    pub const OUTPUT: &str = "output.dense";
    /// The layer norm after it.
    pub const NORM: &str = "output.LayerNorm";
}

/// Below an attention of a BERT.
pub mod attention {
    /// Queries.
    pub const QUERY: &str = "self.query";
    /// Keys.
    pub const KEY: &str = "self.key";
    /// Values.
    pub const VALUE: &str = "self.value";
    /// What follows attention.
    pub const OUTPUT: &str = "output.dense";
    /// The layer norm after it.
    pub const NORM: &str = "output.LayerNorm";
}

/// Below a language model's head.
pub mod language_head {
    /// The matrix before the table of tokens.
    pub const TRANSFORM: &str = "transform.dense";
    /// The layer norm after it.
    pub const NORM: &str = "transform.LayerNorm";
    /// The table of tokens, tied to [`super::embeddings::WORDS`].
    pub const WORDS: &str = "decoder.weight";
    /// The bias of tokens, tied to [`super::BIAS`] of the head.
    pub const WORDS_BIAS: &str = "decoder.bias";
}
