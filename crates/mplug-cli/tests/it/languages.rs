//! Captions in several languages: each record is that of a run of its language alone, in every format, whatever happens to the run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mplug::checkpoint::WriteOptions;
use mplug::config::Task;
use serde_json::Value;

use crate::bulk::members;
use crate::support::{Desk, Outcome};
use crate::tensors::overflow;

const BOTH: [&str; 2] = ["--language", "en,zh"];
/// The demo model, which is of another picture size than the tiny ones.
const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../mplug-demo-caption/model");

/// A desk whose model writes Chinese and, after a prompt, English; with pictures of which one is broken and two are equal.
fn desk() -> Desk {
    let desk = Desk::new();
    prompted(&desk, "model");
    for name in ["red.png", "green.png", "blue.jpg"] {
        fs::create_dir_all(desk.join("p")).unwrap();
        fs::copy(desk.join(name), desk.join("p").join(name)).unwrap();
    }
    fs::copy(desk.join("red.png"), desk.join("p/same.png")).unwrap();
    desk.write("p/broken.png", b"no picture");
    desk
}

/// Lets a model write English after a prompt.
fn prompted(desk: &Desk, model: &str) {
    let config = desk.join(&format!("{model}/config.yaml"));
    let text = fs::read_to_string(&config).unwrap();
    fs::write(config, text + "prompts: {\"en\":\"a cat\"}\n").unwrap();
}

fn caption(desk: &Desk, args: &[&str]) -> Outcome {
    let outcome = desk.caption(&[args, &["--max-new-tokens", "6"]].concat());
    outcome.check_messages();
    outcome
}

fn read(desk: &Desk, name: &str) -> String {
    fs::read_to_string(desk.join(name)).unwrap()
}

/// What runs of one language each say, and what a run of both says, after `args`.
fn apart_and_together(desk: &Desk, args: &[&str]) -> ([Outcome; 2], Outcome) {
    let apart = ["en", "zh"].map(|code| caption(desk, &[args, &["--language", code]].concat()));
    let together = caption(desk, &[args, &BOTH].concat());
    for outcome in &apart {
        assert_eq!((outcome.code, &outcome.stderr), (together.code, &together.stderr));
    }
    assert_ne!(apart[0].stdout, apart[1].stdout, "the languages differ");
    (apart, together)
}

#[test]
fn records_are_those_of_separate_runs() {
    let desk = desk();
    for options in [&[][..], &["--captions", "2", "--beams", "3"], &["--sample", "--seed", "3"]] {
        let args = [&["p", "--format", "jsonl", "--batch-size", "3"], options].concat();
        let ([english, chinese], together) = apart_and_together(&desk, &args);
        assert_eq!(together.code, 1);
        assert!(together.stderr.contains("1 of 5 inputs failed"), "{}", together.stderr);
        let mut expected = Vec::new();
        for (english, chinese) in english.stdout.lines().zip(chinese.stdout.lines()) {
            if english.contains("\"error\"") {
                assert_eq!(english, chinese);
                expected.push(english.to_owned());
                continue;
            }
            for (line, code) in [(english, "en"), (chinese, "zh")] {
                expected.push(line.replacen(
                    ",\"caption\"",
                    &format!(",\"language\":\"{code}\",\"caption\""),
                    1,
                ));
            }
        }
        assert_eq!(expected.len(), 9);
        assert_eq!(together.stdout.lines().collect::<Vec<_>>(), expected);
        let array = caption(&desk, &[&["p", "--format", "json"], &BOTH[..], options].concat());
        assert_eq!(serde_json::from_str::<Vec<Value>>(&array.stdout).unwrap(), together.jsonl());
    }
}

#[test]
fn lines_and_rows_say_the_language() {
    let desk = desk();
    let ([english, chinese], together) = apart_and_together(&desk, &["p"]);
    let with = |line: &str, code: &str| {
        let (path, caption) = line.split_once('\t').unwrap();
        format!("{path}\t{code}\t{caption}\n")
    };
    let pairs = english.stdout.lines().zip(chinese.stdout.lines());
    let expected: String = pairs.map(|(en, zh)| with(en, "en") + &with(zh, "zh")).collect();
    assert_eq!(together.stdout, expected);
    let alone = caption(&desk, &[&["p/red.png"], &BOTH[..]].concat()).stdout;
    let lines: Vec<&str> = alone.lines().map(|line| line.split_once('\t').unwrap().0).collect();
    assert_eq!(lines, ["en", "zh"], "one file needs no path");

    let ([english, chinese], together) = apart_and_together(&desk, &["p", "--format", "csv"]);
    let table = |outcome: &Outcome| -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(outcome.stdout.as_bytes());
        reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
    };
    let mut rows = table(&together).into_iter();
    assert_eq!(rows.next().unwrap(), ["path", "language", "caption", "score", "error"]);
    for (english, chinese) in table(&english).into_iter().zip(table(&chinese)).skip(1) {
        let with = |row: &[String], code: &str| [&row[..1], &[code.to_owned()], &row[1..]].concat();
        if english[1].is_empty() {
            assert_eq!(rows.next().unwrap(), with(&english, ""));
        } else {
            assert_eq!(
                [rows.next().unwrap(), rows.next().unwrap()],
                [with(&english, "en"), with(&chinese, "zh")]
            );
        }
    }
    assert_eq!(rows.next(), None);
}

/// The `.txt` files below p, by name.
fn texts(desk: &Desk) -> BTreeMap<String, String> {
    let entries = fs::read_dir(desk.join("p")).unwrap().map(|entry| entry.unwrap());
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let names = names.filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "txt"));
    names.map(|name| (name.clone(), read(desk, &format!("p/{name}")))).collect()
}

#[test]
fn each_language_has_its_text_file_and_its_members() {
    let desk = desk();
    let mut expected = BTreeMap::new();
    for code in ["en", "zh"] {
        let outcome = caption(&desk, &["p", "--format", "sidecar", "--language", code, "--output", "apart"]);
        assert_eq!(outcome.code, 1, "{outcome:?}");
        for stem in ["red", "green", "blue", "same"] {
            expected.insert(format!("{stem}.{code}.txt"), read(&desk, &format!("apart/{stem}.txt")));
        }
        fs::remove_dir_all(desk.join("apart")).unwrap();
    }
    let sidecar = [&["p", "--format", "sidecar"], &BOTH[..]].concat();
    assert_eq!(caption(&desk, &sidecar).code, 1);
    assert_eq!(texts(&desk), expected);
    // What is missing is written, what is there stays.
    desk.write("p/red.zh.txt", "mine\n".as_bytes());
    fs::remove_file(desk.join("p/red.en.txt")).unwrap();
    let again = caption(&desk, &sidecar);
    assert!(again.stderr.contains("3 pictures have a text file already"), "{again:?}");
    expected.insert("red.zh.txt".to_owned(), "mine\n".to_owned());
    assert_eq!(texts(&desk), expected);
    let appended = caption(&desk, &[&sidecar[..], &["--on-existing", "append"]].concat());
    assert_eq!(appended.code, 1, "{appended:?}");
    let chinese = expected["same.zh.txt"].clone();
    assert_eq!(texts(&desk)["red.zh.txt"], format!("mine, {chinese}"));

    let tar = |output: &str, language: &str| {
        let args = ["p", "--format", "tar", "--output", output, "--force", "--language", language];
        assert_eq!(caption(&desk, &args).code, 1);
        members(desk.join(output))
    };
    let (mut expected, together) = (BTreeMap::new(), tar("both.tar", "en,zh"));
    for code in ["en", "zh"] {
        for (name, bytes) in tar("one.tar", code) {
            let (key, ending) = name.split_once('.').unwrap();
            let is_shared = ending == "png" || ending == "jpg" || key == "broken";
            let name = if is_shared { name.clone() } else { format!("{key}.{code}.{ending}") };
            let said = String::from_utf8_lossy(&bytes);
            let with = said.replacen(",\"caption\"", &format!(",\"language\":\"{code}\",\"caption\""), 1);
            expected.insert(name, if ending == "json" { with.into_bytes() } else { bytes });
        }
    }
    assert_eq!(together.len(), 4 * 5 + 1);
    assert!(together == expected, "{:?} {:?}", together.keys(), expected.keys());
}

/// A prompt, another model, another picture size: what each model writes is what it writes alone.
#[test]
fn each_model_writes_what_it_has() {
    let desk = desk();
    desk.model("chinese", Task::ImageCaptioning);
    let args = ["caption", "p", "--format", "jsonl", "--max-new-tokens", "6"];
    let run = |more: &[&str]| desk.run(&[&args[..], more].concat());
    let chinese = run(&["--model", "chinese", "--language", "zh"]).jsonl();
    let english = run(&["--model", DEMO, "--language", "en"]).jsonl();
    // The first that writes Chinese is not the demo model.
    let together = run(&["--model", "chinese", "--model", DEMO, "--language", "en,zh"]);
    assert_eq!(together.code, 1, "{together:?}");
    let mut records = together.jsonl().into_iter();
    for (english, chinese) in english.into_iter().zip(chinese) {
        for (expected, code) in [(english, "en"), (chinese, "zh")] {
            if expected.get("error").is_some() {
                if code == "en" {
                    assert_eq!(records.next().unwrap(), expected);
                }
                continue;
            }
            let mut found = records.next().unwrap();
            assert_eq!(found.as_object_mut().unwrap().remove("language").unwrap(), code);
            assert_eq!(found, expected);
        }
    }
    assert_eq!(records.next(), None);
    for (more, expected) in [
        (&["--language", "en,zh"][..], "`--language`: expected zh, which these models write, found en"),
        (&["--language", "zh"], "which writes zh, has none), found zh"),
        (&[], "`--language`: expected a language for every model (chinese"),
    ] {
        let refused = run(&[&["--model", "chinese", "--model", "chinese"], more].concat());
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
    let refused = run(&["--model", "chinese", "--language", "en"]);
    let expected = "`--language`: expected zh, which this model writes, found en";
    assert!(refused.code == 2 && refused.stderr.contains(expected), "{refused:?}");
}

/// A picture counts once, whatever number of its languages failed.
#[test]
fn a_language_fails_alone() {
    let desk = desk();
    desk.edited_model("large", Task::ImageCaptioning, WriteOptions::default(), |recipe| {
        overflow(recipe, Task::ImageCaptioning);
    });
    prompted(&desk, "large");
    desk.model("chinese", Task::ImageCaptioning);
    let models = ["caption", "--model", "chinese", "--model", "large", "--language", "zh,en", "p"];
    let run = |more: &[&str]| desk.run(&[&models[..], more].concat());
    let outcome = run(&["--format", "jsonl", "--output", "out.jsonl"]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let message = &outcome.check_messages().stderr;
    assert!(message.contains("p/red.png: en: the model's output is not a number"), "{message}");
    assert!(
        message.contains("5 of 5 inputs failed") && message.contains("4 x the model's output"),
        "{message}"
    );
    let lines = read(&desk, "out.jsonl");
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 9);
    for pair in records.iter().filter(|record| record["path"] != "p/broken.png").collect::<Vec<_>>().chunks(2)
    {
        assert!(pair[0]["language"] == "zh" && pair[0]["caption"].is_string(), "{pair:?}");
        let keys: Vec<&str> = pair[1].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["path", "language", "error"]);
        assert_eq!(pair[1]["language"], "en");
    }
    let sidecar = run(&["--format", "sidecar"]);
    assert_eq!(sidecar.code, 1, "{sidecar:?}");
    assert_eq!(
        texts(&desk).into_keys().collect::<Vec<_>>(),
        ["blue.zh.txt", "green.zh.txt", "red.zh.txt", "same.zh.txt"]
    );
    let stopped = run(&["--errors", "fail", "--batch-size", "1", "--output", "out.txt"]);
    assert!(stopped.stderr.contains("0 of 5 inputs done"), "{stopped:?}");
}

#[test]
fn what_is_no_list_of_languages_is_refused() {
    let desk = desk();
    for (languages, expected) in [
        ("fr", "expected a language, `zh` or `en`, found `fr`"),
        ("zh,fr", "found `fr`"),
        ("zh,zh", "expected each language once, found `zh` twice"),
        ("zh,", "found ``"),
    ] {
        let refused = desk.caption(&["p", "--language", languages]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
}

#[test]
fn other_languages_are_another_run() {
    let desk = desk();
    let args = ["p", "--output", "out.txt", "--batch-size", "1"];
    let stopped = caption(&desk, &[&args[..], &["--errors", "fail"], &BOTH].concat());
    assert_eq!(stopped.code, 1, "{stopped:?}");
    for languages in [&["--language", "en"][..], &["--language", "zh,en"], &[]] {
        let other = caption(&desk, &[&args[..], &["--resume"], languages].concat());
        assert!(other.code == 2 && other.stderr.contains("another run"), "{languages:?}: {other:?}");
    }
    let resumed = caption(&desk, &[&args[..], &["--resume"], &BOTH].concat());
    assert_eq!(resumed.code, 1, "{resumed:?}");
    assert_eq!(read(&desk, "out.txt"), caption(&desk, &[&["p"], &BOTH[..]].concat()).stdout);
}

/// Pictures of different colours in `p`.
fn many(desk: &Desk, count: u8) {
    for number in 0..count {
        desk.picture(&format!("p/{number:03}.png"), [number / 3, 80, 200]);
    }
}

#[test]
fn a_run_killed_again_and_again_ends_in_the_same_bytes() {
    let desk = desk();
    many(&desk, 120);
    let args = [&["p", "--format", "jsonl"], &BOTH[..]].concat();
    let whole = caption(&desk, &args).stdout;
    assert_eq!(whole.lines().count(), 2 * 124 + 1);
    let args = [&args[..], &["--output", "out.jsonl"]].concat();
    let kills = desk.caption_killed(&args, "out.jsonl.part", || desk.join("out.jsonl").exists());
    assert!(kills > 2, "only {kills} kills");
    assert_eq!(read(&desk, "out.jsonl"), whole);
    let parts =
        ["0/3", "1/3", "2/3"].map(|shard| caption(&desk, &[&args[..5], &["--shard", shard]].concat()));
    assert_eq!(parts.map(|part| part.stdout).concat(), whole);
}

#[test]
fn appended_texts_survive_a_kill() {
    let desk = desk();
    many(&desk, 90);
    let mut expected = BTreeMap::new();
    for line in caption(&desk, &[&["p"], &BOTH[..]].concat()).stdout.lines() {
        let [path, code, caption] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
        desk.write(&format!("p/{stem}.{code}.txt"), b"mine\n");
        expected.insert(format!("{stem}.{code}.txt"), format!("mine, {caption}\n"));
    }
    let journal = "p/.mplug-captions.part";
    let is_over = || !desk.join(journal).exists() && read(&desk, "p/same.zh.txt") != "mine\n";
    let args = [&["p", "--format", "sidecar", "--on-existing", "append"], &BOTH[..]].concat();
    let kills = desk.caption_killed(&args, journal, is_over);
    assert!(kills > 2, "only {kills} kills");
    assert_eq!(texts(&desk), expected);
}
