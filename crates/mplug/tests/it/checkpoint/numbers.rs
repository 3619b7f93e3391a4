//! Values that are no numbers, tensors without values, and tensors that no model knows.

use mplug::checkpoint::expected::needed_tensors;
use mplug::checkpoint::seeded::{Draw, Recipe, seeded_stored_tensors, synthetic_vocabulary};
use mplug::checkpoint::{
    Checkpoint, CheckpointError, Dtype, FileFormat, Keep, ModelFolder, NotFinite, TensorEntry, TensorReader,
    Values, WriteOptions, safetensors_bytes, write_model_folder,
};
use mplug::config::{ModelConfig, Task};
use mplug::tasks::{Answerer, Captioner, Matcher};

use super::build::{SIX, TensorBytes, legacy, one_tensor, safetensors, torch_zip};

const TASKS: [Task; 3] = [Task::ImageCaptioning, Task::VisualQuestionAnswering, Task::ImageTextRetrieval];

/// What is said of the tensor `weight` of a file.
fn reported(bytes: Vec<u8>) -> Option<NotFinite> {
    let checkpoint = Checkpoint::from_bytes(bytes).unwrap();
    let (one, other) = (checkpoint.read_f32("weight"), checkpoint.read_values("weight"));
    match (one, other) {
        (Ok(_), Ok(_)) => None,
        (
            Err(CheckpointError::NotFinite { name, values, .. }),
            Err(CheckpointError::NotFinite { values: same, .. }),
        ) => {
            assert_eq!((name.as_str(), same.to_string()), ("weight", values.to_string()));
            Some(values)
        }
        other => panic!("{other:?}"),
    }
}

/// Six values as each floating-point type stores them, by its names in both formats.
fn stored(values: [f64; 6]) -> [(&'static str, &'static str, Vec<u8>); 4] {
    let bytes = |each: fn(f64) -> Vec<u8>| values.iter().flat_map(|v| each(*v)).collect();
    [
        ("F64", "DoubleStorage", bytes(|v| v.to_le_bytes().to_vec())),
        ("F32", "FloatStorage", bytes(|v| (v as f32).to_le_bytes().to_vec())),
        ("F16", "HalfStorage", bytes(|v| half::f16::from_f64(v).to_le_bytes().to_vec())),
        ("BF16", "BFloat16Storage", bytes(|v| half::bf16::from_f64(v).to_le_bytes().to_vec())),
    ]
}

#[test]
fn values_that_are_no_numbers_are_found_in_every_format_and_type() {
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for (dtype, storage, bytes) in stored([0.5, 1.0, 2.0, 3.0, odd, odd]) {
            let range = format!("[0,{}]", bytes.len());
            let header =
                format!(r#"{{"weight":{{"dtype":"{dtype}","shape":[2,3],"data_offsets":{range}}}}}"#);
            let whole = TensorBytes { storage, ..SIX };
            let old = one_tensor(&TensorBytes { is_legacy: true, ..whole });
            for file in [
                safetensors(&header, &bytes),
                torch_zip(&one_tensor(&whole), &bytes),
                legacy(&old, &[("0", 6, &bytes)]),
            ] {
                let found = reported(file).expect(dtype);
                assert_eq!((found.count, found.numel, &found.first[..]), (2, 6, &[1, 1][..]), "{dtype}");
                assert_eq!(found.value.to_string(), odd.to_string(), "{dtype}");
            }
            // The same through strides, and a view that does not have them.
            let transposed = TensorBytes { shape: &[3, 2], strides: &[1, 3], ..whole };
            let found = reported(torch_zip(&one_tensor(&transposed), &bytes)).expect(dtype);
            assert_eq!((found.count, &found.first[..]), (2, &[1, 1][..]), "{dtype}");
            let before = TensorBytes { shape: &[2, 2], strides: &[2, 1], ..whole };
            assert_eq!(reported(torch_zip(&one_tensor(&before), &bytes)), None, "{dtype}");
            let scalar = TensorBytes { offset: 5, shape: &[], strides: &[], ..whole };
            let found = reported(torch_zip(&one_tensor(&scalar), &bytes)).expect(dtype);
            assert_eq!((found.count, found.first.len()), (1, 0), "{dtype}");
        }
    }
    let (_, storage, bytes) = &stored([0.0, 0.0, 0.0, -1e300, 0.0, 0.0])[0];
    let found = reported(torch_zip(&one_tensor(&TensorBytes { storage, ..SIX }), bytes)).unwrap();
    assert_eq!(found.to_string(), "1 of 6, the first at [1, 0] (-1e300)", "f32 does not reach it");
}

#[test]
fn the_last_of_many_values_is_looked_at() {
    let len = (1 << 20) + (1 << 18) + 5;
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
        for at in [0, 1 << 18, len / 2, len - 1] {
            let mut values = vec![1.0; len];
            values[at] = f32::NAN;
            let tensors = [("weight".to_owned(), vec![len], values)];
            let found = reported(safetensors_bytes(&tensors[..], dtype).unwrap()).unwrap();
            assert_eq!((found.count, &found.first[..]), (1, &[at][..]), "{dtype}");
        }
    }
}

/// A drawn model with all that the original stores.
fn recipe(task: Task) -> (ModelConfig, Recipe) {
    let config = ModelConfig::tiny(task);
    let recipe = seeded_stored_tensors(&config, 3);
    (config, recipe)
}

/// A drawn model with other values.
struct Edited {
    recipe: Recipe,
    /// In place of the recipe's, or beside them: name, shape, values.
    others: Vec<(String, Vec<usize>, Values)>,
}

impl TensorReader for Edited {
    fn entries(&self) -> Vec<TensorEntry> {
        let is_other = |entry: &TensorEntry| self.others.iter().any(|(name, ..)| *name == entry.name);
        let mut entries = self.recipe.entries();
        for entry in entries.iter_mut().filter(|entry| is_other(entry)) {
            entry.same_as = None;
        }
        let known: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        for (name, shape, values) in self.others.iter().filter(|(name, ..)| !known.contains(name)) {
            let fixed_dtype = match values {
                Values::F32(_) => None,
                Values::I64(_) => Some(Dtype::I64),
                Values::I8(_) => Some(Dtype::I8),
            };
            entries.push(TensorEntry {
                name: name.clone(),
                shape: shape.clone(),
                fixed_dtype,
                same_as: None,
            });
        }
        entries
    }

    fn read(&self, index: usize) -> Result<Values, CheckpointError> {
        let name = &self.entries()[index].name;
        match self.others.iter().find(|(other, ..)| other == name) {
            Some((_, _, values)) => Ok(values.clone()),
            None => self.recipe.read(index),
        }
    }
}

/// The model with a value of `name` changed.
fn with_value(task: Task, name: &str, value: f32) -> (ModelConfig, Edited) {
    let (config, recipe) = recipe(task);
    let index = recipe.tensors.iter().position(|tensor| tensor.name == name).unwrap();
    let index = if let Draw::Alias(first) = recipe.tensors[index].draw { first } else { index };
    let Values::F32(mut values) = recipe.read(index).unwrap() else { panic!("{name} is not of floats") };
    *values.last_mut().unwrap() = value;
    let tensor = &recipe.tensors[index];
    let others = vec![(tensor.name.clone(), tensor.shape.clone(), Values::F32(values))];
    (config, Edited { recipe, others })
}

fn open(config: &ModelConfig, tensors: &Edited, dtype: Dtype) -> Result<ModelFolder, CheckpointError> {
    let checkpoint = Checkpoint::from_bytes(safetensors_bytes(tensors, dtype)?)?;
    ModelFolder::from_checkpoint(config, checkpoint, synthetic_vocabulary(config.text.vocab_size))
}

fn load(folder: &ModelFolder) -> Result<(), mplug::Error> {
    match folder.config.task {
        Task::ImageCaptioning => Captioner::load(folder).map(drop),
        Task::VisualQuestionAnswering => Answerer::load(folder).map(drop),
        Task::ImageTextRetrieval => Matcher::load(folder).map(drop),
    }
}

/// Weights that are one tensor under two names.
const TIED: [[&str; 2]; 2] = [
    ["text_decoder.cls.predictions.decoder.weight", "text_decoder.bert.embeddings.word_embeddings.weight"],
    ["text_decoder.cls.predictions.decoder.bias", "text_decoder.cls.predictions.bias"],
];

#[test]
fn every_tensor_that_a_task_reads_is_looked_at_when_it_is_loaded() {
    for task in TASKS {
        let (config, stored) = recipe(task);
        let needed: Vec<String> = needed_tensors(&config).into_iter().map(|(name, _)| name).collect();
        let bytes = safetensors_bytes(&stored, Dtype::Bf16).unwrap();
        let values = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..values]).unwrap();
        for (name, entry) in header.as_object().unwrap().iter().filter(|(_, entry)| entry["dtype"] == "BF16")
        {
            // Its last value becomes infinite.
            let mut changed = bytes.clone();
            let end = values + entry["data_offsets"][1].as_u64().unwrap() as usize;
            changed[end - 2..end].copy_from_slice(&0x7f80_u16.to_le_bytes());
            let checkpoint = Checkpoint::from_bytes(changed).unwrap();
            let vocabulary = synthetic_vocabulary(config.text.vocab_size);
            let folder = ModelFolder::from_checkpoint(&config, checkpoint, vocabulary).unwrap();
            // The temperature of the contrast is for training alone.
            let is_needed = needed.contains(name) && name != "temp";
            match load(&folder) {
                Ok(()) => assert!(!is_needed, "{task}: {name} is infinite"),
                Err(error) => {
                    let own = name.as_str();
                    let names = TIED.into_iter().find(|names| names.contains(&own)).unwrap_or([own; 2]);
                    let is_named = names.iter().any(|name| error.to_string().contains(&format!("`{name}`")));
                    assert!(is_needed && is_named, "{task}, {name}: {error}");
                }
            }
        }
    }
}

/// Converts to each format and precision.
fn convert(folder: &ModelFolder, options: WriteOptions) -> Result<Vec<String>, CheckpointError> {
    let place = tempfile::tempdir().unwrap();
    let written = write_model_folder(&place.path().join("out"), folder, &options);
    let left = std::fs::read_dir(place.path()).unwrap().count();
    assert_eq!(left, usize::from(written.is_ok()), "a folder is there whole or not at all");
    Ok(written?.not_finite.into_iter().map(|(name, _)| name).collect())
}

#[test]
fn conversion_refuses_what_is_used_and_copies_what_is_not() {
    let (used, unused) = ("visual_encoder.visual.ln_pre.bias", "text_encoder.embeddings.LayerNorm.bias");
    for format in [FileFormat::Safetensors, FileFormat::Pytorch, FileFormat::PytorchTrainer] {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
            let all = WriteOptions { dtype, format, ..WriteOptions::default() };
            let task = WriteOptions { keep: Keep::Task, ..all };
            let broken = |name| {
                let (config, edited) = with_value(Task::ImageCaptioning, name, f32::NAN);
                open(&config, &edited, Dtype::F32).unwrap()
            };
            for options in [all, task] {
                let error = convert(&broken(used), options).unwrap_err();
                assert!(matches!(&error, CheckpointError::NotFinite { name, .. } if name == used), "{error}");
            }
            assert_eq!(convert(&broken(unused), all).unwrap(), [unused], "{format:?} {dtype}");
            assert!(convert(&broken(unused), task).unwrap().is_empty());
        }
    }
}

#[test]
fn a_value_that_the_new_type_does_not_reach_is_named() {
    for (value, dtype, expected) in [
        (65_520.0, Dtype::F16, "`visn_fc.bias`: its value 65520.0 does not fit f16"),
        (3.4e38, Dtype::F16, "`visn_fc.bias`: its value 3.4e38 does not fit f16"),
        (-3.4e38, Dtype::Bf16, "`visn_fc.bias`: its value -3.4e38 does not fit bf16"),
    ] {
        let (config, edited) = with_value(Task::ImageCaptioning, "visn_fc.bias", value);
        let folder = open(&config, &edited, Dtype::F32).unwrap();
        let error = convert(&folder, WriteOptions { dtype, ..WriteOptions::default() }).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(convert(&folder, WriteOptions::default()).unwrap().is_empty(), "f32 reaches it");
    }
}

#[test]
fn tensors_without_values_are_converted() {
    let (config, recipe) = recipe(Task::ImageCaptioning);
    let floats = |name: &str, shape: &[usize]| (name.to_owned(), shape.to_vec(), Values::F32(Vec::new()));
    let huge = 1 << 60;
    let mut others = vec![
        floats("text_encoder.empty", &[0]),
        floats("text_encoder.rows", &[3, 0]),
        floats("head.columns", &[0, 3]),
        floats("visual_encoder_m.visual.positional_embedding", &[5, 0]),
        floats("text_encoder_m.embeddings.position_embeddings.weight", &[huge, 0]),
        ("head.numbers".to_owned(), vec![2, 0], Values::I64(Vec::new())),
    ];
    for (name, rows, columns) in [("text_encoder.foo", 3, 0), ("head.foo", 0, 3), ("head.bar", 0, 0)] {
        others.push((format!("{name}_int8"), vec![rows, columns], Values::I8(Vec::new())));
        others.push((format!("{name}_scale"), vec![rows], Values::F32(vec![1.0; rows])));
        others.push((format!("{name}_smoothing"), vec![columns], Values::F32(vec![1.0; columns])));
    }
    let folder = open(&config, &Edited { recipe, others }, Dtype::F32).unwrap();
    assert_eq!(folder.unexpected(), ["head.bar", "head.columns", "head.foo", "head.numbers"]);
    for format in [FileFormat::Safetensors, FileFormat::Pytorch, FileFormat::PytorchTrainer] {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
            let place = tempfile::tempdir().unwrap();
            let dest = place.path().join("out");
            let options = WriteOptions { dtype, format, ..WriteOptions::default() };
            write_model_folder(&dest, &folder, &options).unwrap();
            let back = ModelFolder::open(&dest, &mplug::config::ConfigOverrides::default()).unwrap();
            assert_eq!(back.unexpected(), folder.unexpected(), "{format:?}");
            assert_eq!(back.checkpoint().shape("text_encoder.foo"), Some(&[3, 0][..]));
            assert_eq!(back.checkpoint().shape("head.foo"), Some(&[0, 3][..]));
            load(&back).unwrap();
        }
    }
}

#[test]
fn unknown_tensors_are_listed_and_can_be_refused() {
    let (config, recipe) = recipe(Task::ImageCaptioning);
    let head = |name: &str| (name.to_owned(), vec![2], Values::F32(vec![0.0, f32::NAN]));
    let others = vec![head("my_head.weight"), head("text_decoder.cls.seq_relationship.weight")];
    let folder = open(&config, &Edited { recipe, others }, Dtype::F32).unwrap();
    assert_eq!(folder.unexpected(), ["my_head.weight", "text_decoder.cls.seq_relationship.weight"]);
    load(&folder).expect("what is not read may be what it likes");
    let refused = folder.refuse_unexpected().unwrap_err().to_string();
    let expected = "2 unexpected: my_head.weight, text_decoder.cls.seq_relationship.weight";
    assert!(refused.ends_with(expected), "{refused}");

    let (config, edited) = with_value(Task::ImageCaptioning, "visn_fc.bias", 0.0);
    let folder = open(&config, &edited, Dtype::F32).unwrap();
    assert!(folder.unexpected().is_empty() && folder.refuse_unexpected().is_ok());
}

#[test]
fn a_misspelt_tensor_is_missing_and_its_misspelling_is_shown() {
    let (config, mut recipe) = recipe(Task::ImageCaptioning);
    recipe.tensors.iter_mut().find(|tensor| tensor.name == "visn_fc.bias").unwrap().name =
        "visn_fc.bais".into();
    let others = (0..30).map(|n| (format!("head.{n:02}"), vec![1], Values::F32(vec![0.0]))).collect();
    let error = open(&config, &Edited { recipe, others }, Dtype::F32).unwrap_err().to_string();
    let expected = "1 missing: visn_fc.bias (is it `visn_fc.bais`?); 31 unexpected: head.00, head.01, ";
    assert!(error.contains(expected), "{error}");
    assert!(error.ends_with("and 11 more"), "{error}");
}
