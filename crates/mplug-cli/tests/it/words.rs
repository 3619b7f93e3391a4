//! Words in captions: forbidden, required, different, and keywords. With the demo models, which can write.

use std::path::Path;

use crate::support::{Outcome, run_in};

fn examples() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/examples"))
}

/// Captions an example with the demo model.
fn caption(args: &[&str]) -> Outcome {
    let outcome = run_in(examples(), &[&["caption"], args].concat());
    outcome.check_messages();
    outcome
}

fn text(args: &[&str]) -> String {
    let outcome = caption(args);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    outcome.stdout.trim_end().to_owned()
}

#[test]
fn a_forbidden_word_is_never_written() {
    let plain = text(&["cat-and-moon.png"]);
    assert!(plain.contains('猫') && plain.contains("橙色"), "{plain}");
    let outcome =
        caption(&[".", "--forbid", "猫", "--forbid", "橙色", "--captions", "5", "--format", "jsonl"]);
    for line in outcome.jsonl() {
        for found in line["captions"].as_array().unwrap() {
            let found = found["caption"].as_str().unwrap();
            assert!(!found.contains('猫') && !found.contains("橙色"), "{found}");
        }
    }
    let sampled = text(&["cat-and-moon.png", "--sample", "--seed", "5", "--captions", "9", "--forbid", "猫"]);
    assert!(!sampled.contains('猫'), "{sampled}");
    // What never came up changes nothing.
    assert_eq!(text(&["cat-and-moon.png", "--forbid", "汽车", "--forbid", "wort"]), plain);
    // A whole word is meant: "a" and "at" are in no caption as words, "moon" is in "moon".
    let english = ["cat-and-moon.png", "--language", "en"];
    let plain = text(&english);
    assert!(plain.contains("moon"), "{plain}");
    assert_eq!(text(&[&english[..], &["--forbid", "oon"]].concat()), plain);
    assert!(!text(&[&english[..], &["--forbid", "MOON"]].concat()).contains("moon"));
}

#[test]
fn a_required_word_is_in_every_caption() {
    let outcome = caption(&[".", "--include", "蓝色", "--captions", "3", "--format", "jsonl"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    for line in outcome.jsonl() {
        for found in line["captions"].as_array().unwrap() {
            assert!(found["caption"].as_str().unwrap().contains("蓝色"), "{found}");
        }
    }
    for (args, expected) in [
        (&["--include", "手机"][..], "`手机` is required, but the model's vocabulary cannot write it"),
        (&["--include", "蓝色", "--forbid", "色"], "`色` is forbidden"),
        (&["--include", "蓝色", "--max-new-tokens", "2"], "at most 2 are generated"),
        (&["--include", "蓝色", "--sample"], "cannot be used with"),
        (&["--forbid", "猫", "--prefix", "一只猫"], "the prefix has it"),
        (&["--diverse"], "--captions"),
    ] {
        let outcome = run_in(examples(), &[&["caption", "cars.png"], args].concat());
        assert_eq!(outcome.code, 2, "{args:?}: {}", outcome.stdout);
        assert!(outcome.stderr.contains(expected), "{args:?}: {}", outcome.stderr);
    }
}

#[test]
fn captions_that_say_nearly_the_same_are_left_out() {
    let lines = |args: &[&str]| -> Vec<String> {
        let text = text(&[&[".", "--captions", "5"], args].concat());
        text.lines().map(str::to_owned).collect()
    };
    let (plain, some, few) = (lines(&[]), lines(&["--diverse=0.3"]), lines(&["--diverse=1"]));
    assert_eq!(plain.len(), 5 * 7, "five captions of seven pictures");
    assert!(7 <= few.len() && few.len() <= some.len() && some.len() < plain.len(), "{some:?} {few:?}");
    let mut left = plain.iter();
    assert!(some.iter().all(|kept| left.any(|line| line == kept)), "others, or in another order: {some:?}");
}

#[cfg(feature = "jieba")]
#[test]
fn keywords_come_from_all_captions() {
    let line = text(&["cars.png", "--tags=3"]);
    let (caption, tags) = line.split_once('\t').unwrap();
    assert!(!caption.contains('\t'));
    assert!(tags.split(',').any(|tag| tag == "汽车"), "{line}");
    let outcome = caption_json(&["cars.png", "--tags", "--format", "jsonl"]);
    let tags = outcome["tags"].as_array().unwrap();
    let weights: Vec<f64> = tags.iter().map(|tag| tag["weight"].as_f64().unwrap()).collect();
    assert!(weights.is_sorted_by(|one, other| one >= other), "{tags:?}");
    assert!(weights.iter().all(|weight| (0.0..=1.000_001).contains(weight)), "{tags:?}");
    assert_eq!(outcome.get("captions"), None, "one caption was requested");
}

/// What trainers of LoRA adapters want: `trigger, caption, tag, tag`.
#[cfg(feature = "jieba")]
#[test]
fn keywords_stand_behind_captions_or_alone() {
    let (caption_text, tags) = text(&["cars.png", "--tags=3"])
        .split_once('\t')
        .map(|(c, t)| (c.to_owned(), t.replace(',', ", ")))
        .unwrap();
    let one_line = ["cars.png", "--tags=3", "--one-line", "--prepend", "sks style, "];
    assert_eq!(text(&one_line), format!("sks style, {caption_text}, {tags}"));
    assert_eq!(text(&["cars.png", "--tags=3", "--tags-only"]), tags);
    let chinese = ["--separator", "zh=，", "--separator", "en=; "];
    let expected = format!("{caption_text}，{}", tags.replace(", ", "，"));
    assert_eq!(text(&[&one_line[..3], &chinese].concat()), expected);
    let english = text(&[&one_line[..3], &chinese, &["--language", "en"]].concat());
    assert!(english.contains("; ") && !english.contains('，'), "{english}");
    let record = caption_json(&[&one_line[..], &["--format", "jsonl"]].concat());
    assert_eq!(record["caption"], format!("sks style, {caption_text}, {tags}"));
    assert_eq!(record["tags"].as_array().unwrap().len(), 3);
    for (args, expected) in [
        (&["--one-line"][..], "--tags"),
        (&["--tags-only", "--captions", "2"], "cannot be used with"),
        (&["--separator", "; "], "`--separator`: expected `--tags`"),
    ] {
        let outcome = run_in(examples(), &[&["caption", "cars.png"], args].concat());
        assert!(outcome.code == 2 && outcome.stderr.contains(expected), "{args:?}: {}", outcome.stderr);
    }
}

/// Half words of captions that were cut, and another language behind them, are no keywords.
#[cfg(feature = "jieba")]
#[test]
fn keywords_are_whole_words_of_the_captions_language() {
    let english = text(&[".", "--language", "en", "--tags"]);
    assert!(english.is_ascii(), "{english}");
    for line in text(&[".", "--tags"]).lines() {
        let (_, tags) = line.rsplit_once('\t').unwrap();
        let tags: Vec<&str> = tags.split(',').collect();
        for half in ["汽", "橙"] {
            assert!(!tags.contains(&half), "{line}");
        }
    }
}

#[cfg(feature = "jieba")]
fn caption_json(args: &[&str]) -> serde_json::Value {
    caption(args).jsonl().remove(0)
}
