//! A folder that is written reads back as the same examples; a bad folder is an error that says where.

use std::fs;

use mplug_data::dataset::{ANNOTATIONS, DataError, Dataset, Language, OpenOptions, SynthDataset, open};
use mplug_data::format::Format;
use mplug_data::synth::{EVAL_SEED, FolderOptions, Scene, compose, draw, questions, write_folder};

#[test]
fn a_written_folder_reads_back() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut done = Vec::new();
    write_folder(dir.path(), EVAL_SEED, 12, &FolderOptions::default(), &mut |n| done.push(n))
        .expect("written");
    assert_eq!(done, (1..=12).collect::<Vec<_>>());
    let annotations = fs::read_to_string(dir.path().join(ANNOTATIONS)).expect("annotations");
    assert!(annotations.contains(".jpg") && annotations.contains(".png"));
    for (index, line) in annotations.lines().enumerate() {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let scene: Scene = serde_json::from_value(value["scene"].clone()).expect("a scene");
        assert_eq!(scene, draw(EVAL_SEED, index as u64).scene);
    }
    for language in [Language::Chinese, Language::English] {
        let options = OpenOptions { language: Some(language), ..OpenOptions::default() };
        let folder = open(dir.path(), &options).expect("opens");
        let drawn = SynthDataset { seed: EVAL_SEED, len: 12, language, size: None };
        assert_eq!(folder.len(), 12);
        for index in 0..12 {
            let (read, fresh) = (folder.example(index).expect("read"), drawn.example(index).expect("drawn"));
            assert_eq!(read.captions, fresh.captions);
            assert_eq!(read.image.dimensions(), fresh.image.dimensions());
            let is_png = dir.path().join(format!("images/{index:06}.png")).exists();
            assert!(!is_png || read.image == fresh.image, "PNG loses nothing");
        }
        assert!(matches!(folder.example(12), Err(DataError::OutOfRange { index: 12, len: 12 })));
        assert!(matches!(drawn.example(12), Err(DataError::OutOfRange { .. })));
    }
    let again = write_folder(dir.path(), EVAL_SEED, 1, &FolderOptions::default(), &mut |_| ());
    assert!(matches!(again, Err(DataError::Exists { .. })));
    let names = fs::read_dir(dir.path()).expect("the folder").count();
    assert_eq!(names, 2, "no temporary file is left");
}

#[test]
fn written_questions_read_back() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let languages = vec![Language::Chinese, Language::English];
    let options = FolderOptions { questions: languages.clone(), ..FolderOptions::default() };
    write_folder(dir.path(), EVAL_SEED, 6, &options, &mut |_| ()).expect("written");
    for (language, name) in languages.into_iter().zip(["questions_zh.json", "questions_en.json"]) {
        let path = dir.path().join(name);
        let read = open(&path, &OpenOptions::default()).expect("opens");
        assert_eq!(read.annotations().format, Format::Vqa);
        let text = fs::read_to_string(&path).expect("read");
        let entries: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
        let mut asked = 0;
        for picture in 0..6 {
            let scene = compose(EVAL_SEED, picture);
            for question in questions(&scene, language, picture) {
                let example = read.example(asked).expect("read");
                assert_eq!(example.question.as_ref(), Some(&question.question));
                let answers: Vec<_> = example.answers.iter().map(|a| (a.text.as_str(), a.weight)).collect();
                assert_eq!(answers, [(question.answers[0].as_str(), 1.0)]);
                assert_eq!((example.image.width(), example.image.height()), (scene.width, scene.height));
                assert_eq!(entries[asked]["accepted"], serde_json::json!(question.answers));
                assert_eq!(entries[asked]["kind"], serde_json::json!(question.kind));
                asked += 1;
            }
        }
        assert_eq!(read.len(), asked);
    }
    let captions =
        open(dir.path(), &OpenOptions { language: Some(Language::Chinese), ..OpenOptions::default() });
    assert_eq!(captions.expect("the folder itself still means its captions").len(), 6);
    fs::remove_file(dir.path().join(ANNOTATIONS)).expect("removed");
    let again = write_folder(dir.path(), EVAL_SEED, 1, &options, &mut |_| ());
    assert!(matches!(again, Err(DataError::Exists { path }) if path.ends_with("questions_zh.json")));
    assert!(!dir.path().join(ANNOTATIONS).exists(), "nothing is begun where something is in the way");
}

#[test]
fn bad_annotations_name_the_line() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let options = OpenOptions { language: Some(Language::Chinese), ..OpenOptions::default() };
    let open = |text: &str| {
        fs::write(dir.path().join(ANNOTATIONS), text).expect("written");
        open(dir.path(), &options)
    };
    let good = r#"{"path": "a.png", "captions_zh": ["一只猫"]}"#;
    let another = good.replace("a.png", "b.png");
    assert_eq!(open(&format!("{good}\n\n{another}\n")).expect("good").len(), 2);
    for bad in [
        "{",
        r#"{"path": "../a.png", "captions_zh": ["一只猫"]}"#,
        r#"{"path": "a.png", "captions_en": ["a cat"]}"#,
        r#"{"captions_zh": ["一只猫"]}"#,
    ] {
        let error = open(&format!("{good}\n{bad}\n")).expect_err(bad).to_string();
        assert!(error.contains(ANNOTATIONS) && error.contains("line 2"), "{error}");
    }
    let too_long = open(&format!("{good}\n{{\"path\": \"{}\"}}", "x".repeat(2 << 20)))
        .expect_err("too long")
        .to_string();
    assert!(too_long.contains("line 2: a line is longer than"), "{too_long}");
    let missing = open(good).expect("opens").example(0).expect_err("no such picture").to_string();
    assert!(missing.contains("a.png"), "{missing}");
}
