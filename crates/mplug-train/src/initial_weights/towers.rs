//! A network from a CLIP visual encoder and a BERT: what pre-training starts from. The text encoder is BERT's first half, the
//! fusion encoder its second, the decoder all of it (Li et al., arXiv 2205.12005, section 4.1); what neither has
//! (cross-attention, heads, a projection) is drawn.
//!
//! Both come as weight files in their usual names: CLIP's own state dict or transformers' `CLIPModel`, transformers'
//! `BertModel` or one with heads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mplug::checkpoint::{Checkpoint, CheckpointError, Weights};
use mplug::config::{GenerationDefaults, ModelConfig, Task, TextConfig, VisionConfig};
use mplug_nn::{Initial, NnError, ParameterSource, RandomParameters};

use crate::error::TrainError;

/// Names of a weight file in a folder.
const WEIGHT_FILES: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// Layers of a tower at most.
const MOST_LAYERS: usize = 1 << 10;

/// The prefix of the visual encoder's tensors.
const VISUAL: &str = "visual_encoder.visual.";

/// A CLIP and a BERT.
pub struct Towers {
    clip: Checkpoint,
    bert: Checkpoint,
    vocabulary: String,
}

impl Towers {
    /// Opens both: a weight file, or a folder with one; BERT's `vocab.txt` lies beside it.
    pub fn open(clip: &Path, bert: &Path) -> Result<Self, TrainError> {
        let open = |path: &Path| {
            let file = weight_file(path);
            Checkpoint::open(&file)
                .map_err(|error| TrainError::Start { path: path.to_owned(), source: Box::new(error) })
        };
        let folder = if bert.is_dir() { bert } else { bert.parent().unwrap_or(Path::new(".")) };
        let path = folder.join("vocab.txt");
        let vocabulary = std::fs::read_to_string(&path).map_err(TrainError::file(path))?;
        Ok(Self { clip: open(clip)?, bert: open(bert)?, vocabulary })
    }

    /// BERT's vocabulary, one token a line.
    pub fn vocabulary(&self) -> &str {
        &self.vocabulary
    }

    /// The network's shape, as the tensors have it; `image_size` in pixels if it is not to be CLIP's.
    pub fn config(&self, task: Task, image_size: Option<usize>) -> Result<ModelConfig, CheckpointError> {
        let vision = self.vision(image_size)?;
        let text = self.text(vision.hidden_size)?;
        Ok(ModelConfig {
            task,
            has_visual_projection: vision.hidden_size != text.hidden_size,
            vision,
            text,
            projection_size: 0,
            generation: GenerationDefaults {
                num_beams: 5,
                min_new_tokens: 1,
                max_new_tokens: 25,
                prompts: BTreeMap::new(),
            },
            max_text_len: 25,
        })
    }

    fn vision(&self, image_size: Option<usize>) -> Result<VisionConfig, CheckpointError> {
        let names = ClipNames::of(&self.clip);
        let [hidden_size, _, patch_size, _] = shape(&self.clip, names.conv1())?;
        let [positions, _] = shape(&self.clip, names.positional_embedding())?;
        let [intermediate_size, _] = shape(&self.clip, &names.block(0, "mlp.c_fc.weight"))?;
        let count = |at: usize| self.clip.has(&names.block(at, "mlp.c_fc.weight"));
        let grid = positions.saturating_sub(1).isqrt();
        Ok(VisionConfig {
            image_size: image_size.unwrap_or(grid * patch_size),
            patch_size,
            hidden_size,
            num_hidden_layers: (0..MOST_LAYERS).take_while(|at| count(*at)).count(),
            num_attention_heads: hidden_size / 64,
            intermediate_size,
        })
    }

    fn text(&self, vision_width: usize) -> Result<TextConfig, CheckpointError> {
        let bert = &self.bert;
        let [vocab_size, hidden_size] = shape(bert, "embeddings.word_embeddings.weight")?;
        let [max_position_embeddings, _] = shape(bert, "embeddings.position_embeddings.weight")?;
        let [type_vocab_size, _] = shape(bert, "embeddings.token_type_embeddings.weight")?;
        let [intermediate_size, _] = shape(bert, "encoder.layer.0.intermediate.dense.weight")?;
        let has = |layer: &usize| bert.has(&format!("encoder.layer.{layer}.intermediate.dense.weight"));
        let layers = (0..MOST_LAYERS).take_while(has).count();
        Ok(TextConfig {
            hidden_size,
            num_attention_heads: (hidden_size / 64).max(1),
            intermediate_size,
            vocab_size,
            max_position_embeddings,
            type_vocab_size,
            layer_norm_eps: 1e-12,
            text_encoder_layers: layers.div_ceil(2),
            first_fusion_layer: layers / 2,
            fusion_layers: layers - layers / 2,
            // The original's base models have 3, its large ones, whose visual width is another, 6.
            connected_stride: if vision_width == hidden_size { 3 } else { 6 },
            decoder_layers: layers,
        })
    }

    /// The weights, what neither has drawn from `seed`.
    pub fn weights(&self, seed: u64) -> TowerWeights<'_> {
        TowerWeights {
            names: ClipNames::of(&self.clip),
            clip: Weights::new(&self.clip),
            bert: Weights::new(&self.bert),
            random: RandomParameters { seed },
        }
    }
}

/// The file itself, or the weight file in a folder.
fn weight_file(path: &Path) -> PathBuf {
    let in_folder = WEIGHT_FILES.map(|name| path.join(name)).into_iter().find(|file| file.is_file());
    in_folder.unwrap_or_else(|| path.to_owned())
}

/// The shape of a tensor of `N` axes.
fn shape<const N: usize>(file: &Checkpoint, name: &str) -> Result<[usize; N], CheckpointError> {
    let (label, name) = (file.label().to_owned(), name.to_owned());
    let found = file.shape(&name);
    let Some(found) = found else { return Err(CheckpointError::MissingTensor { file: label, name }) };
    found.try_into().map_err(|_| CheckpointError::WrongShape {
        file: label,
        name,
        expected: vec![0; N],
        found: found.to_vec(),
    })
}

/// How a CLIP file calls its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClipNames {
    /// `visual.transformer.resblocks.0.…`
    OpenAi,
    /// `vision_model.encoder.layers.0.…`
    Transformers,
}

impl ClipNames {
    fn of(file: &Checkpoint) -> Self {
        if file.has("vision_model.embeddings.class_embedding") { Self::Transformers } else { Self::OpenAi }
    }

    fn conv1(self) -> &'static str {
        match self {
            Self::OpenAi => "visual.conv1.weight",
            Self::Transformers => "vision_model.embeddings.patch_embedding.weight",
        }
    }

    fn positional_embedding(self) -> &'static str {
        match self {
            Self::OpenAi => "visual.positional_embedding",
            Self::Transformers => "vision_model.embeddings.position_embedding.weight",
        }
    }

    /// The tensor `rest` of the block `at`.
    fn block(self, at: usize, rest: &str) -> String {
        self.name(&format!("transformer.resblocks.{at}.{rest}"))
    }

    /// The name of the tensor that the original calls `visual_encoder.visual.{name}`.
    fn name(self, name: &str) -> String {
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

/// The weights of a network from both towers.
pub struct TowerWeights<'a> {
    names: ClipNames,
    clip: Weights<'a>,
    bert: Weights<'a>,
    random: RandomParameters,
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use mplug::checkpoint::seeded::seeded_stored_tensors;
    use mplug::checkpoint::{Dtype, write_safetensors};
    use mplug_nn::{Mplug, Parts};

    use super::*;

    /// Writes drawn towers, taken from a drawn model; `transformers` says by which names.
    fn write_towers(folder: &Path, transformers: bool) -> ModelConfig {
        let tiny = ModelConfig::tiny(Task::VisualQuestionAnswering);
        let text = TextConfig { num_attention_heads: 1, decoder_layers: 4, ..tiny.text.clone() };
        let config = ModelConfig { text, ..tiny };
        let recipe = seeded_stored_tensors(&config, 5);
        let drawn = recipe.to_checkpoint(Dtype::F32).expect("drawn weights");
        let tensor = |name: &str, stored: String| {
            (stored, drawn.shape(name).expect("there").to_vec(), drawn.read_f32(name).expect("readable"))
        };
        let names = if transformers { ClipNames::Transformers } else { ClipNames::OpenAi };
        let (mut clip, mut bert) = (Vec::new(), Vec::new());
        for name in drawn.names() {
            if let Some(visual) = name.strip_prefix(VISUAL) {
                let Some((block, kind)) = visual.split_once("attn.in_proj_").filter(|_| transformers) else {
                    clip.push(tensor(name, names.name(visual)));
                    continue;
                };
                let (_, mut shape, values) = tensor(name, String::new());
                shape[0] /= 3;
                for (part, values) in ["q", "k", "v"].iter().zip(values.chunks_exact(values.len() / 3)) {
                    let stored = names.name(&format!("{block}self_attn.{part}_proj.{kind}"));
                    clip.push((stored, shape.clone(), values.to_vec()));
                }
            } else if let Some(rest) =
                name.strip_prefix("text_decoder.bert.").filter(|n| !n.contains("cross"))
            {
                let old = rest.replace("LayerNorm.weight", "LayerNorm.gamma");
                bert.push(tensor(name, format!("bert.{}", if transformers { old } else { rest.to_owned() })));
            }
        }
        write_safetensors(&folder.join("clip.safetensors"), clip.as_slice(), Dtype::F32).expect("written");
        std::fs::create_dir_all(folder.join("bert")).expect("made");
        write_safetensors(&folder.join("bert/model.safetensors"), bert.as_slice(), Dtype::F32)
            .expect("written");
        std::fs::write(folder.join("bert/vocab.txt"), "[PAD]\n[UNK]\n").expect("written");
        config
    }

    #[test]
    fn both_towers_become_one_network_by_either_names() {
        let device = Device::flex();
        let models = [false, true].map(|transformers| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let drawn = write_towers(folder.path(), transformers);
            let towers = Towers::open(&folder.path().join("clip.safetensors"), &folder.path().join("bert"));
            let towers = towers.expect("both are there");
            assert_eq!(towers.vocabulary(), "[PAD]\n[UNK]\n");
            let config = towers.config(Task::ImageTextRetrieval, None).expect("the shapes fit");
            assert_eq!(config.vision, drawn.vision);
            let layers =
                [config.text.text_encoder_layers, config.text.fusion_layers, config.text.decoder_layers];
            assert_eq!(layers, [2, 2, 4]);
            let config = ModelConfig { projection_size: 8, ..config };
            Mplug::new(&config, Parts::all(), &mut towers.weights(1), &device).expect("a network").export()
        });
        assert_eq!(models[0], models[1]);
        let values = |name: &str| {
            &models[0].iter().find(|(found, ..)| found == name).unwrap_or_else(|| panic!("{name}")).2
        };
        let second_half = "encoder.layer.3.output.dense.weight";
        assert_eq!(
            values(&format!("fusion_encoder.{second_half}")),
            values(&format!("text_decoder.bert.{second_half}"))
        );
        let words = "embeddings.word_embeddings.weight";
        assert_eq!(values(&format!("text_encoder.{words}")), values(&format!("text_decoder.bert.{words}")));
    }

    #[test]
    fn what_a_tower_lacks_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_towers(folder.path(), false);
        let clip = folder.path().join("clip.safetensors");
        let swapped =
            Towers::open(&folder.path().join("bert/model.safetensors"), &folder.path().join("bert"));
        let error = swapped.expect("readable").config(Task::ImageTextRetrieval, None).expect_err("no CLIP");
        assert!(error.to_string().contains("visual.conv1.weight"), "{error}");
        let missing = Towers::open(&clip, &folder.path().join("no"));
        assert!(missing.err().expect("no BERT").to_string().contains("vocab.txt"));
    }
}
