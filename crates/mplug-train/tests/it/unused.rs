//! Every key of a recipe with every objective: used, or refused with the reason.

use std::collections::BTreeSet;

use mplug_train::TrainConfig;

/// Objectives, each with a letter: captioning, cider by beams and by samples, answering and with distillation, retrieval,
/// pretraining.
const KINDS: [(char, &str); 7] = [
    ('c', "kind = \"captioning\""),
    ('b', "kind = \"cider\""),
    ('s', "kind = \"cider\"\nby = \"samples\""),
    ('a', "kind = \"answering\""),
    ('d', "kind = \"answering\"\ndistillation = 0.2"),
    ('r', "kind = \"retrieval\""),
    ('p', "kind = \"pretraining\""),
];
const ALL: &str = "cbsadrp";

/// Keys with a good value, and the objectives that use them. (The optimizer and the schedule have tests of their own.)
const KEYS: [(&str, &str, &str); 93] = [
    ("output", "x", ALL),
    ("seed", "7", ALL),
    ("prompts.en", "the picture:", "cbs"),
    ("model.weights", "some/model", ALL),
    ("model.image_size", "64", ALL),
    ("model.patch_size", "8", ALL),
    ("model.vision_width", "128", ALL),
    ("model.vision_layers", "2", ALL),
    ("model.text_width", "64", ALL),
    ("model.text_heads", "4", ALL),
    ("model.text_intermediate", "128", ALL),
    ("model.text_encoder_layers", "2", "adrp"),
    ("model.fusion_layers", "2", "adrp"),
    ("model.connected_stride", "2", "adrp"),
    ("model.shared_size", "64", "rp"),
    ("model.decoder_layers", "2", "cbsadp"),
    ("model.max_position_embeddings", "30", ALL),
    ("model.dropout", "0.1", ALL),
    ("model.visual_attention_dropout", "0.1", ALL),
    ("start.model", "some/model", ALL),
    ("start.image_size", "64", ALL),
    ("start.max_text_tokens", "30", ALL),
    ("start.shared_size", "64", "rp"),
    ("start.dropout", "0.1", ALL),
    ("start.visual_attention_dropout", "0.1", ALL),
    ("start.keep_encoders", "true", "cbs"),
    ("freeze", "[\"visual_encoder\"]", ALL),
    ("lora.rank", "4", "cbsadr"),
    ("lora.alpha", "8.0", "cbsadr"),
    ("lora.dropout", "0.1", "cbsadr"),
    ("lora.targets", "[\"query\"]", "cbsadr"),
    ("features.folder", "kept", ALL),
    ("features.max_gigabytes", "5.0", ALL),
    ("objective.candidates", "3", "bs"),
    ("objective.temperature", "0.9", "s"),
    ("objective.baseline", "leave-one-out", "bs"),
    ("objective.frequencies", "data", "bs"),
    ("objective.min_new_tokens", "2", "bs"),
    ("objective.max_new_tokens", "20", "bs"),
    ("objective.end_token", "true", "bs"),
    ("objective.distillation", "0.3", "adrp"),
    ("objective.distillation_ramp", "true", "rp"),
    ("objective.momentum", "0.99", "drp"),
    ("objective.queue_size", "64", "rp"),
    ("objective.mask_share", "0.2", "p"),
    ("data.train", "a.jsonl", ALL),
    ("data.train_split", "train", ALL),
    ("data.held_out", "b.jsonl", ALL),
    ("data.held_out_split", "val", ALL),
    ("data.images", "images", ALL),
    ("data.language", "en", ALL),
    ("data.clean_captions", "true", "crp"),
    ("data.shuffle", "false", ALL),
    ("data.unreadable", "skip", ALL),
    ("data.max_unknown", "0.1", ALL),
    ("data.max_cut", "0.1", ALL),
    ("data.columns.image", "picture", ALL),
    ("data.columns.caption", "text", ALL),
    ("data.columns.question", "q", ALL),
    ("data.columns.answer", "a", ALL),
    ("data.columns.language", "l", ALL),
    ("data.columns.split", "s", ALL),
    ("augment.scale", "[0.5, 0.9]", ALL),
    ("augment.flip", "0.0", ALL),
    ("augment.operations", "3", ALL),
    ("augment.level", "5", ALL),
    ("augment.overflow", "wrap", ALL),
    ("run.steps", "5", ALL),
    ("run.epochs", "5", ALL),
    ("run.export", "modelscope", ALL),
    ("run.batch_size", "16", ALL),
    ("run.micro_batch_size", "4", ALL),
    ("run.threads", "1", ALL),
    ("run.data_threads", "1", ALL),
    ("run.data_memory", "100", ALL),
    ("run.log_every", "5", ALL),
    ("run.checkpoint_every", "5", ALL),
    ("run.device", "cpu", ALL),
    ("run.precision", "bf16", ALL),
    ("run.gradient_checkpointing", "true", ALL),
    ("run.keep_last", "2", ALL),
    ("run.max_skipped_steps", "5", ALL),
    ("evaluation.every", "5", ALL),
    ("evaluation.pictures", "5", ALL),
    ("evaluation.at_start", "false", ALL),
    ("evaluation.meteor_jar", "meteor.jar", "cbs"),
    ("evaluation.spice_jar", "spice.jar", "cbs"),
    ("generation.num_beams", "3", "cbsad"),
    ("generation.min_new_tokens", "2", "cbsad"),
    ("generation.max_new_tokens", "6", "cbsad"),
    ("evaluation.num_beams", "3", "cbsad"),
    ("evaluation.rerank", "8", "rp"),
    ("evaluation.patience", "2", ALL),
];

/// The least recipe of an objective, from a model or from nothing.
fn recipe(objective: &str, decodes: bool, starts: bool) -> String {
    let decoder = if decodes { "decoder_layers = 1" } else { "" };
    let (network, vocabulary) = if starts {
        ("[start]\nmodel = \"m\"".to_owned(), "")
    } else {
        let sizes = "image_size = 32\npatch_size = 16\nvision_width = 64\nvision_layers = 1\ntext_width = 32\ntext_heads = 2\n\
                     text_intermediate = 64\nmax_position_embeddings = 8";
        (format!("[model]\n{sizes}\n{decoder}"), "vocabulary = \"v\"")
    };
    format!(
        "output = \"out\"\n[objective]\n{objective}\n{network}\n[data]\nkind = \"annotations\"\ntrain = \"t\"\nheld_out = \"h\"\n{vocabulary}\n\
         [run]\nsteps = 1\nbatch_size = 8\nmicro_batch_size = 2\nthreads = 2\ndata_threads = 2\nlog_every = 1\ncheckpoint_every = 1\n\
         [optimizer]\nlearning_rate = 1e-3\nweight_decay = 0.01\n[schedule]\nwarmup_steps = 1\n[evaluation]\nevery = 1\npictures = 1\n"
    )
}

fn with(text: &str, key: &str, value: &str) -> Result<TrainConfig, String> {
    let settings = [(key.to_owned(), value.to_owned())];
    TrainConfig::from_toml(text, &settings).map_err(|error| error.to_string())
}

#[test]
fn every_key_is_used_or_refused() {
    for (letter, objective) in KINDS {
        for (key, value, users) in KEYS {
            let starts = ["start.", "lora."].iter().any(|section| key.starts_with(section));
            let text = recipe(objective, letter != 'r', starts);
            let outcome = with(&text, key, value);
            if users.contains(letter) {
                assert!(outcome.is_ok(), "{letter} {key}: {outcome:?}");
                continue;
            }
            let error = outcome.expect_err(key);
            let name = key.rsplit('.').next().expect("a name");
            let is_unknown =
                error.contains(&format!("unknown field `{name}`")) && error.contains("objective");
            let is_refused = error.contains(&format!("{key}: expected none, for with objective.kind"));
            let section = key.split('.').next().expect("a name");
            let is_wrong = [key, section].iter().any(|field| error.contains(&format!("{field}: expected")));
            let says_why = ["where no ", "whose heads the model has"].iter().any(|why| error.contains(why));
            assert!(is_unknown || is_refused || is_wrong && says_why, "{letter} {key}: {error}");
        }
    }
}

fn keys_of(table: &toml::Table, prefix: &str, keys: &mut BTreeSet<String>) {
    for (name, value) in table {
        match value {
            toml::Value::Table(inner) => keys_of(inner, &format!("{prefix}{name}."), keys),
            _ => {
                keys.insert(format!("{prefix}{name}"));
            }
        }
    }
}

/// What a run writes of its recipe has only what it uses, all of which the table above knows.
#[test]
fn a_written_recipe_has_what_its_run_uses() {
    // What chooses other keys, and what has tests of its own.
    let apart = ["objective.kind", "objective.by", "data.kind", "data.vocabulary", "optimizer.", "schedule."];
    for (letter, objective) in KINDS {
        for starts in [false, true] {
            let text = recipe(objective, letter != 'r', starts);
            let config = TrainConfig::from_toml(&text, &[]).expect("a good recipe");
            let written = config.to_toml();
            let mut keys = BTreeSet::new();
            keys_of(&toml::from_str(&written).expect("TOML"), "", &mut keys);
            assert!(keys.len() > 20, "{written}");
            for key in keys.iter().filter(|key| !apart.iter().any(|apart| key.starts_with(apart))) {
                let known = KEYS.iter().find(|(name, _, _)| name == key);
                let (_, _, users) = known.unwrap_or_else(|| panic!("{key} is in no table"));
                assert!(users.contains(letter), "{letter}: {key} is written and not used");
            }
            assert_eq!(TrainConfig::from_toml(&written, &[]).expect("what we write we read"), config);
        }
    }
}

#[test]
fn other_settings_decide_too() {
    let text = recipe("kind = \"captioning\"", true, true);
    for (more, key, value, word) in [
        ("", "data.max_skipped", "5", "data.unreadable = \"skip\" uses it"),
        ("[augment]\noperations = 0", "augment.level", "5", "nothing is distorted"),
        ("[augment]\noperations = 0", "augment.overflow", "wrap", "nothing is distorted"),
    ] {
        let error = with(&format!("{text}\n{more}"), key, value).expect_err(key);
        assert!(error.contains(word), "{key}: {error}");
    }
    let skipping = [("data.unreadable", "skip"), ("data.max_skipped", "0.5")];
    let settings = skipping.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert!(TrainConfig::from_toml(&text, &settings).is_ok());
}

#[test]
fn a_metric_of_another_task_lists_the_right_ones() {
    for (letter, objective) in KINDS {
        let text = recipe(objective, letter != 'r', true);
        let (good, bad, listed) = match letter {
            'c' => ("bleu_4", "r_mean", "one of loss, cider, bleu_1, bleu_2, bleu_3, bleu_4, rouge_l"),
            'b' | 's' => ("bleu_4", "loss", "one of cider, bleu_1, bleu_2, bleu_3, bleu_4, rouge_l"),
            'a' | 'd' => ("accuracy", "cider", "one of loss, accuracy"),
            _ => ("image_r10", "accuracy", "one of text_r1, text_r5"),
        };
        assert!(with(&text, "evaluation.metric", good).is_ok(), "{letter} {good}");
        let error = with(&text, "evaluation.metric", bad).expect_err(bad);
        assert!(error.contains(listed) && error.contains(&format!("found {bad}")), "{letter}: {error}");
    }
    // Nobody can judge whether captions of photographs are true.
    let text = recipe("kind = \"captioning\"", true, true);
    assert!(with(&text, "evaluation.metric", "truth").is_err());
}

#[test]
fn a_wrong_type_is_named_with_its_place() {
    let text = recipe("kind = \"cider\"", true, true);
    for (key, value, expected) in [
        ("run.steps", "ten", "run.steps: expected an integer, found \"ten\""),
        ("run.steps", "-1", "run.steps: expected an integer of at least 0, found -1"),
        ("run.steps", "1.5", "run.steps: expected an integer, found 1.5"),
        ("run", "5", "run: expected a table, found 5"),
        ("run.gradient_checkpointing", "1", "run.gradient_checkpointing: expected true or false, found 1"),
        ("optimizer.learning_rate", "fast", "optimizer.learning_rate: expected a number, found \"fast\""),
        ("optimizer.betas", "0.9", "optimizer.betas: expected a list, found 0.9"),
        ("objective.candidates", "many", "objective.candidates: expected an integer, found \"many\""),
        ("objective.kind", "cidre", "objective.kind: unknown variant `cidre`"),
        ("objective.by", "chance", "objective.by: unknown variant `chance`"),
        ("data.train", "7", "data.train: expected a string, found 7"),
        ("data.columns.image", "7", "data.columns.image: expected a string, found 7"),
        ("data.columns.picture", "x", "data.columns: unknown field `picture`"),
        ("data.max_skipped", "all", "data.max_skipped: expected a number of pictures"),
        ("evaluation.metric", "cidre", "evaluation.metric: unknown variant `cidre`"),
        ("prompts.en", "5", "prompts.en: expected a string, found 5"),
        ("run.stepz", "5", "run: unknown field `stepz`"),
        ("start.image_size", "4000000000", "start.image_size: expected 1 to 8192"),
        ("ouput", "x", "recipe: unknown field `ouput`"),
    ] {
        let error = with(&text, key, value).expect_err(key);
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
    let without = text.replace("steps = 1\nbatch", "batch");
    let error = TrainConfig::from_toml(&without, &[]).expect_err("no steps").to_string();
    assert!(error.contains("run.steps: expected one of `run.steps` and `run.epochs`"), "{error}");
    let without = text.replace("train = \"t\"\n", "");
    let error = TrainConfig::from_toml(&without, &[]).expect_err("nothing to learn from").to_string();
    assert!(error.contains("data: missing field `train`"), "{error}");
}
