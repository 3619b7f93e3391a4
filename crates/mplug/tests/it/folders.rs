//! Model folders that say less than they should, or say it elsewhere, against what the original answers with them
//! (`fixtures/folders.json`, made by `reference/make_folder_fixtures.py`). The weights are drawn once for each model.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use mplug::checkpoint::seeded::{seeded_checkpoint, tensors_from_manifest};
use mplug::checkpoint::{
    Dtype, FileFormat, FolderNote, ModelFolder, WriteOptions, bert_json_below, write_model_folder,
    write_pytorch,
};
use mplug::config::{ConfigOverrides, ConfigTexts, ModelConfig, Task, TextConfig};
use mplug::preprocess::image::{ImageLimits, RgbImage, load_image};
use mplug::tasks::{Answerer, Caption, Captioner};
use mplug_testing::golden::fixture;
use serde_json::Value;

const WEIGHTS: &str = "pytorch_model.bin";
const SMALL_FILES: [&str; 4] = ["configuration.json", "config.yaml", "config_bert.json", "vocab.txt"];

/// What the original answers in each case.
fn cases() -> Vec<Value> {
    serde_json::from_slice(&fs::read(fixture("folders.json")).unwrap()).unwrap()
}

/// The weights of the golden models, each written when it is first wanted.
struct Models {
    folder: tempfile::TempDir,
}

impl Models {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn weights(&self, model: &str) -> PathBuf {
        let path = self.folder.path().join(model);
        if !path.exists() {
            let source = fixture("golden").join(model);
            let manifest = fs::read_to_string(source.join("manifest.json")).unwrap();
            let explicit = fs::read(source.join("explicit.safetensors")).ok();
            write_pytorch(&path, &tensors_from_manifest(&manifest, explicit).unwrap(), Dtype::F32).unwrap();
        }
        path
    }

    /// The model's folder with the edits of a case.
    fn edited(&self, model: &str, edits: &Value) -> tempfile::TempDir {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        for name in SMALL_FILES {
            fs::write(folder.path().join(name), fs::read(fixture("golden").join(model).join(name)).unwrap())
                .unwrap();
        }
        fs::hard_link(self.weights(model), folder.path().join(WEIGHTS)).unwrap();
        for edit in edits.as_array().unwrap() {
            apply(folder.path(), edit);
        }
        folder
    }

    fn of(&self, case: &Value) -> tempfile::TempDir {
        self.edited(case["model"].as_str().unwrap(), &case["edits"])
    }
}

fn apply(folder: &Path, edit: &Value) {
    let word = |key: &str| edit[key].as_str().unwrap();
    if edit.get("move").is_some() {
        fs::create_dir_all(folder.join(word("to")).parent().unwrap()).unwrap();
        fs::rename(folder.join(word("move")), folder.join(word("to"))).unwrap();
        return;
    }
    if edit.get("vocabulary").is_some() {
        let path = folder.join("vocab.txt");
        let text = fs::read_to_string(&path).unwrap();
        let (mut lines, mut end, mut after) = (text.lines().collect::<Vec<_>>(), "\n", "");
        let at = edit.get("at").and_then(Value::as_u64).unwrap_or_default() as usize;
        match word("vocabulary") {
            "keep" => lines.truncate(edit["lines"].as_u64().unwrap() as usize),
            "insert" => lines.insert(at, word("text")),
            "remove" => drop(lines.remove(at)),
            "append" => after = word("text"),
            "line_ends" => end = word("text"),
            other => panic!("{other}"),
        }
        let lines: String = lines.iter().flat_map(|line| [*line, end]).collect();
        fs::write(&path, lines + after).unwrap();
        return;
    }
    let path = folder.join(word("file"));
    let text = fs::read_to_string(&path).unwrap();
    let text = if path.extension().is_some_and(|extension| extension == "json") {
        let mut json: Value = serde_json::from_str(&text).unwrap();
        let object = json.as_object_mut().unwrap();
        match edit.get("drop") {
            Some(_) => object.remove(word("drop")),
            None => object.insert(word("set").to_owned(), edit["value"].clone()),
        };
        json.to_string()
    } else {
        // Each of config.yaml's keys has a line.
        let key = edit.get("drop").or(edit.get("set")).and_then(Value::as_str).unwrap();
        let others = text.lines().filter(|line| line.split(':').next() != Some(key));
        let mut text: String = others.flat_map(|line| [line, "\n"]).collect();
        if let Some(value) = edit.get("value") {
            text.extend([key, ": ", &value.to_string(), "\n"]);
        }
        text
    };
    fs::write(&path, text).unwrap();
}

fn open(folder: &Path) -> Result<ModelFolder, String> {
    ModelFolder::open(folder, &ConfigOverrides::default()).map_err(|error| error.to_string())
}

fn picture(name: &Value) -> RgbImage {
    load_image(fixture("images").join(name.as_str().unwrap()), &ImageLimits::default()).unwrap()
}

/// What the model writes for the inputs of a case, one by one.
fn write(model: &ModelFolder, inputs: &Value) -> Vec<Result<Caption, String>> {
    let inputs = inputs.as_array().unwrap();
    if model.config.task == Task::ImageCaptioning {
        let captioner = Captioner::load(model).unwrap();
        let options = captioner.default_options();
        let caption = |input: &Value| {
            captioner.caption_batch(&[picture(&input[0])], &options).unwrap().concat().remove(0)
        };
        return inputs.iter().map(|input| Ok(caption(input))).collect();
    }
    let answerer = Answerer::load(model).unwrap();
    let options = answerer.default_options();
    let answer = |input: &Value| {
        let answers = answerer.answer_batch(&[picture(&input[0])], &[input[1].as_str().unwrap()], &options);
        answers.map(|answers| answers.concat().remove(0)).map_err(|error| error.to_string())
    };
    inputs.iter().map(answer).collect()
}

/// The model of a case writes what the original writes: tokens, text and score.
fn assert_same(model: &ModelFolder, case: &Value) {
    let what = format!("{} {}", case["model"], case["edits"]);
    let answers =
        case["answers"].as_array().unwrap_or_else(|| panic!("{what}: the original does not answer"));
    for (found, expected) in write(model, &case["inputs"]).into_iter().zip(answers) {
        let found = found.unwrap_or_else(|problem| panic!("{what}: {problem}"));
        let ids: Vec<u64> =
            expected["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        let found_ids: Vec<u64> = found.token_ids.iter().map(|id| u64::from(*id)).collect();
        assert_eq!(found_ids, ids[1..], "{what}");
        assert_eq!(found.raw_text, expected["text"].as_str().unwrap(), "{what}");
        assert!((f64::from(found.score) - expected["score"].as_f64().unwrap()).abs() < 1e-3, "{what}");
    }
}

/// The cases of which one edit is all, and takes a key out.
fn dropped(case: &Value) -> Option<(&str, &str)> {
    let edits = case["edits"].as_array().unwrap();
    match edits.as_slice() {
        [edit] => Some((edit["file"].as_str()?, edit["drop"].as_str()?)),
        _ => None,
    }
}

/// What becomes of a model whose file lacks a key.
#[derive(Clone, Copy, Debug)]
enum Ours {
    /// The configuration is what it was: the default is the value that the file had, or nothing depends on the key.
    Unchanged,
    /// The configuration is what it was, for the weights have it, or it is of what never runs. The original takes its default,
    /// and fails or has random layers where that is another value.
    Stored,
    /// The original's default, where it is another value than that of the file.
    Default(fn(&ModelConfig) -> usize, usize),
    /// An error that says this. The original fails, or does not do what the model is for.
    Refused(&'static str),
}
use Ours::{Default, Refused, Stored, Unchanged};

/// Each key of the golden models' files: the file, the key, the original's default (`-` where it has none and fails), and
/// what we make of its absence.
const KEYS: &[(&str, &str, &str, Ours)] = &[
    ("config_bert.json", "architectures", "None", Unchanged),
    ("config_bert.json", "attention_probs_dropout_prob", "0.1", Unchanged),
    ("config_bert.json", "hidden_act", "gelu", Unchanged),
    ("config_bert.json", "hidden_dropout_prob", "0.1", Unchanged),
    ("config_bert.json", "hidden_size", "768", Stored),
    ("config_bert.json", "initializer_range", "0.02", Unchanged),
    ("config_bert.json", "intermediate_size", "3072", Stored),
    ("config_bert.json", "layer_norm_eps", "1e-12", Unchanged),
    ("config_bert.json", "max_position_embeddings", "512", Stored),
    ("config_bert.json", "model_type", "bert", Unchanged),
    ("config_bert.json", "num_attention_heads", "12", Unchanged),
    ("config_bert.json", "num_hidden_layers", "12", Stored),
    ("config_bert.json", "pad_token_id", "0", Unchanged),
    ("config_bert.json", "type_vocab_size", "2", Unchanged),
    ("config_bert.json", "vocab_size", "30522", Stored),
    ("config_bert.json", "encoder_width", "-", Stored),
    ("config_bert.json", "add_cross_attention", "False", Unchanged),
    ("config_bert.json", "use_cache", "True", Unchanged),
    ("config_bert.json", "gradient_checkpointing", "False", Unchanged),
    ("config_bert.json", "text_encoder_layers", "-", Stored),
    ("config_bert.json", "fusion_layers", "-", Refused("config_bert.json: it has no `fusion_layers`")),
    ("config_bert.json", "text_decode_layers", "-", Stored),
    ("config_bert.json", "stride_layer", "100", Default(|config| config.text.connected_stride, 100)),
    ("config.yaml", "task", "visual-question-answering", Refused("config.yaml without `task`")),
    ("config.yaml", "bert_config", "config_bert.json", Unchanged),
    ("config.yaml", "batch_size_train", "128", Unchanged),
    ("config.yaml", "batch_size_test", "64", Unchanged),
    ("config.yaml", "k_test", "128", Unchanged),
    ("config.yaml", "alpha", "0.4", Unchanged),
    ("config.yaml", "warm_up", "True", Unchanged),
    ("config.yaml", "eos", "[SEP]", Unchanged),
    ("config.yaml", "text_encoder", "bert-base-uncased", Unchanged),
    ("config.yaml", "text_decoder", "bert-base-uncased", Unchanged),
    ("config.yaml", "clip_name", "ViT-L-14", Stored),
    ("config.yaml", "vision_width", "1024", Stored),
    ("config.yaml", "clip_vision_width", "1024", Stored),
    ("config.yaml", "clip_vision_patch_size", "14", Stored),
    ("config.yaml", "clip_embed_dim", "768", Stored),
    ("config.yaml", "clip_image_resolution", "224", Unchanged),
    ("config.yaml", "clip_vision_layers", "24", Stored),
    ("config.yaml", "clip_context_length", "77", Stored),
    ("config.yaml", "clip_vocab_size", "49408", Stored),
    ("config.yaml", "clip_transformer_width", "768", Stored),
    ("config.yaml", "clip_transformer_heads", "12", Stored),
    ("config.yaml", "clip_transformer_layers", "12", Stored),
    ("config.yaml", "image_res", "504", Stored),
    ("config.yaml", "distill", "True", Unchanged),
    ("config.yaml", "min_length", "1", Unchanged),
    ("config.yaml", "max_length", "10", Default(|config| config.generation.max_new_tokens, 10)),
    ("config.yaml", "beam_size", "5", Unchanged),
];

/// Whether the row of a key holds for the model of a case.
fn check_key(models: &Models, case: &Value, base: &ModelConfig, unchanged: &[Value], ours: Ours) {
    let what = format!("{} {}", case["model"], case["edits"]);
    let folder = models.of(case);
    let opened = open(folder.path());
    let answers = case["answers"].as_array();
    let original_is_sure = answers.is_some() && case["random"] == 0;
    match ours {
        Refused(part) if opened.is_err() => {
            assert!(!original_is_sure || base.task == Task::ImageCaptioning, "{what}: the original answers");
            assert!(opened.unwrap_err().contains(part), "{what}");
        }
        Default(value, expected) => {
            let opened = opened.unwrap_or_else(|problem| panic!("{what}: {problem}"));
            assert_eq!(value(&opened.config), expected, "{what}");
            assert_same(&opened, case);
        }
        Unchanged | Stored | Refused(_) => {
            assert_eq!(opened.unwrap_or_else(|problem| panic!("{what}: {problem}")).config, *base, "{what}");
            if original_is_sure {
                let answers = answers.unwrap();
                assert_eq!(answers[..], unchanged[..answers.len()], "{what}: the original answers otherwise");
            } else {
                assert!(matches!(ours, Stored | Refused(_)), "{what}: the original does not answer");
            }
        }
    }
}

#[test]
fn a_key_that_a_file_lacks_has_the_originals_default() {
    let (models, cases) = (Models::new(), cases());
    let mut seen = BTreeSet::new();
    let mut bases = BTreeMap::new();
    for case in &cases {
        let Some(key) = dropped(case) else { continue };
        let model = case["model"].as_str().unwrap();
        let base = bases.entry(model).or_insert_with(|| {
            let folder = models.edited(model, &Value::Array(Vec::new()));
            let opened = open(folder.path()).unwrap();
            let unchanged =
                cases.iter().find(|other| other["model"] == model && other["edits"] == serde_json::json!([]));
            let answers = unchanged.and_then(|case| case["answers"].as_array().cloned());
            (opened.config, answers.unwrap_or_default())
        });
        let row = KEYS.iter().find(|(file, name, ..)| (*file, *name) == key);
        let (.., ours) = row.unwrap_or_else(|| panic!("{key:?} has no row"));
        check_key(&models, case, &base.0, &base.1, *ours);
        seen.insert(key);
    }
    let rows: BTreeSet<(&str, &str)> = KEYS.iter().map(|(file, key, ..)| (*file, *key)).collect();
    assert_eq!(rows, seen, "every row is tried");
}

#[test]
fn folders_that_the_original_answers_from_are_answered_from() {
    let models = Models::new();
    for case in cases().iter().filter(|case| dropped(case).is_none_or(|(_, key)| key == "stride_layer")) {
        let what = format!("{} {}", case["model"], case["edits"]);
        let folder = models.of(case);
        let opened = open(folder.path());
        if case["answers"].is_array() {
            assert_same(&opened.unwrap_or_else(|problem| panic!("{what}: {problem}")), case);
        } else if let Ok(model) = opened {
            // The original fails where a text needs a token without an embedding.
            let outcomes = write(&model, &case["inputs"]);
            let problem = outcomes.into_iter().find_map(Result::err);
            let problem = problem.unwrap_or_else(|| panic!("{what}: the original fails"));
            assert!(
                problem.contains("vocab.txt; the model has word embeddings for 0 to 802 only"),
                "{what}: {problem}"
            );
        }
    }
}

#[test]
fn a_vocabulary_of_another_size_is_a_note() {
    let models = Models::new();
    for (edit, tokens) in [
        (serde_json::json!([{ "vocabulary": "append", "text": "\n" }]), Some(804)),
        (serde_json::json!([{ "vocabulary": "keep", "lines": 700 }]), Some(700)),
        (serde_json::json!([{ "vocabulary": "line_ends", "text": "\r" }]), None),
    ] {
        let folder = models.edited("tiny", &edit);
        let model = open(folder.path()).unwrap();
        let note = tokens.map(|tokens| FolderNote::VocabularySize {
            path: folder.path().join("vocab.txt"),
            tokens,
            rows: 803,
        });
        assert_eq!(model.notes(), note.as_slice(), "{edit}");
        assert!(
            model.notes().iter().all(|note| note.to_string().contains("the model has 803 word embeddings"))
        );
    }
}

#[test]
fn a_stride_is_guessed_only_where_there_is_no_bert_json() {
    let models = Models::new();
    for (model, stride) in [("tiny_vqa", 3), ("tiny_large_vqa", 6)] {
        let folder =
            models.edited(model, &serde_json::json!([{ "file": "config.yaml", "drop": "bert_config" }]));
        fs::remove_file(folder.path().join("config_bert.json")).unwrap();
        let opened = open(folder.path()).unwrap();
        assert_eq!(opened.config.text.connected_stride, stride);
        let path = folder.path().join("config_bert.json");
        assert_eq!(opened.notes(), [FolderNote::GuessedStride { path: path.clone(), stride }]);
        fs::write(path, r#"{"fusion_layers": 4, "num_attention_heads": 4}"#).unwrap();
        let opened = open(folder.path()).unwrap();
        assert_eq!((opened.config.text.connected_stride, opened.notes()), (100, &[][..]));
    }
}

#[test]
fn heads_and_layers_that_a_bert_json_does_not_say_are_twelve() {
    let models = Models::new();
    let drop = serde_json::json!([{ "file": "config_bert.json", "drop": "num_attention_heads" }]);
    let folder = models.edited("tiny_large", &drop);
    // 12 heads do not divide 64: the original refuses as well.
    assert!(open(folder.path()).unwrap_err().contains("`num_attention_heads: 12` in config_bert.json"));

    // Of 14 fusion layers that are stored the original builds the first 12, and runs the last 6 of these.
    let tiny = ModelConfig::tiny(Task::VisualQuestionAnswering);
    let text = TextConfig { first_fusion_layer: 8, fusion_layers: 6, ..tiny.text.clone() };
    let config = ModelConfig { text, ..tiny };
    let checkpoint = seeded_checkpoint(&config, 1).unwrap();
    let mut texts = ConfigTexts::describing(&config);
    let resolve = |texts: &ConfigTexts| {
        let text = ModelConfig::resolve(&checkpoint, texts, &ConfigOverrides::default()).unwrap().text;
        (text.first_fusion_layer, text.fusion_layers)
    };
    assert_eq!(resolve(&texts), (8, 6));
    let (_, bert_json) = texts.bert_json.as_mut().unwrap();
    let mut json: Value = serde_json::from_str(bert_json).unwrap();
    json.as_object_mut().unwrap().remove("num_hidden_layers").unwrap();
    *bert_json = json.to_string();
    assert_eq!(resolve(&texts), (6, 6));
}

#[test]
fn a_named_bert_json_is_read_in_the_folder_alone() {
    let models = Models::new();
    let named = |name: &str| {
        let set = serde_json::json!([{ "file": "config.yaml", "set": "bert_config", "value": name }]);
        models.edited("tiny_vqa", &set)
    };
    let absolute = models.folder.path().join("config_bert.json");
    fs::copy(fixture("golden/tiny_vqa/config_bert.json"), &absolute).unwrap();
    for (name, part) in [
        ("configs/config_bert.json", "names a file that is not there"),
        ("other.json", "names a file that is not there"),
        ("vocab.txt/config_bert.json", "names a file that is not there"),
        ("../config_bert.json", "is no path of a file in the model folder"),
        ("configs/../config_bert.json", "is no path of a file in the model folder"),
        (absolute.to_str().unwrap(), "is no path of a file in the model folder"),
        ("configs\\config_bert.json", "is no path of a file in the model folder"),
        ("", "is no path of a file in the model folder"),
        (".", "is no path of a file in the model folder"),
    ] {
        let folder = named(name);
        let problem = open(folder.path()).unwrap_err();
        assert!(problem.contains(&format!("bert_config: {name}` {part}")), "{name}: {problem}");
    }
}

#[cfg(unix)]
#[test]
fn a_named_bert_json_does_not_follow_links_out_of_the_folder() {
    use std::os::unix::fs::symlink;
    let models = Models::new();
    let set =
        serde_json::json!([{ "file": "config.yaml", "set": "bert_config", "value": "configs/bert.json" }]);
    let outside = tempfile::tempdir().unwrap();
    fs::copy(fixture("golden/tiny_vqa/config_bert.json"), outside.path().join("bert.json")).unwrap();
    // A folder that is a link, and a file.
    let folder = models.edited("tiny_vqa", &set);
    symlink(outside.path(), folder.path().join("configs")).unwrap();
    assert!(open(folder.path()).unwrap_err().contains("leads out of the model folder"));
    fs::remove_file(folder.path().join("configs")).unwrap();
    fs::create_dir(folder.path().join("configs")).unwrap();
    symlink(outside.path().join("bert.json"), folder.path().join("configs/bert.json")).unwrap();
    assert!(open(folder.path()).unwrap_err().contains("leads out of the model folder"));
    // A link that stays in it.
    fs::remove_file(folder.path().join("configs/bert.json")).unwrap();
    symlink("../config_bert.json", folder.path().join("configs/bert.json")).unwrap();
    let config = open(folder.path()).unwrap().config;
    // A snapshot in Hugging Face's cache is links to the blobs beside the snapshots.
    let snapshot = outside.path().join("snapshots/1");
    fs::create_dir_all(snapshot.join("configs")).unwrap();
    fs::create_dir(outside.path().join("blobs")).unwrap();
    fs::rename(outside.path().join("bert.json"), outside.path().join("blobs/b")).unwrap();
    for name in ["configuration.json", "config.yaml", "vocab.txt", WEIGHTS] {
        symlink(folder.path().join(name), snapshot.join(name)).unwrap();
    }
    symlink("../../../blobs/b", snapshot.join("configs/bert.json")).unwrap();
    assert_eq!(open(&snapshot).unwrap().config, config);
}

#[test]
fn a_converted_folder_has_its_bert_json_where_it_is_named() {
    let models = Models::new();
    let edits = serde_json::json!([
        { "move": "config_bert.json", "to": "configs/deep/bert.json" },
        { "file": "config.yaml", "set": "bert_config", "value": "configs/deep/bert.json" },
        { "file": "configs/deep/bert.json", "drop": "stride_layer" },
    ]);
    let folder = models.edited("tiny_vqa", &edits);
    fs::write(folder.path().join("tokenizer_config.json"), r#"{"do_lower_case": false}"#).unwrap();
    assert_eq!(bert_json_below(folder.path()), Some(folder.path().join("configs/deep/bert.json")));
    let source = open(folder.path()).unwrap();
    assert_eq!(source.config.text.connected_stride, 100);
    for format in [FileFormat::Safetensors, FileFormat::Pytorch] {
        let dest = models.folder.path().join(format!("{format:?}"));
        write_model_folder(&dest, &source, &WriteOptions { format, ..WriteOptions::default() }).unwrap();
        assert!(dest.join("configs/deep/bert.json").is_file() && !dest.join("config_bert.json").exists());
        let written = open(&dest).unwrap();
        assert_eq!(written.config, source.config);
        assert_eq!(
            written.tokenizer_config(),
            source.tokenizer_config(),
            "texts are cut into the same tokens"
        );
    }
}
