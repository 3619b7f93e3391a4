//! Options of the engine, seen from outside: each does something, and what must not change a result does not.

use mplug::config::Task;
use serde_json::Value;

use crate::support::Desk;

const ALL: [&str; 4] = ["red.png", "green.png", "blue.jpg", "两只 猫.png"];

fn captions(desk: &Desk, args: &[&str]) -> Vec<Value> {
    let outcome = desk.caption(&[args, &["--format", "jsonl"]].concat());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{args:?}");
    outcome.jsonl()
}

#[test]
fn neighbours_order_and_threads_change_no_caption() {
    let desk = Desk::new();
    let single: Vec<Value> = ALL.iter().flat_map(|name| captions(&desk, &[name])).collect();
    for extra in [
        ["--batch-size", "1"],
        ["--batch-size", "2"],
        ["--batch-size", "5"],
        ["--threads", "1"],
        ["--threads", "2"],
    ] {
        assert_eq!(captions(&desk, &[&ALL[..], &extra[..]].concat()), single, "{extra:?}");
    }
    let mut backwards = ALL;
    backwards.reverse();
    let mut found = captions(&desk, &backwards);
    found.reverse();
    assert_eq!(found, single);
}

#[test]
fn lengths_are_kept() {
    let desk = Desk::new();
    let len = |args: &[&str]| captions(&desk, args)[0]["token_ids"].as_array().unwrap().len();
    assert!(len(&["red.png", "--max-new-tokens", "2"]) <= 2);
    assert!(len(&["red.png", "--min-new-tokens", "9", "--max-new-tokens", "11"]) >= 9);
}

#[test]
fn a_prefix_begins_every_caption() {
    let desk = Desk::new();
    for record in captions(&desk, &["red.png", "blue.jpg", "--prefix", "一丁", "--captions", "2"]) {
        for caption in record["captions"].as_array().unwrap() {
            assert!(caption["caption"].as_str().unwrap().starts_with("一丁"), "{record}");
        }
    }
    let unknown = desk.caption(&["red.png", "--prefix", "鑫"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.check_messages().stderr.contains('鑫'), "{}", unknown.stderr);
}

#[test]
fn raw_text_keeps_the_original_s_spaces() {
    let desk = Desk::new();
    let joined =
        captions(&desk, &["red.png", "--prefix", "一丁", "--max-new-tokens", "3"])[0]["caption"].clone();
    let raw =
        captions(&desk, &["red.png", "--prefix", "一丁", "--max-new-tokens", "3", "--raw"])[0]["caption"]
            .clone();
    assert!(raw.as_str().unwrap().starts_with("一 丁"), "{raw}");
    assert_ne!(joined, raw);
}

#[test]
fn the_same_seed_draws_the_same_captions() {
    let desk = Desk::new();
    let draw = |seed| {
        captions(
            &desk,
            &["red.png", "blue.jpg", "--sample", "--top-k", "0", "--captions", "3", "--seed", seed],
        )
    };
    assert_eq!(draw("5"), draw("5"));
    assert_ne!(draw("5"), draw("6"));
    let one_by_one = captions(
        &desk,
        &[
            "red.png",
            "blue.jpg",
            "--sample",
            "--top-k",
            "0",
            "--captions",
            "3",
            "--seed",
            "5",
            "--batch-size",
            "1",
        ],
    );
    assert_eq!(one_by_one, draw("5"), "a draw does not depend on the batch");
}

#[test]
fn a_sharper_temperature_and_fewer_choices_change_the_draw() {
    let desk = Desk::new();
    let draw = |args: &[&str]| captions(&desk, &[&["red.png", "--sample", "--seed", "3"], args].concat());
    let greedy = draw(&["--top-k", "1"]);
    assert_eq!(greedy[0]["token_ids"], captions(&desk, &["red.png", "--beams", "1"])[0]["token_ids"]);
    assert_eq!(draw(&["--top-k", "0", "--temperature", "0.0001"])[0]["token_ids"], greedy[0]["token_ids"]);
    assert_eq!(draw(&["--top-k", "0", "--top-p", "0.0001"])[0]["token_ids"], greedy[0]["token_ids"]);
    assert_ne!(draw(&["--top-k", "0", "--temperature", "9"])[0]["token_ids"], greedy[0]["token_ids"]);
}

#[test]
fn another_image_size_is_taken_where_patches_fit() {
    let desk = Desk::new();
    let larger = captions(&desk, &["red.png", "--image-size", "48"]);
    assert_ne!(larger[0]["score"], captions(&desk, &["red.png"])[0]["score"]);
    let odd = desk.caption(&["red.png", "--image-size", "33"]);
    assert_eq!(odd.code, 2, "{odd:?}");
    assert!(odd.check_messages().stderr.contains("33"), "{}", odd.stderr);
}

#[test]
fn more_beams_find_no_worse_a_caption_and_all_are_counted() {
    let desk = Desk::new();
    let one = captions(&desk, &["red.png", "--beams", "1"]);
    let ten = captions(&desk, &["red.png", "--beams", "10", "--captions", "10"]);
    assert_eq!(ten[0]["captions"].as_array().unwrap().len(), 10);
    assert_ne!(one[0], ten[0]);
}

#[test]
fn questions_are_answered() {
    let desk = Desk::new();
    desk.model("vqa", Task::VisualQuestionAnswering);
    let ask = |args: &[&str]| desk.run(&[&["ask", "--model", "vqa"], args].concat());
    let alone = ask(&["red.png", "what is it?"]);
    assert_eq!((alone.code, alone.stdout.lines().count()), (0, 1), "{alone:?}");
    let two = ask(&["red.png", "what is it?", "是猫丁?"]);
    let lines: Vec<_> = two.stdout.lines().map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!([lines[0].0, lines[1].0], ["what is it?", "是猫丁?"]);
    assert_eq!(lines[0].1, alone.stdout.trim_end_matches('\n'));

    let json = ask(&["red.png", "what is it?", "是猫丁?", "--format", "jsonl"]).jsonl();
    let keys: Vec<_> = json[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["path", "question", "answer", "score", "token_ids"]);
    let one_by_one = ask(&["red.png", "what is it?", "是猫丁?", "--format", "jsonl", "--batch-size", "1"]);
    assert_eq!(one_by_one.jsonl(), json);

    let missing = ask(&["missing.png", "what is it?", "--format", "json"]);
    assert_eq!(missing.code, 1);
    let record: Value = serde_json::from_str(&missing.stdout).unwrap();
    assert!(record[0]["error"].is_string());
    assert!(missing.check_messages().stderr.starts_with("mplug: missing.png: "));
}

#[test]
fn texts_are_scored() {
    let desk = Desk::new();
    desk.model("itr", Task::ImageTextRetrieval);
    let score = |args: &[&str]| desk.run(&[&["match", "--model", "itr", "red.png"], args].concat());
    let text = score(&["a cat", "a red dog"]);
    assert_eq!(text.code, 0, "{text:?}");
    let lines: Vec<_> = text.stdout.lines().map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!([lines[0].1, lines[1].1], ["a cat", "a red dog"]);
    let records = score(&["a cat", "a red dog", "--format", "jsonl"]).jsonl();
    for (line, record) in lines.iter().zip(&records) {
        let probability = record["probability"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&probability));
        assert_eq!(line.0, format!("{probability:.6}"));
    }
    assert_eq!(score(&["a red dog", "--format", "jsonl"]).jsonl()[0], records[1]);
    let missing = desk.run(&["match", "--model", "itr", "missing.png", "a cat"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (1, ""));
}

#[test]
fn drawn_pictures_are_captioned_and_judged() {
    let desk = Desk::new();
    let drawn = desk.run(&["synth", "drawn", "--count", "3", "--seed", "11"]);
    assert_eq!((drawn.code, drawn.stdout.as_str()), (0, ""), "{drawn:?}");
    assert_eq!(captions(&desk, &["drawn/images"]).len(), 3);
    let annotations = |name: &str| std::fs::read(desk.join(name).join("annotations.jsonl")).unwrap();
    desk.run(&["synth", "again", "--count", "3", "--seed", "11"]);
    assert_eq!(annotations("drawn"), annotations("again"));
    assert_eq!(desk.run(&["synth", "drawn"]).code, 2, "what is there is not overwritten");
    let asked = desk.run(&["synth", "asked", "--count", "3", "--seed", "11", "--questions", "zh,en"]);
    assert_eq!((asked.code, annotations("asked")), (0, annotations("drawn")), "{asked:?}");
    for (name, mark) in [("questions_zh.json", '？'), ("questions_en.json", '?')] {
        let text = std::fs::read_to_string(desk.join("asked").join(name)).unwrap();
        let questions: Vec<Value> = serde_json::from_str(&text).unwrap();
        assert!(questions.len() >= 15, "{text}");
        assert!(questions.iter().all(|entry| entry["question"].as_str().unwrap().ends_with(mark)), "{text}");
    }
    assert!(!desk.join("drawn/questions_zh.json").exists());
    assert_eq!(desk.run(&["synth", "other", "--questions", "fr"]).code, 2);
    desk.run(&["synth", "small", "--count", "2", "--seed", "11", "--size", "40", "--jpeg-percent", "0"]);
    assert_eq!(image::open(desk.join("small/images/000001.png")).unwrap().width(), 40);

    let eval = |args: &[&str]| {
        desk.run(&[&["eval", "--model", "model", "--count", "6", "--synth-seed", "11"], args].concat())
    };
    let json: Value = serde_json::from_str(&eval(&["--format", "json"]).stdout).unwrap();
    assert_eq!((&json["synth_seed"], &json["count"]), (&Value::from(11), &Value::from(6)));
    assert_eq!(json["all"]["fully_true"]["judged"], 6);
    let one_by_one: Value =
        serde_json::from_str(&eval(&["--format", "json", "--batch-size", "1"]).stdout).unwrap();
    assert_eq!(json, one_by_one);
    let table = eval(&[]).stdout;
    assert!(table.contains("\nall               6"), "{table}");
}
