//! A network's weights read from both towers, under the network's names.

use mplug::checkpoint::{CheckpointError, Weights};
use mplug_nn::{Initial, NnError, ParameterSource, RandomParameters};

use super::clip_names::ClipNames;

/// The prefix of the visual encoder's tensors.
pub(super) const VISUAL: &str = "visual_encoder.visual.";

/// The weights of a network from both towers.
pub struct TowerWeights<'a> {
    pub(super) names: ClipNames,
    pub(super) clip: Weights<'a>,
    pub(super) bert: Weights<'a>,
    pub(super) random: RandomParameters,
}

impl TowerWeights<'_> {
    /// A tensor of the visual encoder; transformers keeps query, key and value apart.
    fn visual(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let packed = name.strip_suffix("attn.in_proj_weight").map(|block| (block, "weight"));
        let packed = packed.or_else(|| name.strip_suffix("attn.in_proj_bias").map(|block| (block, "bias")));
        match (packed, self.names) {
            (Some((block, kind)), ClipNames::Transformers) => {
                let mut part = shape.to_vec();
                part[0] /= 3;
                let mut joined = Vec::new();
                for projection in ["q_proj", "k_proj", "v_proj"] {
                    let name = format!("{block}self_attn.{projection}.{kind}");
                    joined.extend(self.clip.tensor(&self.names.name(&name), &part)?);
                }
                Ok(joined)
            }
            _ => self.clip.tensor(&self.names.name(name), shape),
        }
    }

    /// The name of a tensor in BERT, if it has one like it. Old files call the parts of norms `gamma` and `beta`.
    fn bert_name(&self, name: &str) -> Option<String> {
        let (_, rest) = name.split_once('.')?;
        let rest = rest.strip_prefix("bert.").unwrap_or(rest);
        let old =
            rest.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        [rest.to_owned(), old].into_iter().find(|name| self.bert.has(name))
    }

    /// Whether the towers must have the tensor.
    fn must_be_there(name: &str) -> bool {
        let text = ["text_encoder.", "fusion_encoder.encoder.", "text_decoder.bert."];
        text.iter().any(|module| name.starts_with(module)) && !name.contains(".crossattention.")
    }
}

impl ParameterSource for TowerWeights<'_> {
    fn read(&mut self, name: &str, shape: &[usize], initial: Initial) -> Result<Vec<f32>, NnError> {
        let error =
            |source: CheckpointError| NnError::Source { name: name.to_owned(), source: Box::new(source) };
        if let Some(visual) = name.strip_prefix(VISUAL) {
            return self.visual(visual, shape).map_err(error);
        }
        match self.bert_name(name) {
            Some(name) => self.bert.tensor(&name, shape).map_err(error),
            // BERT's own words say what is missing.
            None if Self::must_be_there(name) => self.bert.tensor(name, shape).map_err(error),
            None => self.random.read(name, shape, initial),
        }
    }

    fn position_embedding(
        &mut self,
        name: &str,
        grid: usize,
        width: usize,
        _: Initial,
    ) -> Result<Vec<f32>, NnError> {
        let stored = self.names.positional_embedding();
        self.clip
            .position_embedding(stored, grid, width)
            .map_err(|source| NnError::Source { name: name.to_owned(), source: Box::new(source) })
    }

    fn has(&self, _: &str) -> bool {
        false
    }
}
