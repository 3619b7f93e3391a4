//! `mplug eval` with models that answer and that match: on drawn pictures and on datasets, and what is refused.

use std::fs;

use mplug::config::Task;
use serde_json::{Value, json};

use crate::support::{Desk, Outcome};

/// A desk with a model that answers in `ask` and one that matches in `match`.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.model("ask", Task::VisualQuestionAnswering);
    desk.model("match", Task::ImageTextRetrieval);
    desk
}

fn report(outcome: &Outcome) -> Value {
    assert_eq!(outcome.code, 0, "{outcome:?}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// Six drawn pictures through a model.
fn drawn(desk: &Desk, model: &str, options: &[&str]) -> Outcome {
    let form = ["eval", "--model", model, "--count", "6", "--synth-seed", "11"];
    desk.run(&[&form, options].concat())
}

#[test]
fn questions_about_drawn_pictures_are_answered_and_judged() {
    let desk = desk();
    let both = report(&drawn(&desk, "ask", &["--format", "json"]));
    assert_eq!(
        (&both["synth_seed"], &both["count"], &both["all"]["judged"]),
        (&11.into(), &6.into(), &6.into())
    );
    let asked = |language: &str| both["languages"][language]["judged"].as_u64();
    assert_eq!((asked("zh"), asked("en")), (Some(3), Some(3)));
    let kinds = both["kinds"].as_object().unwrap().values();
    assert_eq!(kinds.map(|kind| kind["judged"].as_u64().unwrap()).sum::<u64>(), 6);
    let one_by_one =
        report(&drawn(&desk, "ask", &["--format", "json", "--batch-size", "1", "--task", "ask"]));
    assert_eq!(both, one_by_one);
    let english = report(&drawn(&desk, "ask", &["--format", "json", "--language", "en"]));
    assert_eq!(english["languages"].as_object().unwrap().keys().collect::<Vec<_>>(), ["en"]);
    let table = drawn(&desk, "ask", &[]).stdout;
    assert!(
        table.starts_with("6 questions about pictures of seed 11") && table.contains("\nall "),
        "{table}"
    );
}

#[test]
fn drawn_pictures_and_their_captions_find_each_other() {
    let desk = desk();
    let found = report(&drawn(&desk, "match", &["--format", "json"]));
    assert_eq!((&found["images"], &found["texts"], &found["rerank"]), (&6.into(), &6.into(), &16.into()));
    assert_eq!(found["text_retrieval"]["r10"], 1.0, "there are no more than six");
    let mean = |recalls: &Value| recalls["r_mean"].as_f64().unwrap();
    assert!(mean(&found) <= mean(&found["drawn"]["counting_others"]));
    let again = report(&drawn(&desk, "match", &["--format", "json", "--batch-size", "5", "--threads", "1"]));
    assert_eq!(found, again);
    let contrast = drawn(&desk, "match", &["--rerank", "0"]).stdout;
    assert!(contrast.starts_with("6 pictures, 6 texts, by contrast alone\n"), "{contrast}");
    assert_eq!(contrast.matches("\nmean ").count(), 2, "{contrast}");
    assert_eq!(drawn(&desk, "match", &["--rerank", "2", "--language", "en"]).code, 0);
}

#[test]
fn captions_of_drawn_pictures_have_figures_in_one_language() {
    let desk = desk();
    let zh = report(&drawn(&desk, "model", &["--format", "json"]));
    assert_eq!(zh["language"], "zh");
    assert!(zh["cider"].as_f64().is_some() && zh["bleu_4"].as_f64().is_some(), "{zh}");
    assert_eq!(report(&drawn(&desk, "model", &["--format", "json", "--language", "zh"])), zh);
    assert!(drawn(&desk, "model", &[]).stdout.contains("\nCIDEr "));
    let refused = drawn(&desk, "model", &["--language", "en"]);
    assert!(
        refused.code == 2
            && refused.stderr.contains("`--language`: expected zh, which this model writes, found en"),
        "{refused:?}"
    );
}

#[test]
fn questions_of_a_dataset_are_answered_and_scored() {
    let desk = desk();
    let drawn = desk.run(&[
        "synth",
        "drawn",
        "--count",
        "3",
        "--seed",
        "11",
        "--jpeg-percent",
        "0",
        "--questions",
        "zh",
    ]);
    assert_eq!(drawn.code, 0, "{drawn:?}");
    let questions: Value =
        serde_json::from_slice(&fs::read(desk.join("drawn/questions_zh.json")).unwrap()).unwrap();
    let eval = |file: &str, options: &[&str]| {
        let form = ["eval", "--model", "ask", "--dataset", file, "--format", "json"];
        desk.run(&[&form, options].concat())
    };
    let found = report(&eval("drawn/questions_zh.json", &["--per-image", "lines.jsonl"]));
    assert_eq!(found["questions"].as_u64().unwrap() as usize, questions.as_array().unwrap().len());
    assert_eq!((&found["vqa_accuracy"], &found["failed"]), (&Value::Null, &0.into()));

    // Annotated as the model answers: all of it is right, for one person counts a half.
    let lines = fs::read_to_string(desk.join("lines.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let annotated: Vec<Value> = lines
        .iter()
        .map(|line| {
            let answer =
                Some(line["answer"].clone()).filter(|answer| answer != "").unwrap_or_else(|| "x".into());
            json!({"dataset": "d", "question_id": line["question_id"], "image": line["file_name"],
                "question": line["question"], "answer": answer})
        })
        .collect();
    let answered = lines.iter().filter(|line| line["answer"] != "").count() as f64;
    fs::write(desk.join("drawn/own.json"), serde_json::to_vec(&annotated).unwrap()).unwrap();
    let own = report(&eval("drawn/own.json", &["--batch-size", "7"]));
    let expected = 0.5 * answered / lines.len() as f64;
    assert!((own["soft_score"]["score"].as_f64().unwrap() - expected).abs() < 1e-6, "{own}");

    // A picture that is broken is not asked about, and harms no other.
    fs::write(desk.join("drawn/images/000001.png"), "no picture").unwrap();
    let broken = eval("drawn/questions_zh.json", &[]);
    assert_eq!(broken.code, 1, "{broken:?}");
    let value: Value = serde_json::from_str(&broken.stdout).unwrap();
    let lost = questions.as_array().unwrap().iter().filter(|q| q["image"] == "images/000001.png").count();
    assert_eq!(value["failed"].as_u64().unwrap() as usize, lost);
    assert!(broken.check_messages().stderr.contains("000001"), "{}", broken.stderr);
}

#[test]
fn pictures_and_captions_of_a_dataset_find_each_other() {
    let desk = desk();
    assert_eq!(desk.run(&["synth", "drawn", "--count", "4", "--seed", "11", "--jpeg-percent", "0"]).code, 0);
    let eval = |options: &[&str]| {
        let form = ["eval", "--model", "match", "--dataset", "drawn", "--language", "zh", "--format", "json"];
        desk.run(&[&form, options].concat())
    };
    let found = report(&eval(&["--rerank", "2"]));
    let texts = found["texts"].as_u64().unwrap();
    assert!(found["images"] == 4 && texts >= 12 && found.get("drawn").is_none(), "{found}");
    assert_eq!(found, report(&eval(&["--rerank", "2", "--batch-size", "1"])));
    assert_eq!(found["image_retrieval"]["r5"], 1.0, "there are four pictures");

    fs::write(desk.join("drawn/images/000002.png"), "no picture").unwrap();
    let broken = eval(&[]);
    assert_eq!(broken.code, 1, "{broken:?}");
    let value: Value = serde_json::from_str(&broken.stdout).unwrap();
    assert_eq!((&value["images"], &value["failed"]), (&3.into(), &1.into()));
    assert!(value["texts"].as_u64().unwrap() < texts);
    assert!(broken.check_messages().stderr.contains("000002"), "{}", broken.stderr);
}

#[test]
fn what_does_not_fit_the_task_is_refused() {
    let desk = desk();
    desk.write("captions.jsonl", "{\"path\": \"red.png\", \"caption\": \"a cat\"}\n".as_bytes());
    desk.write("asked.json", br#"[{"image": "red.png", "question_id": 1, "question": "what?"}]"#);
    let dataset = ["--dataset", "captions.jsonl"];
    for (model, options, expected) in [
        (
            "ask",
            &["--task", "match"][..],
            "`--task match` does not fit `--model ask`, a model for visual question",
        ),
        ("model", &["--task", "ask"], "`--task ask` does not fit"),
        ("model", &["--rerank", "3"], "`--rerank` has no meaning for a model for image captioning"),
        (
            "ask",
            &["--resume", "r.part"],
            "`--resume` has no meaning for a model for visual question answering",
        ),
        ("ask", &["--html", "r.html"], "`--html` has no meaning"),
        ("ask", &["--metrics", "cider"], "`--metrics` has no meaning"),
        ("match", &["--beams", "2"], "`--beams` has no meaning for a model for image-text retrieval"),
        ("match", &["--per-image", "l.jsonl"], "`--per-image` has no meaning"),
        ("match", &["--tokenize", "char"], "`--tokenize` has no meaning"),
        ("ask", &[], "expected a dataset with questions"),
    ] {
        let refused = desk.run(&[&["eval", "--model", model], &dataset[..], options].concat());
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{model} {options:?}: {refused:?}");
        assert!(refused.check_messages().stderr.contains(expected), "{expected}: {}", refused.stderr);
    }
    for (model, expected) in
        [("ask", "its questions have no answers"), ("match", "has no captions to search by")]
    {
        let refused = desk.run(&["eval", "--model", model, "--dataset", "asked.json"]);
        assert!(refused.code == 2 && refused.stderr.contains(expected), "{refused:?}");
    }
    let files = ["eval", "--references", "captions.jsonl", "--candidates", "captions.jsonl"];
    for option in [["--task", "caption"], ["--rerank", "1"]] {
        assert_eq!(desk.run(&[&files[..], &option].concat()).code, 2, "{option:?}");
    }
}
