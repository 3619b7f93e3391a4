//! `mplug caption`: shapes of the output, order, and inputs that fail on their own.

use serde_json::Value;

use crate::support::{Desk, outcome};

const PICTURES: [&str; 4] = ["red.png", "green.png", "blue.jpg", "两只 猫.png"];

#[test]
fn one_file_gives_the_caption_alone_and_several_a_table() {
    let desk = Desk::new();
    let alone = desk.caption(&["red.png"]);
    assert_eq!((alone.code, alone.stderr.as_str()), (0, ""), "{alone:?}");
    assert_eq!(alone.stdout.lines().count(), 1);
    assert!(!alone.stdout.contains('\t'));

    let table = desk.caption(&PICTURES);
    assert_eq!(table.code, 0);
    let names: Vec<_> = table.stdout.lines().map(|line| line.split_once('\t').unwrap().0).collect();
    assert_eq!(names, PICTURES);
    assert_eq!(table.stdout.lines().next().unwrap(), format!("red.png\t{}", alone.stdout.trim_end()));
}

#[test]
fn json_lines_have_the_contract_s_keys() {
    let desk = Desk::new();
    let plain = desk.caption(&["red.png", "--format", "jsonl"]).jsonl();
    let keys: Vec<_> = plain[0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["path", "caption", "score", "token_ids"]);
    assert_eq!(plain[0]["path"], "red.png");
    assert!(plain[0]["score"].as_f64().unwrap() < 0.0);

    let several = desk.caption(&["red.png", "--format", "jsonl", "--captions", "3"]).jsonl();
    let captions = several[0]["captions"].as_array().unwrap();
    assert_eq!(captions.len(), 3);
    for key in ["caption", "score", "token_ids"] {
        assert_eq!(several[0][key], captions[0][key]);
        assert_eq!(several[0][key], plain[0][key], "{key} does not depend on how many are shown");
    }
    let scores: Vec<_> = captions.iter().map(|caption| caption["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "best first: {scores:?}");
}

#[test]
fn json_is_one_array_of_the_same_objects() {
    let desk = Desk::new();
    let args = ["red.png", "missing.png", "green.png"];
    let array = desk.caption(&[&args[..], &["--format", "json"]].concat());
    let lines = desk.caption(&[&args[..], &["--format", "jsonl"]].concat());
    assert_eq!(serde_json::from_str::<Vec<Value>>(&array.stdout).unwrap(), lines.jsonl());
    assert_eq!((array.code, lines.code), (1, 1));
}

#[test]
fn several_captions_as_text_have_their_scores() {
    let outcome = Desk::new().caption(&["red.png", "green.png", "--captions", "2"]);
    let lines: Vec<Vec<_>> = outcome.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| line.len() == 3 && line[1].parse::<f32>().is_ok()), "{lines:?}");
    assert_eq!([lines[0][0], lines[1][0], lines[2][0]], ["red.png", "red.png", "green.png"]);
}

#[test]
fn a_bad_input_harms_no_other_and_keeps_its_place() {
    let desk = Desk::new();
    desk.write("empty.png", b"");
    desk.write("text.jpg", b"this is no picture");
    let whole = std::fs::read(desk.join("green.png")).unwrap();
    desk.write("cut.png", &whole[..whole.len() / 2]);
    let jpeg = std::fs::read(desk.join("blue.jpg")).unwrap();
    desk.write("cut.jpg", &jpeg[..jpeg.len() / 2]);
    desk.write("none/notes.txt", b"no picture here");
    let args = [
        "red.png",
        "missing.png",
        "empty.png",
        "green.png",
        "text.jpg",
        "cut.png",
        "cut.jpg",
        "none",
        "blue.jpg",
    ];
    let good = desk.caption(&["red.png", "green.png", "blue.jpg", "--format", "jsonl"]).jsonl();
    for batch_size in ["1", "2", "5"] {
        let outcome = desk.caption(&[&args[..], &["--format", "jsonl", "--batch-size", batch_size]].concat());
        assert_eq!(outcome.code, 1);
        let records = outcome.jsonl();
        let paths: Vec<_> = records.iter().map(|record| record["path"].as_str().unwrap()).collect();
        assert_eq!(paths, args);
        let (answers, errors): (Vec<Value>, Vec<Value>) =
            records.iter().cloned().partition(|record| record.get("error").is_none());
        assert_eq!(answers, good, "batch size {batch_size}");
        assert_eq!(errors.len(), 6);
        for error in &errors {
            let keys: Vec<_> = error.as_object().unwrap().keys().cloned().collect();
            assert_eq!(keys, ["path", "error"]);
            let line =
                format!("mplug: {}: {}\n", error["path"].as_str().unwrap(), error["error"].as_str().unwrap());
            assert!(outcome.stderr.contains(&line), "{line} is not in\n{}", outcome.stderr);
        }
        assert!(outcome.check_messages().stderr.contains("6 of 9 inputs failed"));
        assert_eq!(outcome.stderr.lines().count(), 7, "one line each and the sum:\n{}", outcome.stderr);
    }
}

#[test]
fn one_missing_file_is_exit_code_1() {
    let outcome = Desk::new().caption(&["missing.png"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    assert!(outcome.check_messages().stderr.starts_with("mplug: missing.png: "), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1);
}

#[test]
fn folders_are_listed_by_name_and_deeper_only_when_requested() {
    let desk = Desk::new();
    desk.picture("folder/b.png", [1, 2, 3]);
    desk.picture("folder/a.jpg", [4, 5, 6]);
    desk.picture("folder/deep/c.png", [7, 8, 9]);
    desk.write("folder/readme.txt", b"text");
    let names = |args: &[&str]| -> Vec<String> {
        let records = desk.caption(&[args, &["--format", "jsonl"]].concat()).jsonl();
        records.iter().map(|record| record["path"].as_str().unwrap().replace('\\', "/")).collect()
    };
    assert_eq!(names(&["folder"]), ["folder/a.jpg", "folder/b.png"]);
    assert_eq!(names(&["folder", "--recursive"]), ["folder/a.jpg", "folder/b.png", "folder/deep/c.png"]);
    let text = desk.caption(&["folder/deep"]);
    assert!(
        text.stdout.contains('\t'),
        "a folder's lines have names, however many there are: {}",
        text.stdout
    );
}

#[test]
fn a_folder_without_pictures_is_named() {
    let desk = Desk::new();
    desk.write("none/notes.txt", b"");
    let outcome = desk.caption(&["none"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    assert_eq!(outcome.stderr, "mplug: none: no pictures in this folder\n");
}

#[test]
fn a_list_comes_from_standard_input() {
    let desk = Desk::new();
    let mut command = crate::support::mplug();
    command.current_dir(desk.path()).args(["caption", "--model", "model", "blue.jpg", "-", "red.png"]);
    let listed = outcome(command.write_stdin("两只 猫.png\r\n\nmissing.png\n"));
    assert_eq!(listed.code, 1);
    let names: Vec<_> = listed.stdout.lines().map(|line| line.split_once('\t').unwrap().0).collect();
    assert_eq!(names, ["blue.jpg", "两只 猫.png", "red.png"]);

    let mut command = crate::support::mplug();
    command.current_dir(desk.path()).args(["caption", "--model", "model", "-"]);
    let empty = outcome(command.write_stdin("\n"));
    assert_eq!(empty.code, 2);
    assert!(empty.check_messages().stderr.contains("standard input"), "{}", empty.stderr);
}

#[test]
fn pictures_above_the_limits_are_refused() {
    let desk = Desk::new();
    for limit in [["--max-pixels", "100"], ["--max-file-bytes", "50"]] {
        let outcome = desk.caption(&[&["red.png"], &limit[..]].concat());
        assert_eq!(outcome.code, 1);
        assert!(outcome.check_messages().stderr.contains(limit[1]), "{}", outcome.stderr);
    }
}

#[test]
fn case_39_transparent_pictures_are_laid_over_the_background() {
    let desk = Desk::new();
    // A dark disc; around it the colour that alpha hides.
    let is_disc = |x: u32, y: u32| (x.abs_diff(24)).pow(2) + (y.abs_diff(16)).pow(2) < 100;
    let cut =
        image::RgbaImage::from_fn(48, 32, |x, y| image::Rgba([9, 9, 9, if is_disc(x, y) { 255 } else { 0 }]));
    cut.save(desk.join("cut.png")).unwrap();
    let over = |ground: u8| move |x, y| image::Rgb([if is_disc(x, y) { 9 } else { ground }; 3]);
    image::RgbImage::from_fn(48, 32, over(255)).save(desk.join("white.png")).unwrap();
    image::RgbImage::from_fn(48, 32, over(9)).save(desk.join("hidden.png")).unwrap();

    let score = |args: &[&str]| {
        let outcome = desk.caption(&[args, &["--format", "jsonl"]].concat());
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        serde_json::from_str::<Value>(outcome.stdout.trim()).unwrap()["score"].clone()
    };
    assert!(score(&["cut.png"]).is_number());
    assert_eq!(score(&["cut.png"]), score(&["hidden.png"]), "alpha is dropped by default");
    assert_eq!(score(&["cut.png", "--background", "#FFFFFF"]), score(&["white.png"]));
    assert_ne!(score(&["cut.png"]), score(&["white.png"]));

    let wrong = desk.caption(&["cut.png", "--background", "whitish"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.stderr.contains("expected white, black, gray or a colour such as #F0F0F0"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn settings_can_come_from_the_environment() {
    let desk = Desk::new();
    let mut command = crate::support::mplug();
    command.current_dir(desk.path()).args(["caption", "red.png"]);
    command.env("MPLUG_MODEL", "model").env("MPLUG_BATCH_SIZE", "2").env("MPLUG_THREADS", "1");
    let by_environment = outcome(&mut command);
    assert_eq!(by_environment.stdout, desk.caption(&["red.png"]).stdout);
    let wrong = outcome(command.env("MPLUG_THREADS", "many"));
    assert_eq!(wrong.code, 2);
}
