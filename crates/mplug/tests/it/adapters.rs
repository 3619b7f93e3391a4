//! Adapters as PEFT writes them: read into a model, merged, and refused where they do not fit.

use std::path::Path;

use mplug::checkpoint::adapter::{
    ADAPTER_CONFIG, ADAPTER_WEIGHTS, Adapter, AdapterSettings, BASE_MODEL, low_rank_product,
    weights_fingerprint, write_adapter_files,
};
use mplug::checkpoint::{Dtype, ModelFolder, WriteOptions, write_model_folder, write_safetensors};
use mplug::config::{ConfigOverrides, Task};
use mplug::preprocess::image::RgbImage;
use mplug::tasks::{Captioner, LoadOptions};
use mplug::{OpenOptions, Precision};
use mplug_testing::model::write_tiny_model;

type Tensor = (String, Vec<usize>, Vec<f32>);

const RANK: usize = 2;
const QUERY: &str = "text_decoder.bert.encoder.layer.0.attention.self.query";

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 29 % 13) as f32 - 6.0) / 40.0).collect()
}

fn base(folder: &Path) -> ModelFolder {
    let path = folder.join("model");
    if !path.exists() {
        write_tiny_model(&path, Task::ImageCaptioning, &WriteOptions::default(), |_| ());
    }
    ModelFolder::open(&path, &ConfigOverrides::default()).expect("a model")
}

/// Matrices beside two weights of the decoder and the packed one of an attention of the visual encoder.
fn tensors(model: &ModelFolder) -> Vec<Tensor> {
    let block = "visual_encoder.visual.transformer.resblocks.0";
    let mut tensors = Vec::new();
    for (module, weight) in [
        (QUERY.to_owned(), format!("{QUERY}.weight")),
        (
            "text_decoder.bert.encoder.layer.0.output.dense".to_owned(),
            "text_decoder.bert.encoder.layer.0.output.dense.weight".to_owned(),
        ),
        (format!("{block}.attn"), format!("{block}.attn.in_proj_weight")),
    ] {
        let shape = model.checkpoint().shape(&weight).expect("a weight");
        let (output, input) = (shape[0], shape[1]);
        tensors.push((format!("{module}.lora_A.weight"), vec![RANK, input], numbers(RANK * input)));
        tensors.push((format!("{module}.lora_B.weight"), vec![output, RANK], numbers(output * RANK)));
    }
    tensors
}

fn write(folder: &Path, model: &ModelFolder, tensors: Vec<Tensor>) {
    let _old = std::fs::remove_dir_all(folder);
    std::fs::create_dir(folder).expect("a folder");
    let settings = AdapterSettings {
        rank: RANK,
        alpha: 5.0,
        dropout: 0.1,
        base_name: "tiny".to_owned(),
        base_fingerprint: weights_fingerprint(model.checkpoint(), &model.config).expect("a fingerprint"),
    };
    write_adapter_files(folder, &settings, tensors).expect("written");
}

#[test]
fn weights_are_read_with_what_the_adapter_adds_and_merge_into_a_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (adapter, merged) = (folder.path().join("adapter"), folder.path().join("merged"));
    let plain = base(folder.path());
    write(&adapter, &plain, tensors(&plain));
    let opened = Adapter::open(&adapter).expect("an adapter");
    assert_eq!((opened.len(), opened.rank(), opened.base_name()), (3, RANK, Some("tiny")));
    let config = std::fs::read_to_string(adapter.join(ADAPTER_CONFIG)).expect("settings");
    let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!((&config["r"], &config["lora_alpha"]), (&2.into(), &5.0.into()));
    let modules = config["target_modules"].as_array().expect("modules");
    assert!(modules.len() == 3 && modules.contains(&QUERY.into()), "{modules:?}");

    let adapted = base(folder.path()).with_adapter(&adapter).expect("it fits");
    let name = format!("{QUERY}.weight");
    let [before, after] = [&plain, &adapted].map(|model| model.checkpoint().read_f32(&name).expect("read"));
    let width = plain.checkpoint().shape(&name).expect("a weight")[1];
    let added = low_rank_product(&numbers(RANK * width), &numbers(width * RANK), RANK, 2.5);
    for ((before, after), added) in before.iter().zip(&after).zip(added) {
        assert!((before + added - after).abs() < 1e-6);
    }
    let key = "text_decoder.bert.encoder.layer.0.attention.self.key.weight";
    let [before, after] = [&plain, &adapted].map(|model| model.checkpoint().read_f32(key).expect("read"));
    assert_eq!(before, after);

    write_model_folder(&merged, &adapted, &WriteOptions::default()).expect("written");
    let merged = ModelFolder::open(&merged, &ConfigOverrides::default()).expect("a model");
    let image = RgbImage::from_fn(40, 30, |x, y| [(x * 6) as u8, (y * 8) as u8, 90].into());
    for precision in [Precision::F32, Precision::Int8] {
        let caption = |model: &ModelFolder| {
            let options = LoadOptions { precision: Some(precision), ..LoadOptions::default() };
            let captioner = Captioner::load_with(model, &options).expect("loads");
            let found = captioner.caption_batch(std::slice::from_ref(&image), &captioner.default_options());
            found.expect("a caption")[0][0].score.to_bits()
        };
        assert_eq!(caption(&adapted), caption(&merged), "{precision:?}");
        assert_ne!(caption(&adapted), caption(&plain), "{precision:?}");
    }
    let options = OpenOptions { adapter: Some(adapter.clone()), ..OpenOptions::default() };
    let opened = mplug::open(folder.path().join("model"), Task::ImageCaptioning, &options).expect("opened");
    assert_eq!(opened.checkpoint().read_f32(&name).ok(), adapted.checkpoint().read_f32(&name).ok());
    assert!(opened.with_adapter(&adapter).expect_err("twice").to_string().contains("already"));
}

#[test]
fn an_adapter_that_does_not_fit_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let adapter = folder.path().join("adapter");
    let plain = base(folder.path());
    let refused = |model: ModelFolder| model.with_adapter(&adapter).expect_err("refused").to_string();

    let none = refused(base(folder.path()));
    assert!(none.contains("adapter") && none.contains(ADAPTER_CONFIG), "{none}");

    // Another model of the same shape.
    write(&adapter, &plain, tensors(&plain));
    let other = folder.path().join("other");
    write_tiny_model(&other, Task::ImageCaptioning, &WriteOptions::default(), |recipe| recipe.seed += 1);
    let other = || ModelFolder::open(&other, &ConfigOverrides::default()).expect("a model");
    let message = refused(other());
    assert!(message.contains("trained on `tiny`") && message.contains("SHA-256"), "{message}");
    // As somebody else's adapter it would do.
    std::fs::remove_file(adapter.join(BASE_MODEL)).expect("removed");
    other().with_adapter(&adapter).expect("by its shapes it fits");

    let mut wider = tensors(&plain);
    wider[0] = (wider[0].0.clone(), vec![RANK, 7], numbers(RANK * 7));
    let mut uneven = tensors(&plain);
    uneven[1].1 = vec![uneven[1].2.len(), 1];
    let elsewhere = |module: &str| {
        let tensor = |end: &str, shape: [usize; 2]| {
            (format!("{module}.{end}.weight"), shape.to_vec(), numbers(shape[0] * shape[1]))
        };
        vec![tensor("lora_A", [1, 4]), tensor("lora_B", [4, 1])]
    };
    let mut lone = tensors(&plain);
    lone.remove(0);
    for (tensors, expected) in [
        (wider, "has shape"),
        (uneven, "rank"),
        (elsewhere("text_decoder.bert.encoder.layer.99.attention.self.query"), "does not have"),
        (elsewhere("text_decoder.cls.predictions.decoder"), "two names"),
        (lone, "expected pairs"),
        (elsewhere("visual_encoder.visual.transformer.resblocks.0.attn.base_layer.out_proj"), "twice"),
    ] {
        write(&adapter, &plain, tensors);
        let message = refused(base(folder.path()));
        assert!(message.contains(expected), "{message} lacks {expected}");
    }

    write(&adapter, &plain, tensors(&plain));
    let config = std::fs::read_to_string(adapter.join(ADAPTER_CONFIG)).expect("settings");
    for (from, to, expected) in [
        ("\"LORA\"", "\"IA3\"", "expected the peft_type `LORA`"),
        ("\"bias\": \"none\"", "\"bias\": \"all\"", "expected no `bias`"),
        ("\"bias\": \"none\"", "\"use_dora\": true", "expected no `use_dora`"),
        ("\"peft_type\"", "\"kind\"", "peft_type"),
        ("{", "[", ADAPTER_CONFIG),
    ] {
        std::fs::write(adapter.join(ADAPTER_CONFIG), config.replacen(from, to, 1)).expect("changed");
        let message = refused(base(folder.path()));
        assert!(message.contains(expected), "{message} lacks {expected}");
    }
    std::fs::write(adapter.join(ADAPTER_CONFIG), &config).expect("as it was");
    let nan: Vec<Tensor> = tensors(&plain)
        .into_iter()
        .map(|(name, shape, mut values)| {
            values[0] = f32::NAN;
            (format!("base_model.model.{name}"), shape, values)
        })
        .collect();
    write_safetensors(&adapter.join(ADAPTER_WEIGHTS), nan.as_slice(), Dtype::F32).expect("written");
    assert!(refused(base(folder.path())).contains("finite"));
}
