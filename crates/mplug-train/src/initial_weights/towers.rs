//! A network from a CLIP visual encoder and a BERT: what pre-training starts from. The text encoder is BERT's first half, the
//! fusion encoder its second, the decoder all of it (Li et al., arXiv 2205.12005, section 4.1); what neither has
//! (cross-attention, heads, a projection) is drawn.
//!
//! Both come as weight files in their usual names: CLIP's own state dict or transformers' `CLIPModel`, transformers'
//! `BertModel` or one with heads.

mod clip_names;
mod weights;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mplug::checkpoint::{Checkpoint, CheckpointError, TOKENIZER_CONFIG, Weights};
use mplug::config::{GenerationDefaults, ModelConfig, Task, TextConfig, VisionConfig};
use mplug_nn::RandomParameters;

use self::clip_names::ClipNames;
pub use self::weights::TowerWeights;
use crate::error::TrainError;
use crate::training_data::TokenizerFiles;

/// Names of a weight file in a folder.
const WEIGHT_FILES: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// Layers of a tower at most.
const MOST_LAYERS: usize = 1 << 10;

/// A CLIP and a BERT.
pub struct Towers {
    clip: Checkpoint,
    bert: Checkpoint,
    tokenizer: TokenizerFiles,
}

impl Towers {
    /// Opens both: a weight file, or a folder with one; BERT's `vocab.txt` lies beside it, and its `tokenizer_config.json` may.
    pub fn open(clip: &Path, bert: &Path) -> Result<Self, TrainError> {
        let open = |path: &Path| {
            let file = weight_file(path);
            Checkpoint::open(&file)
                .map_err(|error| TrainError::Start { path: path.to_owned(), source: Box::new(error) })
        };
        let folder = if bert.is_dir() { bert } else { bert.parent().unwrap_or(Path::new(".")) };
        let path = folder.join("vocab.txt");
        let vocabulary = std::fs::read_to_string(&path).map_err(TrainError::file(path))?;
        let path = folder.join(TOKENIZER_CONFIG);
        let settings = match std::fs::read_to_string(&path) {
            Ok(text) => Some((path, text)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(TrainError::file(path)(error)),
        };
        let tokenizer = TokenizerFiles { vocabulary, settings };
        Ok(Self { clip: open(clip)?, bert: open(bert)?, tokenizer })
    }

    /// The files of BERT's tokenizer.
    pub fn tokenizer(&self) -> &TokenizerFiles {
        &self.tokenizer
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use mplug::checkpoint::seeded::seeded_stored_tensors;
    use mplug::checkpoint::{Dtype, write_safetensors};
    use mplug_nn::{Mplug, Parts};

    use super::weights::VISUAL;
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
            assert_eq!(towers.tokenizer().vocabulary, "[PAD]\n[UNK]\n");
            assert_eq!(towers.tokenizer().settings, None);
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
        // A tokenizer's settings beside the vocabulary are its own.
        let settings = folder.path().join("bert/tokenizer_config.json");
        std::fs::write(&settings, "{}").expect("written");
        let towers = Towers::open(&clip, &folder.path().join("bert")).expect("both are there");
        assert_eq!(towers.tokenizer().settings, Some((settings, "{}".to_owned())));
        let missing = Towers::open(&clip, &folder.path().join("no"));
        assert!(missing.err().expect("no BERT").to_string().contains("vocab.txt"));
    }
}
