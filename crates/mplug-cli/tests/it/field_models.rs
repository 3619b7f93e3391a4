//! Model folders as people have them, and what is said of them: parts, backbones, two languages, adapters, texts that are cut.
//! What the files hold is tested in `mplug`; here is what a person types and reads.

use std::fs;

use mplug::checkpoint::adapter::{AdapterSettings, write_adapter_files};
use mplug::config::Task;
use serde_json::{Value, json};

use crate::support::{Desk, Outcome};

/// A text of 30 tokens, of which a model reads 23.
const LONG: &str =
    "a red dog a red dog a red dog a red dog a red dog a red dog a red dog a red dog a red dog a red cat";

fn good(outcome: Outcome) -> Outcome {
    assert_eq!(outcome.code, 0, "{outcome:?}");
    outcome.check_messages();
    outcome
}

fn edit(desk: &Desk, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(desk.join(file)).unwrap();
    assert!(text.contains(from), "{file}: {text}");
    fs::write(desk.join(file), text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_bilingual_model_is_inspected_with_both_languages() {
    let desk = Desk::new();
    assert_eq!(json_of(&good(desk.run(&["inspect", "model", "--format", "json"])))["language"], "Chinese");
    let yaml = fs::read_to_string(desk.join("model/config.yaml")).unwrap();
    fs::write(desk.join("model/config.yaml"), yaml + "prompts: {en: \"a\"}\n").unwrap();
    let text = good(desk.run(&["inspect", "model"])).stdout;
    assert!(text.contains("language        Chinese and English, 143 tokens"), "{text}");
    let found = json_of(&good(desk.run(&["inspect", "model", "--format", "json"])));
    assert_eq!(
        (&found["language"], &found["languages"]),
        (&json!("Chinese and English"), &json!(["zh", "en"]))
    );
}

fn json_of(outcome: &Outcome) -> Value {
    let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
    found.get(0).cloned().unwrap_or(found)
}

#[test]
fn an_adapter_is_inspected_and_is_no_model() {
    let desk = Desk::new();
    fs::create_dir(desk.join("lora")).unwrap();
    let settings = AdapterSettings {
        rank: 2,
        alpha: 4.0,
        dropout: 0.0,
        base_name: "caption-base-zh".to_owned(),
        base_fingerprint: "ab".repeat(32),
    };
    let tensors = (0..3).flat_map(|layer| {
        let module = format!("text_decoder.bert.encoder.layer.{layer}.attention.self.query");
        let matrix = |end: &str, shape: [usize; 2]| {
            (format!("{module}.lora_{end}.weight"), shape.to_vec(), vec![0.5; 128])
        };
        [matrix("A", [2, 64]), matrix("B", [64, 2])]
    });
    write_adapter_files(&desk.join("lora"), &settings, tensors.collect()).unwrap();
    let text = good(desk.run(&["inspect", "lora"])).stdout;
    for line in [
        "adapter         LoRA, rank 2, alpha 4: ",
        "base            caption-base-zh\n",
        "parameters      768 for 3 weights\n",
        "changes         3 of text_decoder.bert.encoder.layer.*.attention.self.query.weight\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let found = json_of(&good(desk.run(&["inspect", "lora", "--format", "json"])));
    assert_eq!(
        (&found["rank"], &found["base"], &found["weights"]),
        (&json!(2), &json!("caption-base-zh"), &json!(3))
    );
    let refused = desk.run(&["caption", "--model", "lora", "red.png"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.check_messages().stderr.contains("it holds an adapter"), "{refused:?}");
}

/// Case 13.
#[test]
fn texts_that_are_cut_or_unknown_are_told_once() {
    let desk = Desk::new();
    desk.model("ask", Task::VisualQuestionAnswering);
    desk.model("match", Task::ImageTextRetrieval);
    let other = LONG.replace("cat", "dog");
    let cut = "note: 2 texts were cut at 25 tokens";
    for command in ["ask", "match"] {
        let args = [command, "--model", command, "red.png", LONG, &other, "a red cat"];
        let run = good(desk.run(&args));
        assert_eq!(run.stderr.matches("were cut").count(), 1, "{run:?}");
        assert!(run.stderr.contains(cut), "{run:?}");
        let lines: Vec<&str> = run.stdout.lines().collect();
        assert_eq!(lines[0].replace("cat", "dog"), lines[1].replace("cat", "dog"), "they are read alike");
        let alone = good(desk.run(&[command, "--model", command, "red.png", "a red cat"]));
        assert_eq!(alone.stderr, "", "a text that fits has no note");
        let unknown = good(desk.run(&[command, "--model", command, "red.png", "a zebra", "a red cat"]));
        let expected = "note: 1 text has words that the vocabulary lacks (1 of 5 tokens), such as z";
        assert!(unknown.stderr.contains(expected), "{unknown:?}");
    }
    desk.write("pairs.json", json!([
        { "image": "red.png", "caption": [LONG, "a red dog"] }, { "image": "green.png", "caption": [other] },
    ]).to_string().as_bytes());
    let eval = good(desk.run(&["eval", "--model", "match", "--dataset", "pairs.json"]));
    assert_eq!(eval.stderr.matches(cut).count(), 1, "{eval:?}");
    desk.write(
        "questions.json",
        json!([
            { "image": "red.png", "question_id": 1, "question": LONG, "answer": "a" },
            { "image": "red.png", "question_id": 2, "question": other, "answer": "a" },
        ])
        .to_string()
        .as_bytes(),
    );
    let eval = good(desk.run(&["eval", "--model", "ask", "--dataset", "questions.json"]));
    assert_eq!(eval.stderr.matches(cut).count(), 1, "{eval:?}");
}

/// Case 38.
#[test]
fn a_converted_model_reads_texts_as_its_source_does() {
    let desk = Desk::new();
    desk.model("match", Task::ImageTextRetrieval);
    let match_with = |model: &str| {
        let texts = ["a Cat on the road", "a red dog, a caT"];
        good(desk.run(&["match", "--model", model, "red.png", texts[0], texts[1], "--precision", "f32"]))
            .stdout
    };
    let uncased = match_with("match");
    desk.write(
        "match/tokenizer_config.json",
        br#"{"do_lower_case": true, "strip_accents": false, "tokenize_chinese_chars": false}"#,
    );
    edit(&desk, "match/vocab.txt", "red", "##d");
    let settings = fs::read(desk.join("match/tokenizer_config.json")).unwrap();
    let source = match_with("match");
    assert_ne!(source, uncased, "the test's settings make a difference");
    for more in [
        &[][..],
        &["--task-only"],
        &["--dtype", "f32", "--format", "pytorch"],
        &["--format", "pytorch-trainer"],
        &["--precision", "int8"],
        &["--dtype", "bf16"],
    ] {
        good(desk.run(&[&["convert", "match", "out", "--force"], more].concat()));
        assert_eq!(fs::read(desk.join("out/tokenizer_config.json")).unwrap(), settings, "{more:?}");
        if !more.contains(&"int8") && !more.contains(&"bf16") {
            assert_eq!(match_with("out"), source, "{more:?}");
        }
    }
}

/// Case 19.
#[test]
fn a_backbone_is_inspected_converted_and_used_for_a_task() {
    let desk = Desk::new();
    // It has all parts that captioning needs too.
    desk.model("backbone", Task::VisualQuestionAnswering);
    edit(&desk, "backbone/configuration.json", "\"visual-question-answering\"", "\"backbone\"");
    let said_by_yaml = good(desk.run(&["inspect", "backbone"]));
    assert!(
        said_by_yaml.stdout.contains("`mplug ask`") && said_by_yaml.stderr.is_empty(),
        "{said_by_yaml:?}"
    );
    edit(&desk, "backbone/config.yaml", "task: visual-question-answering\n", "");
    let guessed = good(desk.run(&["inspect", "backbone"]));
    assert!(guessed.stdout.contains("`mplug caption`"), "{guessed:?}");
    assert!(
        guessed.stderr.contains("says `task: backbone`, which is none of image-captioning"),
        "{guessed:?}"
    );
    let as_asked = desk.run(&["inspect", "backbone", "--task", "ask"]);
    assert!(good(as_asked).stdout.contains("`mplug ask`"));
    for command in ["caption", "ask"] {
        let mut args = vec![command, "--model", "backbone", "red.png"];
        args.extend((command == "ask").then_some("what is it?"));
        assert_eq!(good(desk.run(&args)).stderr, "", "the command says the task");
    }
    good(desk.run(&["convert", "backbone", "answerer", "--task", "visual-question-answering"]));
    let answerer = good(desk.run(&["inspect", "answerer"]));
    assert!(answerer.stdout.contains("`mplug ask`") && answerer.stderr.is_empty(), "{answerer:?}");
    good(desk.run(&["convert", "backbone", "copy"]));
    let kept = fs::read_to_string(desk.join("copy/configuration.json")).unwrap();
    assert!(kept.contains("\"backbone\""), "{kept}");
    good(desk.run(&["eval", "--count", "2", "--model", "backbone", "--task", "ask"]));
    let no_matcher = desk.run(&["match", "--model", "backbone", "red.png", "a red cat"]);
    assert!(no_matcher.code == 2 && no_matcher.stderr.contains("missing: itm_head"), "{no_matcher:?}");
}

/// Cases 18 and 20.
#[test]
fn a_key_given_twice_and_a_tensor_too_many_stop_nothing() {
    let desk = Desk::new();
    let yaml = fs::read_to_string(desk.join("model/config.yaml")).unwrap();
    fs::write(desk.join("model/config.yaml"), yaml + "beam_size: 3\nbeam_size: 2\n").unwrap();
    let text = good(desk.run(&["inspect", "model"])).stdout;
    assert!(text.contains("2 beams, "), "{text}");
    fs::write(desk.join("model/config.yaml"), "beam_size: [").unwrap();
    let refused = desk.run(&["caption", "--model", "model", "red.png"]);
    assert_eq!(refused.code, 2);
    let stderr = &refused.check_messages().stderr;
    assert!(stderr.contains("config.yaml: ") && !stderr.contains("Options"), "{stderr}");
}

/// Case 22.
#[test]
fn weights_in_parts_are_a_model_by_their_index() {
    let desk = Desk::new();
    let caption =
        |model: &str| good(desk.run(&["caption", "--model", model, "red.png", "--format", "jsonl"])).stdout;
    let before = caption("model");
    let bytes = fs::read(desk.join("model/model.safetensors")).unwrap();
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, Value> = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
    let tensors: Vec<(&String, &Value)> = header.iter().filter(|(name, _)| *name != "__metadata__").collect();
    let mut map = serde_json::Map::new();
    for (number, part) in tensors.chunks(tensors.len().div_ceil(2)).enumerate() {
        let name = format!("model-0000{}-of-00002.safetensors", number + 1);
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for (tensor, entry) in part {
            let [from, to] =
                [0, 1].map(|end| 8 + len + entry["data_offsets"][end].as_u64().unwrap() as usize);
            let mut entry = (*entry).clone();
            entry["data_offsets"] = json!([data.len(), data.len() + to - from]);
            data.extend_from_slice(&bytes[from..to]);
            header.insert((*tensor).clone(), entry);
            map.insert((*tensor).clone(), name.clone().into());
        }
        let header = serde_json::to_vec(&header).unwrap();
        let file = [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat();
        desk.write(&format!("model/{name}"), &file);
    }
    fs::remove_file(desk.join("model/model.safetensors")).unwrap();
    let refused = desk.run(&["inspect", "model"]);
    assert!(refused.check_messages().stderr.contains("model.safetensors.index.json"), "{refused:?}");
    desk.write("model/model.safetensors.index.json", json!({ "weight_map": map }).to_string().as_bytes());
    assert_eq!(caption("model"), before);
    assert!(good(desk.run(&["inspect", "model"])).stdout.contains(" bytes in 2 files"));
    good(desk.run(&["convert", "model", "whole"]));
    assert!(desk.join("whole/model.safetensors").is_file());
    assert_eq!(caption("whole"), before);
    let part = good(desk.run(&["inspect", "model/model-00001-of-00002.safetensors"]));
    assert!(part.stdout.contains("it is one file of a model's several"), "{part:?}");
    fs::remove_file(desk.join("model/model-00002-of-00002.safetensors")).unwrap();
    let missing = desk.run(&["caption", "--model", "model", "red.png"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (2, ""), "{missing:?}");
    let expected = "`model-00002-of-00002.safetensors`, which it names, is not there";
    assert!(missing.check_messages().stderr.contains(expected), "{missing:?}");
}
