//! The whole model: it owns the four stages that a task needs and joins them as the paper's figure does.
//!
//! ```text
//! picture --visual_encoder--> image_embeds ─┐
//!                                           ├─ fusion_encoder ─> fused image + text
//! text    --text_encoder----> text_embeds ──┘
//!
//! captioning: decoder over image_embeds      answering: decoder over fused image + text      matching: head on fused text[0]
//! contrast: contrastive head on image_embeds[0] and on text_embeds[0], each alone
//! ```

use crate::checkpoint::{CheckpointError, Weights, names};
use crate::config::{ModelConfig, Task};
use crate::contrastive_head::ContrastiveHead;
use crate::encoded_picture::EncodedPicture;
use crate::engine::Linear;
use crate::fusion_encoder::{Fused, FusionEncoder};
use crate::text_decoder::TextDecoder;
use crate::text_encoder::TextEncoder;
use crate::visual_encoder::VisualEncoder;

/// Text encoder and fusion encoder: what answering and matching need besides the picture.
pub struct Multimodal {
    /// The text's own encoder.
    pub text_encoder: TextEncoder,
    /// Where picture and text meet.
    pub fusion_encoder: FusionEncoder,
}

impl Multimodal {
    /// Reads both encoders from the root cursor.
    ///
    /// # Errors
    /// When a tensor is missing or of another shape.
    pub fn load(root: &Weights, config: &ModelConfig) -> Result<Self, CheckpointError> {
        Ok(Self {
            text_encoder: TextEncoder::load(root, config)?,
            fusion_encoder: FusionEncoder::load(root, config)?,
        })
    }

    /// A picture that [`FusionEncoder::attend_to`] prepared and the ids of a text, of which those from `valid_len` on are padding.
    pub fn fuse(&self, picture: &EncodedPicture, input_ids: &[u32], valid_len: usize) -> Fused {
        let text_embeds = self.text_encoder.forward(input_ids, valid_len);
        self.fusion_encoder.forward(picture, text_embeds, valid_len)
    }
}

/// What comes after the encoders, by task.
pub enum Head {
    /// A decoder over the picture.
    Captioning(TextDecoder),
    /// A decoder over picture and question.
    Answering(Multimodal, TextDecoder),
    /// What scores how well picture and text fit.
    Matching(Multimodal, RetrievalHeads),
}

/// The heads of a retrieval model.
pub struct RetrievalHeads {
    /// Two classes, `[no match, match]`, from the first fused text token.
    pub matching: Linear,
    /// Features of pictures and of texts; a model may lack them and still match.
    pub contrastive: Option<ContrastiveHead>,
}

impl RetrievalHeads {
    /// Reads the heads from the root cursor.
    ///
    /// # Errors
    /// When one is missing or of another shape.
    pub fn load(root: &Weights, config: &ModelConfig) -> Result<Self, CheckpointError> {
        let has_contrast = config.projection_size > 0;
        Ok(Self {
            matching: matching_head(&root.at(names::MATCHING_HEAD), config.text.hidden_size)?,
            contrastive: has_contrast.then(|| ContrastiveHead::load(root, config)).transpose()?,
        })
    }
}

/// A model in memory. Only what its task needs is loaded: captioning leaves half of a checkpoint on the disk.
pub struct Mplug {
    /// The pictures' encoder.
    pub visual_encoder: VisualEncoder,
    /// The rest.
    pub head: Head,
}

impl Mplug {
    /// Builds the model from the root cursor of a checkpoint.
    pub fn load(root: &Weights, config: &ModelConfig) -> Result<Self, CheckpointError> {
        let visual_encoder = VisualEncoder::load(root, config)?;
        let head = match config.task {
            Task::ImageCaptioning => Head::Captioning(TextDecoder::load(root, config)?),
            Task::VisualQuestionAnswering => {
                Head::Answering(Multimodal::load(root, config)?, TextDecoder::load(root, config)?)
            }
            Task::ImageTextRetrieval => {
                Head::Matching(Multimodal::load(root, config)?, RetrievalHeads::load(root, config)?)
            }
        };
        Ok(Self { visual_encoder, head })
    }
}

/// Two classes from the width of a token: too small to gain anything from fewer bits.
fn matching_head(weights: &Weights, width: usize) -> Result<Linear, CheckpointError> {
    let (weight, bias) = (weights.tensor(names::WEIGHT, &[2, width])?, weights.tensor(names::BIAS, &[2])?);
    Ok(Linear::exact(&weight, Some(bias), width, 2))
}
