//! Files of captions and answers, of ours and of others, as `mplug eval` reads them: what is read, what is refused, and that no
//! figure is ever of something else.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Desk, Outcome};

fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

fn score(desk: &Desk, references: &str, candidates: &str, options: &[&str]) -> Outcome {
    let files = ["eval", "--references", references, "--candidates", candidates, "--format", "json"];
    desk.run(&[&files, options].concat())
}

fn report(outcome: &Outcome) -> Value {
    assert_eq!(outcome.code, 0, "{outcome:?}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

fn figure(report: &Value, key: &str) -> f64 {
    report["scores"][key].as_f64().unwrap()
}

/// Case 01: text output, a table with its first line and without, each as the same captions in JSON lines.
#[test]
fn our_own_text_and_tables_are_no_plain_captions() {
    let desk = Desk::new();
    let references = fixture("captions/coco_en.json");
    for name in ["captions_right.jsonl", "captions.txt", "captions.csv", "captions_with_head.csv"] {
        let found = report(&score(&desk, &references, &fixture(&format!("captions/{name}")), &[]));
        assert!((figure(&found, "bleu_1") - 1.0).abs() < 1e-9, "{name}: {found}");
        assert!((figure(&found, "cider") - 4.460_1).abs() < 1e-4, "{name}: {found}");
    }
    desk.write("plain.txt", b"an orange cat below the moon\nthree red cars on the grass\nan orange fish in the water\nfour white hearts\n");
    let plain = report(&score(&desk, &references, "plain.txt", &[]));
    assert!((figure(&plain, "cider") - 4.460_1).abs() < 1e-4, "one caption a line stays what it is: {plain}");
    desk.write(
        "odd.txt",
        b"cat-and-moon.png an orange cat\ncars.png cars\nfish.png fish\nhearts.jpg hearts\n",
    );
    let refused = score(&desk, &references, "odd.txt", &[]);
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
    let expected = "odd.txt line 1: expected one caption a line in the order of the references, or a picture, a tab and a caption; \
                    found a line that begins with the picture \"cat-and-moon.png\"";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
}

/// Case 15: captions of a part of the references.
#[test]
fn a_part_of_the_references_is_scored_with_an_option() {
    let desk = Desk::new();
    let (references, results) = (fixture("captions/coco_en.json"), fixture("captions/results_of_three.json"));
    let refused = score(&desk, &references, &results, &[]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.stderr.contains("no candidate for 1 of the 4 images")
            && refused.stderr.contains("`--subset`"),
        "{}",
        refused.stderr
    );
    let part = score(&desk, &references, &results, &["--subset"]);
    assert!(part.stderr.contains("note: 3 of the 4 images of "), "{}", part.stderr);
    let part = report(&part);
    // The references without the fourth picture, in a file: as `params["image_id"]` of the reference evaluator.
    let mut whole: Value = serde_json::from_str(&fs::read_to_string(&references).unwrap()).unwrap();
    whole["images"].as_array_mut().unwrap().truncate(3);
    whole["annotations"].as_array_mut().unwrap().truncate(9);
    desk.write("three.json", whole.to_string().as_bytes());
    assert_eq!(part, report(&score(&desk, "three.json", &results, &[])));
    assert_eq!((&part["images"], &part["references"], &part["failed"]), (&3.into(), &9.into(), &0.into()));
    let alone = desk.run(&["eval", "--references", &references, "--subset"]);
    assert_eq!(alone.code, 2, "an option that would be ignored is refused");
    let compared =
        desk.run(&["compare", &results, &results, "--references", &references, "--subset", "--json"]);
    assert_eq!(compared.code, 0, "{compared:?}");
}

/// Case 34: answers of a file, by the official accuracy (a run of the official evaluator's rules on these 40 questions: 0.5825).
#[test]
fn answers_of_a_file_are_scored_officially() {
    let desk = Desk::new();
    let answers = fixture("vqa/answers.json");
    for named in ["v2_mscoco_val2014_annotations.json", "v2_OpenEnded_mscoco_val2014_questions.json"] {
        let references = fixture(&format!("vqa/{named}"));
        let found = report(&score(&desk, &references, &answers, &["--per-image", "lines.jsonl"]));
        assert_eq!((&found["questions"], &found["vqa_accuracy"]["questions"]), (&40.into(), &40.into()));
        assert!((found["vqa_accuracy"]["score"].as_f64().unwrap() - 0.582_5).abs() < 1e-9, "{found}");
        assert_eq!(fs::read_to_string(desk.join("lines.jsonl")).unwrap().lines().count(), 40);
        // Lines of --per-image are answers themselves.
        let again = report(&score(&desk, &references, "lines.jsonl", &[]));
        assert_eq!(again, found);
        desk.write("some.csv", b"question_id,answer\n0,yes\n2,2\n");
        let refused = score(&desk, &references, "some.csv", &[]);
        assert!(refused.code == 2 && refused.stderr.contains("`--subset`"), "{refused:?}");
        let some = report(&score(&desk, &references, "some.csv", &["--subset"]));
        assert_eq!(some["questions"], 2);
        let refused = score(&desk, &references, &answers, &["--html", "page.html"]);
        assert!(
            refused.code == 2 && refused.stderr.contains("`--html` has no meaning for answers"),
            "{refused:?}"
        );
    }
}

/// Case 16: what people have is read as references, and as a data set whose pictures are in a folder.
#[test]
fn common_caption_files_are_read() {
    let desk = Desk::new();
    for name in ["cat-and-moon.png", "cars.png", "fish.png", "hearts.jpg"] {
        desk.picture(&format!("images/{name}"), [9, 90, 200]);
    }
    for (name, references) in [
        ("captions.tsv", 4),
        ("captions.txt", 12),
        ("flickr8kzhm.caption.txt", 12),
        ("metadata.csv", 4),
        ("results.csv", 12),
    ] {
        let path = fixture(&format!("captions/data/{name}"));
        let options = ["--model", "model", "--images", "images", "--format", "json", "--max-new-tokens", "4"];
        let found = report(&desk.run(&[&["eval", "--dataset", &path], &options[..]].concat()));
        assert_eq!((&found["images"], &found["references"]), (&4.into(), &references.into()), "{name}");
        let tokens = if name.contains("zhm") { "char" } else { "ptb" };
        assert_eq!(found["tokenization"], tokens, "{name}");
        let candidates = fixture("captions/captions.txt");
        let found = report(&score(&desk, &path, &candidates, &[]));
        assert_eq!(found["images"], 4, "{name}");
    }
    let ids = fixture("captions/data/gts.json");
    desk.write(
        "results.json",
        br#"[{"image_id": 1, "caption": "a cat"}, {"image_id": 2, "caption": "cars"},
        {"image_id": 3, "caption": "a fish"}, {"image_id": 4, "caption": "hearts"}]"#,
    );
    let found = report(&score(&desk, &ids, "results.json", &[]));
    assert_eq!((&found["images"], &found["references"]), (&4.into(), &12.into()));
}

/// Case 40: what `mplug caption` writes, in every format, is read back as a data set, as references and as candidates.
#[test]
fn everything_that_we_write_is_read_back() {
    let desk = Desk::new();
    for (name, colour) in [("a.png", [200, 20, 20]), ("b.jpg", [20, 180, 40]), ("sub/c.png", [30, 40, 220])] {
        desk.picture(&format!("photos/{name}"), colour);
    }
    let caption = |options: &[&str]| {
        let written = desk.caption(&[&["photos", "-r", "--max-new-tokens", "6"], options].concat());
        assert_eq!(written.code, 0, "{written:?}");
        written.stdout
    };
    desk.write("own.txt", caption(&["--format", "text"]).as_bytes());
    let mut files =
        vec!["own.txt", "own.json", "own.jsonl", "own.csv", "own.tar", "n.json", "n.csv", "n.tar"];
    if cfg!(feature = "parquet") {
        files.extend(["own.parquet", "n.parquet"]);
    }
    for file in files.iter().filter(|file| **file != "own.txt") {
        let (stem, format) = file.split_once('.').unwrap();
        let several = ["--captions", "2", "--beams", "3"];
        let several = if stem == "n" { &several[..] } else { &[] };
        caption(&[&["--format", format, "--output", file], several].concat());
    }
    desk.write("n.txt", caption(&["--format", "text", "--captions", "2", "--beams", "3"]).as_bytes());
    files.push("n.txt");
    // Last, so that the folder has texts no sooner.
    caption(&["--format", "sidecar"]);
    files.push("photos");
    for references in files.iter().filter(|file| !file.starts_with("n.")) {
        for candidates in files.iter().filter(|file| !file.starts_with("n.")) {
            let found = report(&score(&desk, references, candidates, &["--metrics", "accuracy"]));
            assert_eq!(found["images"], 3, "{candidates} against {references}");
            assert!((figure(&found, "accuracy") - 1.0).abs() < 1e-12, "{candidates} against {references}");
        }
    }
    for file in files.iter().filter(|file| file.starts_with("n.")) {
        let found = report(&score(&desk, "n.json", file, &["--metrics", "accuracy"]));
        assert!((figure(&found, "accuracy") - 1.0).abs() < 1e-12, "the best of several: {file}");
    }
    for file in &files {
        // Paths in files begin with the folder, which lies beside them; an archive has its pictures.
        let options =
            ["--model", "model", "--metrics", "accuracy", "--format", "json", "--max-new-tokens", "6"];
        let found = report(&desk.run(&[&["eval", "--dataset", file], &options[..]].concat()));
        assert_eq!((&found["images"], &found["failed"]), (&3.into(), &0.into()), "{file}: {found}");
        if !file.starts_with("n.") {
            assert!((figure(&found, "accuracy") - 1.0).abs() < 1e-12, "{file}: the model's own captions");
        }
    }
}

/// Pictures that failed when they were captioned: errors of candidates, and left out of a data set with a note.
#[test]
fn our_own_errors_are_read_back_as_errors() {
    let desk = Desk::new();
    desk.picture("photos/a.png", [200, 20, 20]);
    desk.picture("photos/b.png", [20, 200, 20]);
    desk.write("photos/c.png", b"no picture");
    desk.write(
        "references.jsonl",
        b"{\"path\":\"a.png\",\"caption\":\"x\"}\n{\"path\":\"b.png\",\"caption\":\"y\"}\n{\"path\":\"c.png\",\"caption\":\"z\"}\n",
    );
    for format in ["jsonl", "json", "csv", "tar"] {
        let file = format!("out.{format}");
        let options = ["photos", "--max-new-tokens", "4", "--format", format, "--output", &file];
        assert_eq!(desk.caption(&options).code, 1);
        let scored = score(&desk, "references.jsonl", &file, &[]);
        assert!(scored.code == 1 && scored.stderr.contains("c.png is not scored"), "{format}: {scored:?}");
        let found: Value = serde_json::from_str(&scored.stdout).unwrap();
        assert_eq!((&found["images"], &found["failed"]), (&2.into(), &1.into()), "{format}");
        let options =
            ["--model", "model", "--metrics", "accuracy", "--format", "json", "--max-new-tokens", "4"];
        let dataset = desk.run(&[&["eval", "--dataset", &file], &options[..]].concat());
        assert_eq!(report(&dataset)["images"], 2, "{format}");
        assert!(
            dataset.stderr.contains("1 pictures with an error in place of a caption"),
            "{format}: {dataset:?}"
        );
    }
}

#[test]
fn chinese_captions_against_english_references_are_noted() {
    let desk = Desk::new();
    desk.write(
        "zh.txt",
        "cat-and-moon.png\t一只猫\ncars.png\t三辆车\nfish.png\t一条鱼\nhearts.jpg\t四颗心\n".as_bytes(),
    );
    let references = fixture("captions/coco_en.json");
    let found = score(&desk, &references, "zh.txt", &[]);
    assert_eq!(figure(&report(&found), "cider").to_bits(), 0_f64.to_bits());
    assert!(
        found.stderr.contains("note: the candidates are Chinese and the references are not"),
        "{}",
        found.stderr
    );
    let chinese = fixture("captions/data/flickr8kzhm.caption.txt");
    let found = score(&desk, &chinese, &fixture("captions/captions.txt"), &[]);
    assert!(
        found.stderr.contains("note: the references are Chinese and the candidates are not"),
        "{}",
        found.stderr
    );
    let same = score(&desk, &chinese, "zh.txt", &[]);
    assert_eq!((same.code, same.stderr.as_str()), (0, ""), "{same:?}");
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_build_without_parquet_says_so() {
    let desk = Desk::new();
    desk.write("own.parquet", b"PAR1 and more");
    let refused = score(&desk, "own.parquet", "own.parquet", &[]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("expected a build that reads Parquet")
            && refused.stderr.contains("--features parquet"),
        "{refused:?}"
    );
}
