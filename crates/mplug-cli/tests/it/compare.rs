//! `mplug compare` as its users type it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::{Desk, Outcome};

const SUBJECTS: [&str; 6] = ["dog", "cat", "bird", "horse", "child", "boat"];

/// References of 24 pictures, captions that are all but right and captions that are worse, and what `mplug eval` makes of them.
fn desk() -> Desk {
    let desk = Desk::new();
    let (mut references, mut good, mut bad) = (String::new(), String::new(), String::new());
    for n in 0..24 {
        let subject = SUBJECTS[n % 6];
        let place = ["on the grass", "in the water", "near a tree", "under the sky"][n / 6];
        let captions = [format!("a {subject} {place}"), format!("the {subject} is {place}")];
        writeln!(references, "{}", json!({"image_id": n, "path": format!("{n}.png"), "captions": captions}))
            .unwrap();
        let line = |caption: &str| json!({"path": format!("{n}.png"), "caption": caption});
        writeln!(good, "{}", line(&format!("a {subject} {place}"))).unwrap();
        let worse =
            if n % 3 == 0 { "a photo of something".to_owned() } else { format!("a {subject} outside") };
        writeln!(bad, "{}", line(&worse)).unwrap();
    }
    desk.write("references.jsonl", references.as_bytes());
    desk.write("good.jsonl", good.as_bytes());
    desk.write("bad.jsonl", bad.as_bytes());
    for name in ["good", "bad"] {
        let (candidates, lines, report) =
            (format!("{name}.jsonl"), format!("{name}.scores"), format!("{name}.json"));
        let evaluated = desk.run(&[
            "eval",
            "--references",
            "references.jsonl",
            "--candidates",
            &candidates,
            "--per-image",
            &lines,
            "--format",
            "json",
            "--output",
            &report,
        ]);
        assert_eq!(evaluated.code, 0, "{}", evaluated.stderr);
    }
    desk
}

fn json_of(outcome: &Outcome) -> Value {
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    serde_json::from_str(&outcome.stdout).expect("JSON")
}

fn figure<'f>(found: &'f Value, key: &str) -> &'f Value {
    let figures = found["figures"].as_array().expect("figures");
    figures.iter().find(|figure| figure["key"] == key).unwrap_or_else(|| panic!("{key}: {found}"))
}

#[test]
fn scores_of_pictures_are_compared_and_resampled() {
    let desk = desk();
    let typed = ["compare", "bad.scores", "good.scores", "--json", "--resamples", "500", "--show", "3"];
    let found = json_of(&desk.run(&typed));
    assert_eq!(
        (&found["compared"], &found["pictures"], &found["tokenization"]),
        (&json!("results"), &json!(24), &json!("ptb"))
    );
    for name in ["good", "bad"] {
        let report: Value =
            serde_json::from_slice(&std::fs::read(desk.join(&format!("{name}.json"))).unwrap()).unwrap();
        let side = if name == "good" { "b" } else { "a" };
        for key in ["bleu_1", "bleu_4", "meteor_exact_stem", "rouge_l", "cider"] {
            let (expected, found) = (&report["scores"][key], &figure(&found, key)[side]);
            let distance = (expected.as_f64().unwrap() - found.as_f64().unwrap()).abs();
            assert!(distance < 1e-12, "{name} {key}: {found} is not the report's {expected}");
            assert!(
                figure(&json_of(&desk.run(&typed)), key).get("note").is_none(),
                "{key} is the figure of all pictures"
            );
        }
    }
    let cider = figure(&found, "cider");
    assert!(cider["bootstrap"]["low"].as_f64().unwrap() > 0.0, "{cider}");
    assert_eq!(cider["bootstrap"]["p_value"], json!(1.0 / 501.0));
    let most = found["most_different"].as_array().unwrap();
    assert_eq!((most.len(), most[0]["b"]["score"].as_f64().unwrap() > 0.0), (3, true), "{most:?}");
    assert_eq!(json_of(&desk.run(&typed)), found, "the same seed gives the same numbers");
    let other = json_of(&desk.run(&[&typed[..], &["--seed", "1"]].concat()));
    assert_ne!(other["figures"], found["figures"]);
}

#[test]
fn the_text_names_figures_and_pictures() {
    let desk = desk();
    let text = desk.run(&[
        "compare",
        "bad.scores",
        "good.scores",
        "--by",
        "bleu_1",
        "--show",
        "2",
        "--resamples",
        "200",
    ]);
    assert_eq!(text.code, 0, "{}", text.stderr);
    for expected in [
        "A: bad.scores\nB: good.scores\n",
        "24 in both, 0 with equal texts; tokens: ptb",
        "95 % interval of B - A",
        "\ncider ",
        "note: paired bootstrap of 200 resamples with seed 0",
        "the 2 that differ most, by bleu_1:\n  0.png: +",
        "    A: a photo of something",
        "    reference: the dog is on the grass",
    ] {
        assert!(text.stdout.contains(expected), "{expected}: {}", text.stdout);
    }
}

#[test]
fn captions_are_scored_against_references_and_shown_on_a_page() {
    let desk = desk();
    desk.picture("0.png", [200, 20, 20]);
    let typed = ["compare", "bad.jsonl", "good.jsonl", "--resamples", "200", "--json"];
    let scored = json_of(
        &desk.run(&[&typed[..], &["--references", "references.jsonl", "--html", "page.html"]].concat()),
    );
    let files = json_of(&desk.run(&["compare", "bad.scores", "good.scores", "--resamples", "200", "--json"]));
    assert_eq!(scored["figures"], files["figures"]);
    let page = std::fs::read_to_string(desk.join("page.html")).unwrap();
    assert!(page.contains("data:image/jpeg;base64,") && page.contains("a photo of something"));
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing is fetched");
    let refused = desk.run(&typed);
    assert!(refused.code == 2 && refused.stderr.contains("nothing is resampled"), "{}", refused.stderr);
    let texts = json_of(&desk.run(&["compare", "bad.jsonl", "good.jsonl", "--json"]));
    assert_eq!((&texts["by"], &texts["resamples"]), (&json!("text_difference"), &json!(0)));
    assert_eq!(texts["most_different"][0]["a"]["text"], "a photo of something");
}

#[test]
fn reports_are_put_side_by_side() {
    let desk = desk();
    let found = json_of(&desk.run(&["compare", "bad.json", "good.json", "--json"]));
    let cider = figure(&found, "cider");
    assert!(cider["difference"].as_f64().unwrap() > 0.0 && cider.get("bootstrap").is_none(), "{cider}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let desk = desk();
    let scores = std::fs::read_to_string(desk.join("good.scores")).unwrap();
    let mut lines: Vec<&str> = scores.lines().collect();
    let last = lines.pop().unwrap();
    desk.write("fewer.scores", lines.join("\n").as_bytes());
    desk.write(
        "other.scores",
        format!("{}\n{}", lines.join("\n"), last.replace("the boat", "some boat")).as_bytes(),
    );
    std::fs::create_dir(desk.join("empty")).unwrap();
    for (a, b, expected) in [
        ("good.scores", "nowhere.scores", "nowhere.scores: "),
        (
            "good.scores",
            "fewer.scores",
            "expected the same pictures in both, found 1 in good.scores alone and 0 in fewer.scores alone: 23",
        ),
        (
            "good.scores",
            "other.scores",
            "expected the same references in both, found others for 1 pictures in other.scores than in good.scores: 23",
        ),
        (
            "good.scores",
            "good.jsonl",
            "found captions with scores in good.scores and captions without scores in good.jsonl",
        ),
        ("good.scores", "good.json", "a report of figures in good.json"),
        ("empty", "empty", "empty: expected a run folder, which has a log.jsonl"),
        ("empty", "good.json", "found a run in empty and a report of figures in good.json"),
        ("red.png", "good.json", "red.png: is not UTF-8"),
    ] {
        let refused = desk.run(&["compare", a, b]);
        assert_eq!((refused.code, &refused.stdout[..]), (2, ""), "{a} {b}");
        assert!(refused.check_messages().stderr.contains(expected), "{a} {b}: {}", refused.stderr);
    }
    let unknown = desk.run(&["compare", "good.scores", "bad.scores", "--by", "spice"]);
    assert!(
        unknown.code == 2 && unknown.stderr.contains("`--by`: no figure \"spice\""),
        "{}",
        unknown.stderr
    );
    let alone = desk.run(&["compare", "good.jsonl", "bad.jsonl", "--tokenize", "char"]);
    assert_eq!(alone.code, 2, "an option that would do nothing is refused: {}", alone.stdout);
}

/// The logs of two runs; how they come about is `mplug train`'s matter.
#[test]
fn runs_are_compared_without_training() {
    let desk = Desk::new();
    for (name, rate, last) in [("a", 0.001, 2.0), ("b", 0.002, 1.5)] {
        let mut log = String::new();
        for event in [
            json!({"event": "started", "step": 0, "steps": 20, "parameters": 1234, "time": 10.0,
                "settings": {"output": name, "optimizer.learning_rate": rate, "seed": 1}}),
            json!({"event": "step", "step": 10, "loss": 4.0, "learning_rate": rate, "time": 15.0}),
            json!({"event": "step", "step": 20, "loss": last, "learning_rate": rate, "time": 20.0}),
            json!({"event": "evaluated", "step": 20, "metrics": {"loss": last + 1.0, "cider": 3.0 - last}, "best": true,
                "samples": [{"text": format!("{name} cat"), "expected": "a cat"}], "time": 21.0}),
        ] {
            writeln!(log, "{event}").unwrap();
        }
        desk.write(&format!("runs/{name}/log.jsonl"), log.as_bytes());
    }
    let text = desk.run(&["compare", "runs/a", "runs/b", "--html", "runs.html"]);
    assert_eq!(text.code, 0, "{}", text.stderr);
    for expected in [
        "step 20 of 20, 1,234 parameters, 11 s",
        "optimizer.learning_rate",
        "train.loss",
        "1.5 (20)",
        "A: a cat\n    B: b cat",
    ] {
        assert!(text.stdout.contains(expected), "{expected}: {}", text.stdout);
    }
    assert!(!text.stdout.contains("output"), "{}", text.stdout);
    let page = std::fs::read_to_string(desk.join("runs.html")).unwrap();
    assert!(
        page.contains("A training: 4 at step 10, 2 at step 20.") && page.contains("B held out: 2.5"),
        "curves in one plot"
    );
    let found = json_of(&desk.run(&["compare", "runs/a", "runs/b/log.jsonl", "--json"]));
    assert_eq!((&found["compared"], &found["settings"][0]["b"]), (&json!("runs"), &json!(0.002)));
    desk.write("references.jsonl", b"{\"image_id\":1,\"path\":\"red.png\",\"captions\":[\"a\"]}\n");
    for option in ["--seed", "--show", "--resamples"] {
        let refused = desk.run(&["compare", "runs/a", "runs/b", option, "200"]);
        assert_eq!((refused.code, &refused.stdout[..]), (2, ""), "{option}");
        assert!(
            refused.stderr.contains(&format!("`{option}` has no meaning for these two")),
            "{}",
            refused.stderr
        );
    }
    let refused = desk.run(&["compare", "runs/a", "runs/b", "--references", "references.jsonl"]);
    assert!(refused.code == 2 && refused.stderr.contains("`--references`: "), "{}", refused.stderr);
}
