//! What we write for PyTorch and the original: every value comes back, there and back are the same bytes, other readers of zip
//! files agree, and the state dict is complete. `reference/check_pytorch_export.py` holds the same to PyTorch and the original.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use mplug::checkpoint::seeded::{Recipe, seeded_tensors, synthetic_vocabulary, tensors_from_manifest};
use mplug::checkpoint::{
    Checkpoint, CheckpointFormat, Dtype, FileFormat, Keep, ModelFolder, StateDict, TensorReader, Values,
    WriteOptions, write_model_folder, write_model_folder_of, write_pytorch, write_safetensors,
};
use mplug::config::{ConfigOverrides, ModelConfig, Task};

use super::golden::golden_folder;

const SMALL_FILES: [&str; 4] = ["configuration.json", "config.yaml", "config_bert.json", "vocab.txt"];
const PYTORCH: WriteOptions =
    WriteOptions { dtype: Dtype::F32, format: FileFormat::Pytorch, keep: Keep::All, overwrite: false };

/// A golden model in safetensors, and the recipe of its tensors.
fn golden_safetensors(model: &str) -> (tempfile::TempDir, Recipe) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(model);
    let folder = tempfile::tempdir().unwrap();
    for name in SMALL_FILES {
        fs::copy(source.join(name), folder.path().join(name)).unwrap();
    }
    let manifest = fs::read_to_string(source.join("manifest.json")).unwrap();
    let recipe =
        tensors_from_manifest(&manifest, fs::read(source.join("explicit.safetensors")).ok()).unwrap();
    write_safetensors(&folder.path().join("model.safetensors"), &recipe, Dtype::F32).unwrap();
    (folder, recipe)
}

fn open(folder: &Path) -> ModelFolder {
    ModelFolder::open(folder, &ConfigOverrides::default()).unwrap()
}

/// Writes `source` again as `options` say, and gives the new folder.
fn converted(source: &Path, dest: PathBuf, options: WriteOptions) -> PathBuf {
    write_model_folder(&dest, &open(source), &options).unwrap();
    dest
}

fn bits(values: Values) -> Vec<u64> {
    match values {
        Values::F32(v) => v.into_iter().map(|v| v.to_bits().into()).collect(),
        Values::I64(v) => v.into_iter().map(|v| v as u64).collect(),
        Values::I8(v) => v.into_iter().map(|v| v as u64).collect(),
    }
}

fn weights(folder: &Path) -> Vec<u8> {
    let name = ["model.safetensors", "pytorch_model.bin"].into_iter().find(|name| folder.join(name).exists());
    fs::read(folder.join(name.unwrap())).unwrap()
}

#[test]
fn golden_models_go_there_and_back_bit_for_bit() {
    for model in ["tiny_large", "tiny_large_vqa", "tiny_large_itr"] {
        let (source, recipe) = golden_safetensors(model);
        let out = tempfile::tempdir().unwrap();
        let to = |name: &str| out.path().join(name);
        let safetensors = converted(source.path(), to("safetensors"), WriteOptions::default());
        let pytorch = converted(source.path(), to("pytorch"), PYTORCH);
        let checkpoint = Checkpoint::open(&pytorch.join("pytorch_model.bin")).unwrap();
        assert_eq!(checkpoint.format(), CheckpointFormat::PytorchZip);
        assert_eq!(checkpoint.names().count(), recipe.tensors.len(), "{model}: the original's very names");
        for (index, tensor) in recipe.tensors.iter().enumerate() {
            assert_eq!(checkpoint.shape(&tensor.name), Some(tensor.shape.as_slice()), "{}", tensor.name);
            let read = checkpoint.read_values(&tensor.name).unwrap();
            assert!(bits(read) == bits(recipe.draw(index)), "{model}: {}", tensor.name);
        }
        let back = converted(&pytorch, to("back"), WriteOptions::default());
        assert!(weights(&back) == weights(&safetensors), "{model}: the same safetensors file");
        let again = converted(&back, to("again"), PYTORCH);
        assert!(weights(&again) == weights(&pytorch), "{model}: equal input gives equal bytes");
        for name in SMALL_FILES {
            assert_eq!(fs::read(again.join(name)).unwrap(), fs::read(source.path().join(name)).unwrap());
        }
    }
}

#[test]
fn halves_and_parts_go_there_and_back_too() {
    let (source, _) = golden_safetensors("tiny_large");
    for (dtype, keep) in [(Dtype::F16, Keep::All), (Dtype::Bf16, Keep::Task), (Dtype::F32, Keep::Task)] {
        let out = tempfile::tempdir().unwrap();
        let options = WriteOptions { dtype, keep, ..WriteOptions::default() };
        let direct = converted(source.path(), out.path().join("direct"), options);
        let format = FileFormat::PytorchTrainer;
        let there = converted(source.path(), out.path().join("there"), WriteOptions { format, ..options });
        let back = converted(&there, out.path().join("back"), options);
        assert!(weights(&direct) == weights(&back), "{dtype}");
    }
}

#[test]
fn an_independent_reader_finds_stored_aligned_entries_with_right_checksums() {
    let folder = golden_folder();
    let mut zip = zip::ZipArchive::new(File::open(folder.path().join("pytorch_model.bin")).unwrap()).unwrap();
    let mut num_storages = 0;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).unwrap();
        assert_eq!(entry.compression(), zip::CompressionMethod::Stored);
        let name = entry.name().unwrap().into_owned();
        assert_eq!(entry.data_start().unwrap() % 64, 0, "{name}");
        num_storages += usize::from(name.starts_with("archive/data/"));
        // Reading to the end compares the checksum.
        let len = std::io::copy(&mut entry, &mut std::io::sink()).unwrap();
        assert_eq!(len, entry.size());
    }
    let recipe = super::golden::recipe();
    assert_eq!(num_storages, recipe.entries().iter().filter(|entry| entry.same_as.is_none()).count());
    let names: Vec<_> =
        zip.file_names().map(Result::unwrap).filter(|name| !name.starts_with("archive/data/")).collect();
    assert_eq!(names, ["archive/data.pkl", "archive/byteorder", "archive/version"]);
}

/// What a trainer exports: every parameter once, under its first name.
fn parameters(config: &ModelConfig) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let recipe = seeded_tensors(config, 3);
    let entries = recipe.entries();
    let own = (0..entries.len()).filter(|&index| entries[index].same_as.is_none());
    own.map(|index| match recipe.draw(index) {
        Values::F32(values) => (entries[index].name.clone(), entries[index].shape.clone(), values),
        _ => unreachable!("drawn tensors are f32"),
    })
    .collect()
}

/// Names as the file has them: those of `candidates` that stand in its pickle.
fn stored_names<'n>(file: &Path, candidates: &[&'n str]) -> Vec<&'n str> {
    let mut zip = zip::ZipArchive::new(File::open(file).unwrap()).unwrap();
    let mut pickle = Vec::new();
    std::io::copy(&mut zip.by_name("archive/data.pkl").unwrap(), &mut pickle).unwrap();
    let is_stored = |name: &&str| {
        let text = [&(name.len() as u32).to_le_bytes()[..], name.as_bytes()].concat();
        pickle.windows(text.len()).any(|window| window == text)
    };
    candidates.iter().copied().filter(is_stored).collect()
}

#[test]
fn parameters_in_memory_become_a_complete_state_dict() {
    let config = ModelConfig::tiny(Task::ImageCaptioning);
    let vocabulary = synthetic_vocabulary(config.text.vocab_size);
    let tensors = parameters(&config);
    let out = tempfile::tempdir().unwrap();
    for (format, prefix) in [(FileFormat::Pytorch, ""), (FileFormat::PytorchTrainer, "model.")] {
        let folder = out.path().join(format!("{format:?}"));
        let options = WriteOptions { format, ..WriteOptions::default() };
        write_model_folder_of(&folder, &config, &vocabulary, tensors.as_slice(), &options).unwrap();
        let names = [
            "visual_encoder.visual.conv1.weight",
            "text_decoder.bert.embeddings.position_ids",
            "text_decoder.bert.embeddings.word_embeddings.weight",
            "text_decoder.cls.predictions.decoder.weight",
            "text_decoder.cls.predictions.bias",
            "text_decoder.cls.predictions.decoder.bias",
        ]
        .map(|name| format!("{prefix}{name}"));
        let names = names.each_ref().map(String::as_str);
        assert_eq!(stored_names(&folder.join("pytorch_model.bin"), &names), names);
        let model = open(&folder);
        assert_eq!(model.config, config);
        for (name, _, values) in &tensors {
            assert!(model.checkpoint().read_f32(name).unwrap() == *values, "{name}");
        }
        let ids = model.checkpoint().read_values("text_decoder.bert.embeddings.position_ids").unwrap();
        assert_eq!(ids, Values::I64((0..config.text.max_position_embeddings as i64).collect()));
        assert!(!model.checkpoint().has("text_encoder.embeddings.position_ids"), "there is no text encoder");
    }
}

#[test]
fn a_state_dict_adds_only_what_is_not_there() {
    let tensor =
        |name: &str, shape: &[usize]| (name.to_owned(), shape.to_vec(), vec![0.5; shape.iter().product()]);
    let given = [
        tensor("text_decoder.cls.predictions.decoder.weight", &[5, 2]),
        tensor("text_decoder.cls.predictions.bias", &[5]),
        tensor("text_decoder.cls.predictions.decoder.bias", &[5]),
        tensor("text_encoder.embeddings.position_embeddings.weight", &[4, 2]),
    ];
    let state_dict = StateDict::new(&given[..]).below("model");
    let entries = state_dict.entries();
    assert_eq!(entries.len(), 6);
    assert_eq!(entries[0].name, "model.text_decoder.cls.predictions.decoder.weight");
    assert_eq!(entries[4].name, "model.text_decoder.bert.embeddings.word_embeddings.weight");
    assert_eq!((entries[4].same_as, &entries[4].shape), (Some(0), &vec![5, 2]));
    assert_eq!(state_dict.read(4).unwrap(), Values::F32(vec![0.5; 10]));
    assert_eq!(entries[5].name, "model.text_encoder.embeddings.position_ids");
    assert_eq!((entries[5].fixed_dtype, &entries[5].shape), (Some(Dtype::I64), &vec![1, 4]));
    assert_eq!(state_dict.read(5).unwrap(), Values::I64(vec![0, 1, 2, 3]));
    // A second time there is nothing left to add.
    assert_eq!(StateDict::new(&StateDict::new(&given[..])).entries().len(), 6);
}

#[test]
fn a_name_that_occurs_twice_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let tensor = || ("a".to_owned(), vec![1], vec![0.0]);
    let reason = write_pytorch(&out.path().join("a.bin"), &[tensor(), tensor()][..], Dtype::F32).unwrap_err();
    assert!(reason.to_string().contains("`a`: the name occurs twice"), "{reason}");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_for_the_original_has_all_that_the_original_needs() {
    // A bare weight file, at another picture size: the original needs the small files and a table of that size.
    let source = golden_folder();
    for name in ["configuration.json", "config.yaml"] {
        fs::remove_file(source.path().join(name)).unwrap();
    }
    let out = tempfile::tempdir().unwrap();
    let pytorch = converted(source.path(), out.path().join("described"), PYTORCH);
    for name in SMALL_FILES {
        assert!(pytorch.join(name).is_file(), "{name}");
    }
    assert_eq!(open(&pytorch).config, open(source.path()).config);

    // The research code's file says less than the original needs, and names the BERT json as it lies in its repository.
    fs::create_dir(source.path().join("configs")).unwrap();
    fs::rename(source.path().join("config_bert.json"), source.path().join("configs/config_bert.json"))
        .unwrap();
    let research =
        "bert_config: configs/config_bert.json\nimage_res: 56\nvision_width: 1024\nmax_length: 9\n";
    fs::write(source.path().join("config.yaml"), research).unwrap();
    let pytorch = converted(source.path(), out.path().join("research"), PYTORCH);
    assert_eq!(open(&pytorch).config, open(source.path()).config);
    let yaml = fs::read_to_string(pytorch.join("config.yaml")).unwrap();
    for line in
        ["task: image-captioning", "bert_config: config_bert.json", "clip_vision_layers: 1", "max_length: 9"]
    {
        assert!(yaml.lines().any(|found| found == line), "{line}: {yaml}");
    }
    let kept = converted(source.path(), out.path().join("kept"), WriteOptions::default());
    assert_eq!(fs::read_to_string(kept.join("config.yaml")).unwrap(), research);
    assert_eq!(open(&kept).config, open(source.path()).config);
    assert!(kept.join("configs/config_bert.json").is_file() && !kept.join("config_bert.json").exists());

    let overrides = ConfigOverrides { image_size: Some(84), ..ConfigOverrides::default() };
    let model = ModelFolder::open(source.path(), &overrides).unwrap();
    let table = "visual_encoder.visual.positional_embedding";
    for (format, rows) in [(FileFormat::Safetensors, 17), (FileFormat::Pytorch, 37)] {
        let dest = out.path().join(format!("{format:?}"));
        write_model_folder(&dest, &model, &WriteOptions { format, ..WriteOptions::default() }).unwrap();
        let written = open(&dest);
        assert_eq!(written.config, model.config);
        assert_eq!(written.checkpoint().shape(table), Some(&[rows, 1024][..]), "{format:?}");
        let stored = model.checkpoint().read_f32(table).unwrap();
        assert!(
            written.checkpoint().read_f32(table).unwrap()[..1024] == stored[..1024],
            "the class token's row"
        );
    }
}
