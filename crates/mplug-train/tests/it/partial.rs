//! A new network that takes what fits of another model's weights.

use burn::tensor::Device;
use mplug::checkpoint::seeded::{Draw, DrawnTensor, seeded_tensors};
use mplug::checkpoint::{TensorReader, Values, WriteOptions, write_model_folder_of};
use mplug::config::{ModelConfig, Task};
use mplug_nn::Initial;
use mplug_train::TrainConfig;
use mplug_train::initial_weights::InitialWeights;

const OLD: [&str; 6] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat"];
const NEW: [&str; 7] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dog", "cat"];
const WORDS: &str = "text_decoder.bert.embeddings.word_embeddings.weight";
const BIAS: &str = "text_decoder.cls.predictions.bias";

fn recipe(weights: &std::path::Path, config: &ModelConfig) -> TrainConfig {
    let (vision, text) = (&config.vision, &config.text);
    let weights = toml::Value::String(weights.to_str().expect("utf-8").to_owned()).to_string();
    let recipe = format!(
        r#"
        output = "unused"
        [model]
        weights = {weights}
        image_size = {image_size}
        patch_size = {patch_size}
        vision_width = {vision_width}
        vision_layers = {vision_layers}
        text_width = {width}
        text_heads = {heads}
        text_intermediate = {intermediate}
        decoder_layers = {decoder_layers}
        max_position_embeddings = {positions}
        [data]
        kind = "synth"
        language = "zh"
        seed = 1
        held_out_seed = 2
        [run]
        steps = 1
        batch_size = 2
        micro_batch_size = 2
        threads = 1
        data_threads = 1
        log_every = 1
        checkpoint_every = 1
        [optimizer]
        learning_rate = 1e-3
        weight_decay = 0.02
        clip_norm = 1.0
        [schedule]
        warmup_steps = 0
        [evaluation]
        every = 1
        pictures = 1
        "#,
        image_size = 2 * vision.image_size,
        patch_size = vision.patch_size,
        vision_width = vision.hidden_size,
        vision_layers = vision.num_hidden_layers,
        width = text.hidden_size,
        heads = text.num_attention_heads,
        intermediate = text.intermediate_size,
        decoder_layers = text.decoder_layers + 1,
        positions = text.max_position_embeddings,
    );
    TrainConfig::from_toml(&recipe, &[]).expect("a good recipe")
}

/// A recipe that goes on with the model at `path` itself.
fn going_on(path: &std::path::Path, config: &ModelConfig) -> TrainConfig {
    let fresh = recipe(path, config);
    let mut table: toml::Table = toml::from_str(&fresh.to_toml()).expect("a recipe");
    table.remove("model");
    let model = path.to_str().expect("utf-8");
    let start = format!("[start]\nmodel = {}\nmax_text_tokens = 10", toml::Value::String(model.to_owned()));
    table.extend(toml::from_str::<toml::Table>(&start).expect("a table"));
    TrainConfig::from_toml(&table.to_string(), &[]).expect("a good recipe")
}

#[test]
fn weights_to_start_from_are_looked_at_as_the_engine_looks_at_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = ModelConfig::tiny(Task::ImageCaptioning);
    config.text.vocab_size = OLD.len();
    let vocabulary = OLD.join("\n") + "\n";
    let broken = "text_decoder.bert.encoder.layer.1.output.dense.weight";
    let write = |name: &str, tensor: &str, shape: Vec<usize>| {
        let mut tensors = seeded_tensors(&config, 3);
        let values = Values::F32(vec![f32::NAN; shape.iter().product()]);
        tensors.tensors.retain(|old| old.name != tensor);
        tensors.tensors.push(DrawnTensor { name: tensor.to_owned(), shape, draw: Draw::Given(values) });
        let path = folder.path().join(name);
        write_model_folder_of(&path, &config, &vocabulary, &tensors, &WriteOptions::default())
            .expect("a folder");
        path
    };
    let text = &config.text;
    let more = write("more", "my_head.weight", vec![2, 2]);
    let nan = write("nan", broken, vec![text.hidden_size, text.intermediate_size]);
    for recipe in [recipe, going_on] {
        let mut lax = recipe(&more, &config);
        let initial = InitialWeights::open(&lax).expect("the model opens");
        let (file, names) = initial.unexpected().expect("a tensor that nobody knows");
        assert_eq!(
            (file, names),
            (&*more.join("model.safetensors").display().to_string(), &["my_head.weight".to_owned()][..])
        );
        initial.model(&lax, &vocabulary, &Device::default()).expect("it is not used");
        lax.strict = true;
        let refused = InitialWeights::open(&lax).err().expect("strict").to_string();
        assert!(refused.contains("1 unexpected: my_head.weight"), "{refused}");

        let mut strict = recipe(&nan, &config);
        strict.strict = true;
        let initial = InitialWeights::open(&strict).expect("it has what it should");
        assert_eq!(initial.unexpected(), None);
        let refused =
            initial.model(&strict, &vocabulary, &Device::default()).map(drop).expect_err("NaN").to_string();
        assert!(
            refused.contains(broken) && refused.contains("6144 of 6144, the first at [0, 0] (NaN)"),
            "{refused}"
        );
    }
}

#[test]
fn what_fits_is_taken_and_the_rest_drawn() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = ModelConfig::tiny(Task::ImageCaptioning);
    config.text.vocab_size = OLD.len();
    let tensors = seeded_tensors(&config, 3);
    let options = WriteOptions::default();
    let path = folder.path().join("old");
    write_model_folder_of(&path, &config, &(OLD.join("\n") + "\n"), &tensors, &options).expect("a folder");
    let old = |name: &str| {
        let found = tensors.entries().iter().position(|entry| entry.name == name).expect(name);
        match tensors.read(found).expect(name) {
            Values::F32(values) => values,
            other => panic!("{name} is {other:?}"),
        }
    };

    let initial = InitialWeights::open(&recipe(&path, &config)).expect("the old model opens");
    let mut weights = initial.weights(&(NEW.join("\n") + "\n"));
    let width = config.text.hidden_size;
    let draw = Initial::Normal(0.02);

    // Tables by token: the rows of known tokens, wherever they are; that of the new one is drawn.
    let words = weights.read(WORDS, &[NEW.len(), width], draw).expect("words");
    let row = |table: &[f32], number: usize| table[number * width..][..width].to_vec();
    assert_eq!(words[..5 * width], old(WORDS)[..5 * width]);
    assert_eq!(row(&words, 6), row(&old(WORDS), 5));
    assert!(row(&words, 5) != row(&old(WORDS), 5) && words[5 * width..6 * width].iter().any(|v| *v != 0.0));
    let bias = weights.read(BIAS, &[NEW.len()], Initial::Zeros).expect("bias");
    assert_eq!((bias[6], bias[5]), (old(BIAS)[5], 0.0));

    // The same name and shape; a layer that the old model has not; positions of another picture size.
    let same = "text_decoder.bert.encoder.layer.0.output.dense.bias";
    assert_eq!(weights.read(same, &[width], Initial::Zeros).expect("a bias"), old(same));
    let new = format!("text_decoder.bert.encoder.layer.{}.output.dense.bias", config.text.decoder_layers);
    assert_eq!(weights.read(&new, &[width], Initial::Zeros).expect("a bias"), vec![0.0; width]);
    let other_shape = weights.read(same, &[2 * width], Initial::Constant(7.0)).expect("drawn");
    assert_eq!(other_shape, vec![7.0; 2 * width]);
    let grid = 2 * config.vision.image_size / config.vision.patch_size;
    let positions = "visual_encoder.visual.positional_embedding";
    let table =
        weights.position_embedding(positions, grid, config.vision.hidden_size, draw).expect("positions");
    let class = config.vision.hidden_size;
    assert_eq!(table.len(), (1 + grid * grid) * class);
    assert_eq!(table[..class], old(positions)[..class]);
}
