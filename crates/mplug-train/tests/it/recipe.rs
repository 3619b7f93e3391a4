//! Recipes: the shipped one is good; unknown keys and senseless values are errors that name the field.

use mplug_train::TrainConfig;

const DEMO: &str = include_str!("../../../../configs/demo.toml");

fn with(key: &str, value: &str) -> Result<TrainConfig, String> {
    let overrides = [(key.to_owned(), value.to_owned())];
    TrainConfig::from_toml(DEMO, &overrides).map_err(|error| error.to_string())
}

#[test]
fn the_shipped_recipes_read_and_survive_writing() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("recipes") {
        let path = entry.expect("an entry").path();
        let config =
            TrainConfig::open(&path, &[]).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let again = TrainConfig::from_toml(&config.to_toml(), &[]).expect("what we write we read");
        assert_eq!(config, again);
        assert!(config.changes_since(&again).is_empty());
        count += 1;
    }
    assert!(count > 10, "only {count} recipes");
}

#[test]
fn overrides_set_numbers_and_text() {
    assert_eq!(with("run.steps", "7").expect("a number").run.steps, Some(7));
    assert_eq!(with("output", "some/where").expect("text").output.to_str(), Some("some/where"));
    assert_eq!(
        with("optimizer.vision_learning_rate", "1e-4").expect("new").optimizer.vision_learning_rate,
        Some(1e-4)
    );
}

#[test]
fn settings_of_texts_are_refused_where_none_are_written() {
    let with = |more: &[(&str, &str)]| {
        let more: Vec<_> = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let decodes = !more.iter().any(|(_, value)| value.contains("retrieval"));
        let recipe = if decodes { DEMO.to_owned() } else { DEMO.replace("decoder_layers = 3\n", "") };
        TrainConfig::from_toml(&recipe, &more).expect_err("refused").to_string()
    };
    let retrieval = ("objective", "{ kind = \"retrieval\" }");
    assert!(with(&[retrieval, ("generation.num_beams", "2")]).contains("generation"));
    assert!(with(&[retrieval, ("evaluation.meteor_jar", "a.jar")]).contains("evaluation.meteor_jar"));
    let answering = ("objective", "{ kind = \"answering\" }");
    assert!(with(&[answering, ("evaluation.spice_jar", "a.jar")]).contains("evaluation.spice_jar"));
}

#[test]
fn a_length_in_one_measure_takes_the_place_of_the_other() {
    let config = with("run.epochs", "3").expect("a number");
    assert_eq!((config.run.steps, config.run.epochs), (None, Some(3)));
    let recipe = include_str!("../../../../configs/caption-base.toml");
    let set = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        TrainConfig::from_toml(recipe, &pairs).map(|config| config.run)
    };
    let run = set(&[("run.steps", "200")]).expect("it takes the place of epochs");
    assert_eq!((run.steps, run.epochs, run.drop_last), (Some(200), None, false));
    assert!(
        set(&[("run.steps", "200"), ("run.epochs", "2")]).expect_err("both").to_string().contains("both")
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (key, value, word) in [
        ("run.stepz", "7", "stepz"),
        ("run.batch_sise", "7", "did you mean `batch_size`"),
        ("objective.kind", "retreival", "did you mean `retrieval`"),
        ("objective.candidates", "7", "kind"),
        ("objective", "{ kind = \"captioning\", candidates = 7 }", "candidates"),
        ("schedule.kind", "research", "min_ratio"),
        ("schedule.kind", "reserch", "did you mean `research`"),
        ("schedule.warmup_step", "7", "did you mean `warmup_steps`"),
        ("schedule", "{ kind = \"step\", step_size = \"two\" }", "step_size"),
        ("optimizer.kind", "sgd", "optimizer.betas"),
        ("run.drop_last", "true", "run.drop_last"),
        ("run.epochs", "0", "run.epochs"),
        (
            "run",
            "{ batch_size = 1, micro_batch_size = 1, threads = 1, data_threads = 1, log_every = 1, checkpoint_every = 1 }",
            "run.steps",
        ),
        ("evaluation.metric", "cidre", "did you mean `cider`"),
        ("evaluation.metric", "bleu4", "did you mean `bleu_4`"),
        ("evaluation.metric", "meteor", "evaluation.meteor_jar"),
        ("evaluation.metric", "spice", "evaluation.spice_jar"),
        ("evaluation.num_beams", "0", "evaluation.num_beams"),
        ("generation.num_beams", "257", "generation.num_beams"),
        ("generation.max_new_tokens", "0", "generation.max_new_tokens"),
        ("generation.max_tokens", "9", "did you mean `max_new_tokens`"),
        ("run.export", "onnx", "modelscope"),
        ("model.image_size", "97", "model.image_size"),
        ("model.vision_width", "100", "model.vision_width"),
        ("model.text_heads", "0", "model.text_width"),
        ("run.threads", "0", "run.threads"),
        ("optimizer.learning_rate", "-1.0", "optimizer.learning_rate"),
        ("optimizer.learning_rate", "nan", "optimizer.learning_rate"),
        ("optimizer.betas", "[0.9, 1.5]", "optimizer.betas"),
        ("output.deeper", "1", "output"),
        ("data.kind", "nonsense", "nonsense"),
        ("start.model", "some/model", "[start]"),
    ] {
        let message = with(key, value).expect_err(key);
        assert!(message.contains(word), "{key} = {value}: {message}");
    }
}
