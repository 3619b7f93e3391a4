//! The golden model `tiny_large` drawn from its manifest, through every way of storing and opening it.

use std::path::{Path, PathBuf};

use mplug::checkpoint::expected::needed_tensors;
use mplug::checkpoint::seeded::Recipe;
use mplug::checkpoint::{
    CheckpointError, Dtype, Keep, ModelFolder, Values, Weights, WriteOptions, key_names, write_model_folder,
    write_pytorch, write_safetensors,
};
use mplug::config::{ConfigOverrides, Language, Task, language};
use mplug_testing::golden;

/// The golden model that these tests read and write.
const MODEL: &str = "tiny_large";

/// Its folder in the fixtures, without weights.
pub(crate) fn fixture() -> PathBuf {
    golden::fixture("golden").join(MODEL)
}

pub(crate) fn recipe() -> Recipe {
    golden::recipe(MODEL)
}

/// A model folder with the golden small files and weights written by `write`.
pub(crate) fn folder(write: impl FnOnce(&Path, &Recipe)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    golden::write_folder(MODEL, dir.path(), write);
    dir
}

pub(crate) fn golden_folder() -> tempfile::TempDir {
    folder(|dir, recipe| write_pytorch(&dir.join("pytorch_model.bin"), recipe, Dtype::F32).unwrap())
}

fn assert_same_values(model: &ModelFolder, recipe: &Recipe, tolerance: f32) {
    for (index, tensor) in recipe.tensors.iter().enumerate() {
        let read = model.checkpoint().read_values(&tensor.name).unwrap();
        match (read, recipe.draw(index)) {
            (Values::F32(a), Values::F32(b)) => {
                assert_eq!(a.len(), b.len());
                let worst =
                    a.iter().zip(&b).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f32::max);
                assert!(worst <= tolerance, "{}: {worst}", tensor.name);
            }
            (a, b) => assert_eq!(a, b, "{}", tensor.name),
        }
    }
}

#[test]
fn pytorch_and_safetensors_give_back_the_drawn_values() {
    let as_pytorch = golden_folder();
    let model = ModelFolder::open(as_pytorch.path(), &ConfigOverrides::default()).unwrap();
    assert_same_values(&model, &recipe(), 0.0);
    let as_safetensors = folder(|dir, recipe| {
        write_safetensors(&dir.join("model.safetensors"), recipe, Dtype::F32).unwrap();
    });
    let model = ModelFolder::open(as_safetensors.path(), &ConfigOverrides::default()).unwrap();
    assert_same_values(&model, &recipe(), 0.0);
}

#[test]
fn half_precision_is_within_its_rounding() {
    for (dtype, tolerance) in [(Dtype::F16, 6e-4), (Dtype::Bf16, 4.5e-3)] {
        for is_pytorch in [false, true] {
            let dir = folder(|dir, recipe| {
                if is_pytorch {
                    write_pytorch(&dir.join("pytorch_model.bin"), recipe, dtype).unwrap();
                } else {
                    write_safetensors(&dir.join("model.safetensors"), recipe, dtype).unwrap();
                }
            });
            let model = ModelFolder::open(dir.path(), &ConfigOverrides::default()).unwrap();
            assert_same_values(&model, &recipe(), tolerance);
            assert_eq!(model.checkpoint().dtype("visn_fc.weight"), Some(dtype));
        }
    }
}

#[test]
fn the_configuration_is_that_of_the_original() {
    let dir = golden_folder();
    let model = ModelFolder::open(dir.path(), &ConfigOverrides::default()).unwrap();
    let config = &model.config;
    assert_eq!(config.task, Task::ImageCaptioning);
    assert_eq!(
        (config.vision.image_size, config.vision.patch_size, config.vision.hidden_size),
        (56, 14, 1024)
    );
    assert_eq!((config.vision.num_attention_heads, config.vision.num_hidden_layers), (16, 1));
    assert_eq!(
        (config.text.hidden_size, config.text.num_attention_heads, config.text.vocab_size),
        (64, 4, 803)
    );
    assert_eq!((config.text.first_fusion_layer, config.text.fusion_layers), (1, 4));
    assert_eq!(
        (config.text.connected_stride, config.text.text_encoder_layers, config.text.decoder_layers),
        (2, 2, 3)
    );
    assert_eq!(
        (config.generation.num_beams, config.generation.min_new_tokens, config.generation.max_new_tokens),
        (5, 1, 12)
    );
    assert!(config.has_visual_projection);
    assert_eq!(language(model.vocabulary()), Language::Chinese);
}

#[test]
fn a_model_reads_every_needed_tensor_and_nothing_unknown_is_left() {
    let dir = golden_folder();
    let model = ModelFolder::open(dir.path(), &ConfigOverrides::default()).unwrap();
    let weights = Weights::new(model.checkpoint());
    for (name, shape) in needed_tensors(&model.config) {
        let (prefix, tail) = name.rsplit_once('.').unwrap();
        assert_eq!(weights.at(prefix).tensor(tail, &shape).unwrap().len(), shape.iter().product::<usize>());
    }
    weights.finish(|name| key_names::is_never_needed(&model.config, name)).unwrap();
    // Without the list of superfluous names, the unread ones are reported.
    let error = weights.finish(|_| false).unwrap_err().to_string();
    assert!(error.contains("fusion_encoder.encoder.layer.0."), "{error}");
}

#[test]
fn converting_keeps_the_values_and_is_never_half_done() {
    let dir = golden_folder();
    let model = ModelFolder::open(dir.path(), &ConfigOverrides::default()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let dest = out.path().join("converted");
    write_model_folder(&dest, &model, &WriteOptions::default()).unwrap();
    let converted = ModelFolder::open(&dest, &ConfigOverrides::default()).unwrap();
    assert_eq!(converted.config, model.config);
    assert_same_values(&converted, &recipe(), 0.0);
    let refused = write_model_folder(&dest, &model, &WriteOptions::default()).unwrap_err();
    assert!(matches!(refused, CheckpointError::Exists { .. }), "{refused}");
    let options = WriteOptions { keep: Keep::Task, overwrite: true, ..WriteOptions::default() };
    write_model_folder(&dest, &model, &options).unwrap();
    let smaller = ModelFolder::open(&dest, &ConfigOverrides::default()).unwrap();
    assert_eq!(smaller.config, model.config);
    assert!(!smaller.checkpoint().has("text_encoder.embeddings.word_embeddings.weight"));
    let left: Vec<_> = std::fs::read_dir(out.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["converted"], "nothing temporary is left");
}

#[test]
fn a_bare_weight_file_opens_with_its_vocabulary_beside_it() {
    let dir = golden_folder();
    for name in ["configuration.json", "config.yaml", "config_bert.json"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    let path = dir.path().join("epoch_3.pth");
    std::fs::rename(dir.path().join("pytorch_model.bin"), &path).unwrap();
    let model = ModelFolder::open(&path, &ConfigOverrides::default()).unwrap();
    let text = &model.config.text;
    // What neither weights nor files say: the research code's captioning lengths, the large models' stride.
    assert_eq!(model.config.generation.max_new_tokens, 25);
    assert_eq!((model.config.vision.image_size, text.connected_stride, text.num_attention_heads), (56, 6, 1));
    assert_eq!(ModelFolder::open(dir.path(), &ConfigOverrides::default()).unwrap().config, model.config);
    std::fs::remove_file(dir.path().join("vocab.txt")).unwrap();
    let reason = ModelFolder::open(&path, &ConfigOverrides::default()).unwrap_err().to_string();
    assert!(reason.contains("vocab.txt is missing"), "{reason}");
}

#[test]
fn overrides_win_and_are_written_down() {
    let dir = golden_folder();
    let overrides =
        ConfigOverrides { image_size: Some(84), connected_stride: Some(3), ..ConfigOverrides::default() };
    let model = ModelFolder::open(dir.path(), &overrides).unwrap();
    assert_eq!((model.config.vision.image_size, model.config.text.connected_stride), (84, 3));
    let weights = Weights::new(model.checkpoint()).at("visual_encoder.visual");
    let table = weights.position_embedding("positional_embedding", 6, 1024).unwrap();
    assert_eq!(table.len(), 37 * 1024);
    let stored = weights.position_embedding("positional_embedding", 4, 1024).unwrap();
    assert!(table[..1024] == stored[..1024], "the class token keeps its row");
    assert!(table[1024..2048] == stored[1024..2048], "corners stay where they are");
    assert!(table[2048..3072] != stored[2048..3072], "the cell beside the corner is a mixture");
    let out = tempfile::tempdir().unwrap();
    let dest = out.path().join("converted");
    write_model_folder(&dest, &model, &WriteOptions::default()).unwrap();
    assert_eq!(ModelFolder::open(&dest, &ConfigOverrides::default()).unwrap().config, model.config);
    let odd = ConfigOverrides { image_size: Some(85), ..ConfigOverrides::default() };
    assert!(ModelFolder::open(dir.path(), &odd).unwrap_err().to_string().contains("85"));
}

#[test]
fn names_of_the_research_code_become_plain() {
    for (stored, plain) in [
        ("model.visn_fc.weight", "visn_fc.weight"),
        ("module.model.visn_fc.weight", "visn_fc.weight"),
        ("foo.model.bar", "foo.bar"),
        (
            "fusion_encoder.fusion.encoder.layer.6.output.dense.bias",
            "fusion_encoder.encoder.layer.6.output.dense.bias",
        ),
        ("text_encoder.bert.embeddings.LayerNorm.bias", "text_encoder.embeddings.LayerNorm.bias"),
        ("text_decoder.bert.embeddings.LayerNorm.bias", "text_decoder.bert.embeddings.LayerNorm.bias"),
        ("temp", "temp"),
        ("model", "model"),
        ("module", "module"),
        ("", ""),
    ] {
        assert_eq!(key_names::plain_name(stored), plain);
    }
}

#[test]
fn the_summary_counts_each_stored_value_once() {
    let dir = golden_folder();
    let model = ModelFolder::open(dir.path(), &ConfigOverrides::default()).unwrap();
    let summary = mplug::checkpoint::summarize(model.checkpoint(), Some(&model.config));
    // The manifest's own count, and the two tables of position ids.
    assert_eq!(summary.num_parameters, 13_835_900 + 64);
    let unused: usize = summary.unused.iter().map(|group| group.num_parameters).sum();
    assert_eq!(summary.num_parameters_used, Some(summary.num_parameters - unused));
    assert!(!summary.has_momentum_models);
    let fusion = summary.unused.iter().find(|group| group.prefix == "fusion_encoder").unwrap();
    assert_eq!((fusion.num_tensors, fusion.num_parameters), (130, 230_560));
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing_behind() {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("model.safetensors");
    let wrong = [("a".to_owned(), vec![2, 3], vec![0.0; 5])];
    assert!(write_safetensors(&path, &wrong[..], Dtype::F32).is_err());
    let too_large = [("a".to_owned(), vec![1], vec![70_000.0])];
    let reason = write_pytorch(&path, &too_large[..], Dtype::F16).unwrap_err().to_string();
    assert!(reason.contains("does not fit f16"), "{reason}");
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
}
