//! The names of a CLIP file's tensors: its own or those of transformers.

use mplug::checkpoint::Checkpoint;

/// How a CLIP file calls its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClipNames {
    /// `visual.transformer.resblocks.0.…`
    OpenAi,
    /// `vision_model.encoder.layers.0.…`
    Transformers,
}

impl ClipNames {
    pub(super) fn of(file: &Checkpoint) -> Self {
        if file.has("vision_model.embeddings.class_embedding") { Self::Transformers } else { Self::OpenAi }
    }

    pub(super) fn conv1(self) -> &'static str {
        match self {
            Self::OpenAi => "visual.conv1.weight",
            Self::Transformers => "vision_model.embeddings.patch_embedding.weight",
        }
    }

    pub(super) fn positional_embedding(self) -> &'static str {
        match self {
            Self::OpenAi => "visual.positional_embedding",
            Self::Transformers => "vision_model.embeddings.position_embedding.weight",
        }
    }

    /// The tensor `rest` of the block `at`.
    pub(super) fn block(self, at: usize, rest: &str) -> String {
        self.name(&format!("transformer.resblocks.{at}.{rest}"))
    }

    /// The name of the tensor that the original calls `visual_encoder.visual.{name}`.
    pub(super) fn name(self, name: &str) -> String {
        if self == Self::OpenAi {
            return format!("visual.{name}");
        }
        let parts = [
            ("conv1.weight", "embeddings.patch_embedding.weight"),
            ("class_embedding", "embeddings.class_embedding"),
            ("positional_embedding", "embeddings.position_embedding.weight"),
            ("ln_pre.", "pre_layrnorm."),
            ("ln_post.", "post_layernorm."),
            ("transformer.resblocks.", "encoder.layers."),
            (".attn.out_proj.", ".self_attn.out_proj."),
            (".ln_1.", ".layer_norm1."),
            (".ln_2.", ".layer_norm2."),
            (".mlp.c_fc.", ".mlp.fc1."),
            (".mlp.c_proj.", ".mlp.fc2."),
        ];
        let renamed = parts.iter().fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs));
        format!("vision_model.{renamed}")
    }
}
