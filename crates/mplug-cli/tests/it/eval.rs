//! `mplug eval` on files and on datasets: the reports, and what is said of bad input.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Desk, Outcome};

/// Three images with two references each, as COCO writes them, and captions for them.
fn coco(desk: &Desk, ids: [u64; 3]) {
    let images: Vec<Value> = ids
        .iter()
        .zip(["red", "green", "blue"])
        .map(|(id, name)| json!({"id": id, "file_name": format!("{name}.png")}))
        .collect();
    let texts =
        ["A red field.", "a field of red", "Two green trees", "green trees", "the blue sea", "a sea, blue"];
    let annotations: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| json!({"id": n, "image_id": ids[n / 2], "caption": text}))
        .collect();
    write_json(desk, "references.json", &json!({"images": images, "annotations": annotations}));
    results(desk, &[(ids[0], "a red field"), (ids[1], "two trees"), (ids[2], "the sea")]);
}

fn results(desk: &Desk, captions: &[(u64, &str)]) {
    let captions: Vec<Value> =
        captions.iter().map(|(id, caption)| json!({"image_id": id, "caption": caption})).collect();
    write_json(desk, "results.json", &Value::from(captions));
}

fn write_json(desk: &Desk, name: &str, value: &Value) {
    fs::write(desk.join(name), serde_json::to_vec(value).unwrap()).unwrap();
}

fn score(desk: &Desk, options: &[&str]) -> Outcome {
    let files = ["eval", "--references", "references.json", "--candidates", "results.json"];
    desk.run(&[&files, options].concat())
}

fn report(outcome: &Outcome) -> Value {
    assert_eq!(outcome.code, 0, "{outcome:?}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn a_file_of_captions_is_scored() {
    let desk = Desk::new();
    coco(&desk, [1, 2, 3]);
    let json = score(&desk, &["--format", "json", "--per-image", "lines.jsonl"]);
    let value = report(&json);
    assert_eq!(
        (&value["images"], &value["references"], &value["tokenization"]),
        (&3.into(), &6.into(), &"ptb".into())
    );
    let figures: Vec<&String> = value["scores"].as_object().unwrap().keys().collect();
    assert_eq!(
        figures,
        ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor_exact_stem", "rouge_l", "cider"],
        "without its data METEOR is not called METEOR"
    );
    // Two candidates are one word shorter than the closest reference; all their words are right.
    let bleu_1 = value["scores"]["bleu_1"].as_f64().unwrap();
    assert!((bleu_1 - (1.0_f64 - 8.0 / 7.0).exp()).abs() < 1e-6, "{bleu_1}");

    let again = score(&desk, &["--format", "json", "--threads", "1"]);
    assert_eq!(json.stdout, again.stdout, "the same bytes, whatever the threads");
    let lines: Vec<Value> = fs::read_to_string(desk.join("lines.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[1]["image_id"], &lines[1]["file_name"]), (&2.into(), &"green.png".into()));
    assert_eq!(
        (&lines[1]["candidate"], lines[1]["references"].as_array().unwrap().len()),
        (&"two trees".into(), 2)
    );

    let alone = score(&desk, &["--metrics", "spice"]);
    assert!(alone.stdout.starts_with("3 images, 6 references, tokens: ptb\nspice "), "{}", alone.stdout);
    let text = score(&desk, &["--metrics", "cider,accuracy,spice"]);
    assert!(text.stdout.starts_with("3 images, 6 references, tokens: ptb\nCIDEr "), "{}", text.stdout);
    assert!(
        text.stdout.contains("\nspice                  not computed: no official program"),
        "{}",
        text.stdout
    );
}

#[test]
fn chinese_is_scored_by_characters_or_words() {
    let desk = Desk::new();
    fs::write(desk.join("references.jsonl"), "{\"path\":\"a.jpg\",\"captions\":[\"一只猫在床上\"]}\n{\"path\":\"b.jpg\",\"captions\":[\"两只狗\"]}\n").unwrap();
    fs::write(
        desk.join("captions.jsonl"),
        "{\"path\":\"x/a.jpg\",\"caption\":\"一只猫\"}\n{\"path\":\"x/b.jpg\",\"caption\":\"两只狗\"}\n",
    )
    .unwrap();
    let eval = |options: &[&str]| {
        report(
            &desk.run(
                &[
                    &[
                        "eval",
                        "--references",
                        "references.jsonl",
                        "--candidates",
                        "captions.jsonl",
                        "--format",
                        "json",
                    ],
                    options,
                ]
                .concat(),
            ),
        )
    };
    let characters = eval(&[]);
    assert_eq!(characters["tokenization"], "char");
    assert!(characters["scores"].get("meteor_exact_stem").is_none(), "nobody reports it for Chinese");
    let words = eval(&["--tokenize", "jieba"]);
    assert_eq!(words["tokenization"], "jieba");
    assert_ne!(characters["scores"]["bleu_1"], words["scores"]["bleu_1"]);
}

#[test]
fn one_image_has_no_cider_and_the_report_says_why() {
    let desk = Desk::new();
    fs::write(desk.join("references.jsonl"), "{\"path\":\"a.jpg\",\"captions\":[\"a cat\"]}\n").unwrap();
    fs::write(desk.join("captions.txt"), "a cat\n").unwrap();
    let outcome = desk.run(&[
        "eval",
        "--references",
        "references.jsonl",
        "--candidates",
        "captions.txt",
        "--format",
        "json",
    ]);
    let value = report(&outcome);
    assert_eq!(value["scores"]["cider"], 0.0);
    assert!(value["notes"][0].as_str().unwrap().starts_with("CIDEr is 0: with one image"), "{value}");
}

#[test]
fn domains_have_figures_of_their_own() {
    let desk = Desk::new();
    coco(&desk, [1, 2, 3]);
    let mut references: Value =
        serde_json::from_slice(&fs::read(desk.join("references.json")).unwrap()).unwrap();
    for (image, domain) in [(0, "in-domain"), (1, "out-domain"), (2, "out-domain")] {
        references["images"][image]["domain"] = domain.into();
    }
    write_json(&desk, "references.json", &references);
    let value = report(&score(&desk, &["--metrics", "accuracy,cider", "--format", "json"]));
    let domains = value["domains"].as_array().unwrap();
    let of = |n: usize| (domains[n]["domain"].as_str().unwrap(), domains[n]["images"].as_u64().unwrap());
    assert_eq!((domains.len(), of(0), of(1)), (2, ("in-domain", 1), ("out-domain", 2)));
    let text = score(&desk, &["--metrics", "accuracy"]).stdout;
    assert!(text.contains("images                         3            1            2"), "{text}");
}

#[test]
fn document_frequencies_may_come_from_elsewhere() {
    let desk = Desk::new();
    coco(&desk, [1, 2, 3]);
    let cider = |options: &[&str]| {
        let scored = score(&desk, &[&["--metrics", "cider", "--format", "json"], options].concat());
        report(&scored)["scores"]["cider"].as_f64().unwrap()
    };
    let own = cider(&[]);
    assert!((cider(&["--document-frequencies", "references.json"]) - own).abs() < 1e-12);
    let stored = json!({"ref_len": 3, "document_frequency": {"a": 2, "red": 1, "of": 1}});
    write_json(&desk, "stored.json", &stored);
    let given = cider(&["--document-frequencies", "stored.json"]);
    assert!(given > 0.0 && (given - own).abs() < 1e-12, "n-grams of one image need no entry: {given} {own}");
    write_json(&desk, "stored.json", &json!({"ref_len": 0, "document_frequency": {}}));
    let refused = score(&desk, &["--document-frequencies", "stored.json"]);
    assert!(refused.code == 2 && refused.stderr.contains("stored.json"), "{refused:?}");
}

#[test]
fn odd_captions_are_scored_and_named() {
    let desk = Desk::new();
    coco(&desk, [1, 2, 3]);
    results(&desk, &[(1, ""), (2, "two\u{2028}trees"), (3, "the sea")]);
    let value = report(&score(&desk, &["--format", "json"]));
    let notes = value["notes"].to_string();
    assert!(
        notes.contains("1 of 3 candidates are empty") && notes.contains("1 captions have a line separator"),
        "{notes}"
    );
}

#[test]
fn ids_beyond_floating_point_stay_apart() {
    let desk = Desk::new();
    let ids = [9_007_199_254_740_993, 9_007_199_254_740_992, 6_700_417_000_000_000_001];
    coco(&desk, ids);
    assert_eq!(score(&desk, &["--per-image", "lines.jsonl"]).code, 0);
    let lines = fs::read_to_string(desk.join("lines.jsonl")).unwrap();
    for (line, id) in lines.lines().zip(ids) {
        assert!(line.starts_with(&format!("{{\"image_id\":{id},")), "{line}");
    }
}

#[test]
fn bad_input_is_named() {
    let desk = Desk::new();
    coco(&desk, [1, 2, 3]);
    let fails = |expected: &[&str]| {
        let outcome = score(&desk, &[]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
        for part in expected {
            assert!(outcome.stderr.contains(part), "{part:?} is not in {}", outcome.stderr);
        }
    };
    results(&desk, &[(1, "a"), (3, "b")]);
    fails(&["results.json: no candidate for 1 of the 3 images of references.json: 2"]);
    results(&desk, &[(1, "a"), (2, "b"), (3, "c"), (4, "d")]);
    fails(&["results.json", "4"]);
    results(&desk, &[(1, "a"), (2, "b"), (3, "c"), (2, "d")]);
    fails(&["results.json", "2", "given already", "element [1]", "element [3]"]);
    fs::write(desk.join("results.json"), "[{\"image_id\":1,\"caption\":\"a\"},\n {\"image_id\":2,\"cap")
        .unwrap();
    fails(&["results.json line 2 column"]);
    fs::write(desk.join("results.json"), b"[{\"image_id\":1,\"caption\":\"\xff\"}]").unwrap();
    fails(&["results.json line 1", "UTF-8"]);
    fs::write(desk.join("results.json"), "[{\"image_id\":18446744073709551616,\"caption\":\"a\"}]").unwrap();
    fails(&["results.json", "18446744073709551616"]);
    fs::remove_file(desk.join("results.json")).unwrap();
    fails(&["results.json: No such file"]);
}

#[test]
fn options_that_would_mean_nothing_are_refused() {
    let desk = Desk::new();
    coco(&desk, [1, 2, 3]);
    assert_eq!(score(&desk, &["--beams", "3"]).code, 2);
    assert_eq!(score(&desk, &["--model", "model"]).code, 2);
    assert_eq!(score(&desk, &["--precision", "int8"]).code, 2);
    assert_eq!(score(&desk, &["--count", "3"]).code, 2);
    assert_eq!(desk.run(&["eval", "--references", "references.json"]).code, 2);
    assert_eq!(desk.run(&["eval", "--split", "test"]).code, 2);
}

#[test]
fn a_dataset_is_captioned_scored_and_resumed() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["synth", "drawn", "--count", "5", "--seed", "11"]).code, 0);
    let eval = |options: &[&str]| {
        let dataset =
            ["eval", "--model", "model", "--dataset", "drawn", "--language", "zh", "--format", "json"];
        desk.run(&[&dataset, options].concat())
    };
    let whole = eval(&["--resume", "captions.part", "--html", "page.html", "--worst", "3"]);
    assert_eq!(report(&whole)["images"], 5);
    let page = fs::read_to_string(desk.join("page.html")).unwrap();
    assert_eq!(page.matches("data:image/jpeg;base64,").count(), 3);

    // Stopped in the third caption.
    let journal = fs::read_to_string(desk.join("captions.part")).unwrap();
    let end = journal.match_indices('\n').nth(2).unwrap().0 + 10;
    fs::write(desk.join("captions.part"), &journal[..end]).unwrap();
    let resumed = eval(&["--resume", "captions.part", "--batch-size", "1"]);
    assert!(resumed.stderr.contains("2 of 5 pictures are captioned already"), "{}", resumed.stderr);
    assert_eq!(resumed.stdout, whole.stdout);
    assert_eq!(fs::read_to_string(desk.join("captions.part")).unwrap(), journal);
    assert_eq!(eval(&["--resume", "captions.part", "--beams", "1"]).code, 2, "another run's captions");

    // A picture that is broken is not scored, and harms no other.
    fs::write(desk.join("drawn/images/000002.png"), "no picture").unwrap();
    let _ = fs::write(desk.join("drawn/images/000002.jpg"), "no picture");
    let broken = eval(&[]);
    assert_eq!(broken.code, 1, "{broken:?}");
    let value: Value = serde_json::from_str(&broken.stdout).unwrap();
    assert_eq!((&value["images"], &value["failed"]), (&4.into(), &1.into()));
    assert!(broken.stderr.contains("000002"), "{}", broken.stderr);
}

#[test]
fn the_schema_in_the_documents_is_the_programs() {
    let desk = Desk::new();
    let printed = desk.run(&["eval", "--print-schema"]);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/eval-report.schema.json");
    let documented = fs::read_to_string(path).unwrap();
    assert_eq!(
        printed.stdout, documented,
        "write it anew: mplug eval --print-schema > docs/eval-report.schema.json"
    );
}

/// Ctrl-C lets the batch at hand end; with a journal the same command goes on.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_an_evaluation_after_the_batch_at_hand() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("mplug"))
        .args(["eval", "--count", "100000", "--batch-size", "1", "--threads", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its first message is of the model, just before the run.
    let mut messages = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut messages, &mut first).unwrap();
    assert!(first.contains("demo model"), "{first}");
    let killed = Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut messages, &mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(killed.success() && output.status.code() == Some(143), "{rest}");
    assert!(
        rest.lines().last().unwrap().contains("stopped by a signal") && output.stdout.is_empty(),
        "{rest}"
    );
}
