//! A model in training as parts of the engine, which are much faster than the trainable form where no gradients are needed.
//! Parts are copied one after the other, so that besides the two forms of the model only one part is in memory twice more.

use std::sync::{Mutex, PoisonError};

use mplug::checkpoint::{
    Checkpoint, CheckpointError, Dtype, TensorEntry, TensorReader, Values, Weights, safetensors_bytes,
};
use mplug::config::ModelConfig;
use mplug::fusion_encoder::FusionEncoder;
use mplug::model::{Multimodal, RetrievalHeads};
use mplug::text_decoder::TextDecoder;
use mplug::text_encoder::TextEncoder;
use mplug::visual_encoder::VisualEncoder;
use mplug_nn::Mplug;

use crate::error::TrainError;

/// A model in training that is copied into the engine.
#[derive(Clone, Copy)]
pub struct EngineCopy<'a> {
    /// The model.
    pub model: &'a Mplug,
    /// Its shape.
    pub config: &'a ModelConfig,
}

impl EngineCopy<'_> {
    /// Its visual encoder, with the projection of a large one.
    ///
    /// # Errors
    /// When a weight is not finite; so do all others.
    pub fn visual_encoder(self) -> Result<VisualEncoder, TrainError> {
        self.part(&["visual_encoder.", "visn_"], VisualEncoder::load)
    }

    /// Its decoder.
    ///
    /// # Errors
    /// As [`visual_encoder`](Self::visual_encoder), and where it has none.
    pub fn decoder(self) -> Result<TextDecoder, TrainError> {
        self.part(&["text_decoder."], TextDecoder::load)
    }

    /// What reads a picture and a text together.
    ///
    /// # Errors
    /// As [`decoder`](Self::decoder).
    pub fn multimodal(self) -> Result<Multimodal, TrainError> {
        let text_encoder = self.part(&["text_encoder."], TextEncoder::load)?;
        Ok(Multimodal {
            text_encoder,
            fusion_encoder: self.part(&["fusion_encoder.encoder."], FusionEncoder::load)?,
        })
    }

    /// The heads of retrieval.
    ///
    /// # Errors
    /// As [`decoder`](Self::decoder).
    pub fn retrieval_heads(self) -> Result<RetrievalHeads, TrainError> {
        self.part(&["vision_proj.", "text_proj.", "itm_head."], RetrievalHeads::load)
    }

    /// The part whose tensors' names begin with one of `prefixes`.
    fn part<T>(
        self,
        prefixes: &[&str],
        load: impl FnOnce(&Weights, &ModelConfig) -> Result<T, CheckpointError>,
    ) -> Result<T, TrainError> {
        let tensors = self.model.export_those(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        let bytes = safetensors_bytes(&Drained::new(tensors), Dtype::F32)?;
        let checkpoint = Checkpoint::from_bytes(bytes)?;
        Ok(load(&Weights::new(&checkpoint), self.config)?)
    }
}

/// Tensors that go as they are read, each once.
struct Drained {
    entries: Vec<TensorEntry>,
    values: Mutex<Vec<Vec<f32>>>,
}

impl Drained {
    fn new(tensors: Vec<(String, Vec<usize>, Vec<f32>)>) -> Self {
        let (mut entries, mut all) = (Vec::new(), Vec::new());
        for (name, shape, values) in tensors {
            entries.push(TensorEntry { name, shape, fixed_dtype: None, same_as: None });
            all.push(values);
        }
        Self { entries, values: Mutex::new(all) }
    }
}

impl TensorReader for Drained {
    fn entries(&self) -> Vec<TensorEntry> {
        self.entries.clone()
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Values::F32(std::mem::take(&mut values[index])))
    }
}
