//! What comes out of a run: how its models write, what is kept of the model that it starts from, and the folder for the original.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mplug::checkpoint::{CheckpointError, ModelFolder};
use mplug::config::{ConfigOverrides, GenerationDefaults, Task};
use mplug::preprocess::image::RgbImage;
use mplug::tasks::Captioner;
use mplug_data::synth::{FolderOptions, write_folder};
use mplug_train::config::{DataSection, ExportKind};
use mplug_train::initial_weights::InitialWeights;
use mplug_train::training_data::{AnnotatedPictures, Reading, Split, TokenizerFiles, TrainingData, Views};
use mplug_train::{Progress, TrainConfig, TrainError, train_on};

use crate::objectives::{Colours, recipe, settings};
use crate::{listener, toy};

fn run(config: &TrainConfig, resume: bool) -> Result<Vec<Progress>, TrainError> {
    let data = Colours { reading: config.objective.reading(), until: u64::MAX };
    let mut events = Vec::new();
    train_on(config, &data, resume, &mut listener(&mut events))?;
    Ok(events)
}

const SHORT: [(&str, &str); 3] = [("run.steps", "1"), ("evaluation.every", "1"), ("run.log_every", "1")];

/// A short run of an objective in `folder`, of a fresh model.
fn fresh(folder: &Path, kind: &str, more: &[(&str, &str)]) -> TrainConfig {
    recipe(folder, &[settings(kind), SHORT.to_vec(), more.to_vec()].concat())
}

/// A short run of captions that starts from `model`, with further keys of `[start]`.
fn from(model: &Path, output: &Path, start: &str, more: &[(&str, &str)]) -> TrainConfig {
    let mut config = fresh(output, "captioning", more);
    config.model = None;
    let start = format!("model = '{}'\nmax_text_tokens = 7\n{start}", model.display());
    config.start = Some(toml::from_str(&start).expect("a good table"));
    config
}

fn open(model: &Path, task: Option<Task>) -> Result<ModelFolder, CheckpointError> {
    ModelFolder::open(model, &ConfigOverrides { task, ..ConfigOverrides::default() })
}

/// The model folder `last` of a run, without the lengths in its `config.yaml`.
fn without_lengths(run: &Path) -> PathBuf {
    let model = run.join("last");
    let path = model.join("config.yaml");
    let text = std::fs::read_to_string(&path).expect("a text");
    let kept = text.lines().filter(|line| !line.contains("_length") && !line.contains("beam_size"));
    let kept: Vec<&str> = kept.collect();
    assert_eq!(kept.len() + 3, text.lines().count(), "{text}");
    std::fs::write(&path, kept.join("\n") + "\n").expect("written");
    model
}

#[test]
fn a_model_writes_as_long_as_it_learned_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = folder.path().join("first");
    run(&fresh(&first, "captioning", &[]), false).expect("the run ends well");
    let written = open(&first.join("last"), None).expect("a model").config.generation;
    assert_eq!((written.num_beams, written.min_new_tokens, written.max_new_tokens), (5, 1, 7));
    // The class defaults of the original are 1 to 10 tokens; this model has 8 positions.
    let start = without_lengths(&first);
    assert!(open(&start, None).is_err(), "its defaults do not fit it");
    let text = std::fs::read_to_string(start.join("config.yaml")).expect("a text") + "max_length: 3\n";
    std::fs::write(start.join("config.yaml"), text).expect("written");
    let config = from(&start, &folder.path().join("second"), "", &[]);
    run(&config, false).expect("the run ends well");
    let model = open(&config.output.join("best"), None).expect("a model");
    assert_eq!(model.config.generation.max_new_tokens, 6);
    let set = [
        ("generation.max_new_tokens", "2"),
        ("generation.min_new_tokens", "2"),
        ("generation.num_beams", "3"),
    ];
    let config = from(&start, &folder.path().join("third"), "", &set);
    let events = run(&config, false).expect("the run ends well");
    let written = open(&config.output.join("last"), None).expect("a model").config.generation;
    assert_eq!((written.num_beams, written.min_new_tokens, written.max_new_tokens), (3, 2, 2));
    // Evaluations write so, too.
    let words = events.iter().flat_map(|event| match event {
        Progress::Evaluated { samples, .. } => samples.clone(),
        _ => Vec::new(),
    });
    let words: Vec<usize> = words.map(|sample| sample.text.split_whitespace().count()).collect();
    assert!(words.len() == 16 && words.iter().all(|words| *words <= 2), "{words:?}");
    let long = from(&start, &folder.path().join("long"), "", &[("generation.max_new_tokens", "9")]);
    let error = run(&long, false).expect_err("no positions").to_string();
    assert!(error.contains("generation.max_new_tokens") && error.contains("at most 8"), "{error}");
}

#[test]
fn encoders_that_captions_do_without_are_kept_if_the_recipe_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let backbone = folder.path().join("backbone");
    run(&fresh(&backbone, "pretraining", &[]), false).expect("the run ends well");
    let backbone = backbone.join("last");
    let plain = from(&backbone, &folder.path().join("plain"), "", &[]);
    run(&plain, false).expect("the run ends well");
    let answering = Some(Task::VisualQuestionAnswering);
    assert!(open(&plain.output.join("last"), answering).is_err(), "they are left out");
    let kept = from(&backbone, &folder.path().join("kept"), "keep_encoders = true", &[]);
    run(&kept, false).expect("the run ends well");
    let before = open(&backbone, None).expect("a model");
    for name in ["best", "last"] {
        let model = kept.output.join(name);
        for task in [None, answering, Some(Task::ImageTextRetrieval)] {
            let after = open(&model, task).unwrap_or_else(|error| panic!("{name}, {task:?}: {error}"));
            assert_eq!(after.config.text, before.config.text);
        }
        let after = open(&model, None).expect("a model");
        for tensor in ["text_encoder.encoder.layer.0.output.dense.weight", "itm_head.weight", "temp"] {
            let values = [&before, &after].map(|model| model.checkpoint().read_f32(tensor).expect(tensor));
            assert!(values[0] == values[1], "{tensor}");
        }
    }
    // The weights that are trained are those of the run without them.
    let words = "text_decoder.bert.embeddings.word_embeddings.weight";
    let [one, other] = [&plain, &kept].map(|config| {
        open(&config.output.join("last"), None).expect("a model").checkpoint().read_f32(words).expect(words)
    });
    assert!(one == other);
    let nothing = from(&plain.output.join("last"), &folder.path().join("x"), "keep_encoders = true", &[]);
    let error = run(&nothing, false).expect_err("nothing to keep").to_string();
    assert!(error.contains("start.keep_encoders") && error.contains("text_encoder."), "{error}");
}

/// One step of captions of the colours, of a fresh model in a shape that the original builds, with as little in it as can be.
fn original(output: &Path) -> TrainConfig {
    let mut config = toy::recipe(output, 1);
    let model = config.model.as_mut().expect("a shape");
    model.vision_width = 768;
    config.optimizer.average_decay = 0.0;
    config.run.export = Some(ExportKind::Modelscope);
    config
}

/// The lengths, and captions of some pictures with their scores' bits.
fn captions(model: &Path) -> (GenerationDefaults, Vec<(String, u32)>) {
    let model = open(model, None).expect("a model");
    let captioner = Captioner::load(&model).expect("a captioner");
    let picture = |grey| RgbImage::from_raw(32, 32, vec![grey; 3 * 32 * 32]).expect("as many bytes");
    let pictures = [0, 90, 200].map(picture);
    let captions = captioner.caption_batch(&pictures, &captioner.default_options()).expect("captions");
    let captions = captions.concat().into_iter();
    (model.config.generation, captions.map(|caption| (caption.text, caption.score.to_bits())).collect())
}

#[test]
fn the_folder_for_the_original_has_the_best_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("run");
    let mut config = original(&output);
    config.run.export = None;
    toy::run(&config, false).1.expect("the run ends well");
    let exported = output.join("modelscope");
    assert!(!exported.exists());
    // A finished run writes it when it is resumed with the key.
    config.run.export = Some(ExportKind::Modelscope);
    toy::run(&config, true).1.expect("it is finished");
    for name in ["pytorch_model.bin", "configuration.json", "config.yaml", "config_bert.json", "vocab.txt"] {
        assert!(exported.join(name).is_file(), "{name}");
    }
    assert!(!exported.join("model.safetensors").exists());
    assert_eq!(captions(&output.join("best")), captions(&exported));
    // It is written again where it is gone, and not where it is there.
    let time = || std::fs::metadata(exported.join("pytorch_model.bin")).expect("there").modified().ok();
    let before = time();
    toy::run(&config, true).1.expect("it is finished");
    assert_eq!(time(), before);
    std::fs::remove_dir_all(&exported).expect("removed");
    toy::run(&config, true).1.expect("it is finished");
    assert!(exported.join("pytorch_model.bin").is_file());
}

#[test]
fn a_folder_for_the_original_that_cannot_be_is_refused_before_the_first_step() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut small = toy::recipe(&folder.path().join("run"), 1);
    small.run.export = Some(ExportKind::Modelscope);
    let error = toy::run(&small, false).1.expect_err("the original builds no such model").to_string();
    assert!(error.contains("run.export") && error.contains("width 64"), "{error}");
    let other = folder.path().join("other");
    let notes = other.join("modelscope/notes");
    std::fs::create_dir_all(other.join("modelscope")).expect("made");
    std::fs::write(&notes, "precious").expect("written");
    let error = toy::run(&original(&other), false).1.expect_err("somebody's folder").to_string();
    assert!(error.contains("modelscope: is in the way"), "{error}");
    assert_eq!(std::fs::read(notes).expect("there"), b"precious");
}

/// The settings of the start's tokenizer are heeded and go into every model folder.
#[test]
fn a_cased_tokenizer_stays_cased() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = folder.path().join("first");
    let mut config = original(&first);
    config.run.export = None;
    toy::run(&config, false).1.expect("the run ends well");
    let start = first.join("last");
    let vocabulary = "[PAD]\n[CLS]\n[SEP]\n[UNK]\nA\na\nb\nc\nd\ne\nf\ng\n";
    std::fs::write(start.join("vocab.txt"), vocabulary).expect("written");
    let settings = "{\"do_lower_case\": false}";
    std::fs::write(start.join("tokenizer_config.json"), settings).expect("written");
    let mut config = original(&folder.path().join("second"));
    config.model = None;
    let table = format!("model = '{}'\nmax_text_tokens = 7", start.display());
    config.start = Some(toml::from_str(&table).expect("a good table"));
    toy::run(&config, false).1.expect("the run ends well");
    for name in ["best", "last", "modelscope"] {
        let text = std::fs::read_to_string(config.output.join(name).join("tokenizer_config.json"));
        assert_eq!(text.expect(name), settings);
    }
    let files = InitialWeights::open(&config).expect("the start").tokenizer().expect("its files");
    assert_eq!(ids_of("A b", &folder.path().join("data"), files), [1, 4, 6, 2]);
    let plain = vocabulary.to_owned().into();
    assert_eq!(ids_of("A b", &folder.path().join("plain"), plain), [1, 5, 6, 2]);
}

/// The tokens of a caption in annotated data in `folder`.
fn ids_of(caption: &str, folder: &Path, files: TokenizerFiles) -> Vec<u32> {
    write_folder(folder, 5, 1, &FolderOptions::default(), &mut |_| {}).expect("drawn");
    let picture = std::fs::read_dir(folder.join("images")).expect("pictures").next().expect("one");
    let name = picture.expect("an entry").file_name();
    let image = format!("images/{}", name.to_str().expect("utf-8"));
    let line = serde_json::json!({ "image": image, "caption": caption });
    let path = folder.join("mine.jsonl");
    std::fs::write(&path, format!("{line}\n")).expect("written");
    let section = format!("kind = 'annotations'\ntrain = '{0}'\nheld_out = '{0}'", path.display());
    let section = match toml::from_str(&section).expect("a section") {
        DataSection::Annotations(section) => section,
        DataSection::Synth { .. } => unreachable!("the kind is another"),
    };
    let views = Views { size: 32, augmentation: None, seed: 0 };
    let data = AnnotatedPictures::open(&section, Reading::Captions, views, 7, files, &BTreeMap::new());
    let example = data.expect("a data set").example(Split::Train, 0).expect("an example");
    example.targets[0].ids.clone()
}
