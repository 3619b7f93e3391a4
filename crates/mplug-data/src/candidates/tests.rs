//! Candidates of every form, and what is refused.

use super::*;
use crate::annotation::Annotation;

fn annotations() -> Annotations {
    let record = |id: &str, file_name: Option<&str>| {
        let mut annotation = Annotation::new(serde_json::from_str(id).expect("an id"), Place::Line(1));
        annotation.file_name = file_name.map(String::from);
        annotation
    };
    let records = vec![
        record("42", Some("val/a.jpg")),
        record("7", Some("val/b.jpg")),
        record("\"8\"", Some("train/b.jpg")),
        record("6700417000000000001", Some("c")),
    ];
    Annotations { path: "references.json".into(), format: Format::Coco, records, left_out: 0 }
}

fn read(text: &str) -> Result<Candidates, String> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), text).expect("written");
    Candidates::read(file.path(), &annotations(), &CandidateOptions::default()).map_err(|e| e.to_string())
}

fn pairs(candidates: &Candidates) -> Vec<(&str, &str)> {
    candidates.captions.iter().map(|c| (c.id.as_str(), c.caption.as_str())).collect()
}

#[test]
fn coco_results_and_submissions_by_name() {
    let text = r#" [{"image_id": "7", "caption": "b"}, {"image_id": 6700417000000000001, "caption": ""},
        {"image_id": "a.jpg", "caption": "a"}]"#;
    let candidates = read(text).expect("reads");
    assert_eq!(pairs(&candidates), [("7", "b"), ("6700417000000000001", ""), ("42", "a")]);
    assert_eq!(candidates.missing(&annotations()), [&PictureId::from(8)]);
    let named = read(r#"[{"image_id": "c.jpg", "caption": "c"}]"#).expect("reads");
    assert_eq!(pairs(&named), [("6700417000000000001", "c")]);
    let answers = read(r#"[{"question_id": 7, "answer": "two"}]"#).expect("reads");
    assert_eq!(pairs(&answers), [("7", "two")]);
}

#[test]
fn json_lines_by_path_or_id() {
    let text = "{\"path\": \"/data/val/a.jpg\", \"caption\": \"a\", \"score\": -1, \"token_ids\": [1]}\n\
        {\"path\": \"/data/train/b.jpg\", \"error\": \"is empty\"}\n{\"image_id\": 7, \"text\": \"b\"}\n";
    let candidates = read(text).expect("reads");
    assert_eq!(pairs(&candidates), [("42", "a"), ("7", "b")]);
    assert_eq!(candidates.failures[0].error, "is empty");
    assert_eq!(candidates.failures[0].index, 2);
}

#[test]
fn lines_in_the_order_of_the_references() {
    assert_eq!(read("a\n\nc\r\nd\n").expect("reads").captions[1].caption, "");
    for (text, count) in [("a\nb\nc\n", 3), ("a\nb\nc\nd\ne", 5), ("", 0)] {
        let error = read(text).expect_err("another count");
        assert!(error.contains(&format!("has {count} lines, but there are 4 pictures")), "{error}");
    }
}

#[test]
fn what_we_and_others_write_is_read_as_what_it_is() {
    let expected = [("42", "a, b"), ("7", "b")];
    for text in [
        "/x/val/a.jpg\ta, b\n/x/val/b.jpg\tb\n",
        "/x/val/a.jpg\tzh\ta, b\nval/b.jpg\tzh\tb\n",
        "val/a.jpg\t-0.1000\ta, b\nval/a.jpg\t-0.2000\tworse\nval/b.jpg\t-0.1000\tb\n",
        "42\ta, b\n7\tb\n",
        "path,caption,score,error\na.jpg,\"a, b\",-0.1,\nval/b.jpg,b,-0.2,\n",
        "a.jpg,\"a, b\",-0.1,\nval/b.jpg,b,-0.2,\n",
        "a.jpg,\"a, b\"\nval/b.jpg,b\n",
        "42,\"a, b\"\n7,b\n",
        "image_id,caption\n42,\"a, b\"\n7,b\n",
        "filepath\ttitle\na.jpg\ta, b\nval/b.jpg\tb\n",
        "image_name| comment_number| comment\na.jpg| 0| a, b\nval/b.jpg| 0   b\n",
        "a.jpg#0\ta, b\nval/b.jpg#0\tb\n",
        r#"{"42": ["a, b"], "7": [{"caption": "b"}]}"#,
        r#"[{"path": "a.jpg", "caption": "a, b", "score": -1.0, "token_ids": [1]}, {"path": "val/b.jpg", "caption": "b"}]"#,
        r#"{"image_id": 42, "candidate": "a, b", "references": ["x"], "scores": {}}
           {"image_id": 7, "candidate": "b"}"#,
        r#"{"images": [{"id": 42}, {"id": 7}], "annotations": [{"image_id": 42, "caption": "a, b"}, {"image_id": 7, "caption": "b"}]}"#,
    ] {
        let candidates = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(pairs(&candidates), expected, "{text}");
        assert!(candidates.failures.is_empty());
    }
    let failed = read("path,caption,score,error\na.jpg,,,empty file\n").expect("reads");
    assert_eq!((failed.failures[0].id.as_str(), failed.failures[0].error.as_str()), ("42", "empty file"));
    let answers = read("question_id,answer\n7,two\n").expect("reads");
    assert_eq!(pairs(&answers), [("7", "two")]);
}

#[test]
fn of_several_languages_one_is_chosen() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    for text in [
        "a.jpg\tzh\t猫\na.jpg\ten\ta cat\n",
        "{\"path\": \"a.jpg\", \"language\": \"zh\", \"caption\": \"猫\"}\n{\"path\": \"a.jpg\", \"language\": \"en\", \"caption\": \"a cat\"}\n",
        "path,language,caption,score,error\na.jpg,zh,猫,-1,\na.jpg,en,a cat,-1,\n",
    ] {
        std::fs::write(file.path(), text).expect("written");
        let of = |language| {
            let options = CandidateOptions { language, ..CandidateOptions::default() };
            Candidates::read(file.path(), &annotations(), &options)
        };
        assert_eq!(pairs(&of(Some(Language::English)).expect("reads")), [("42", "a cat")]);
        let error = of(None).expect_err("two languages").to_string();
        assert!(error.contains("a language must be chosen"), "{error}");
    }
}

/// A caption is never taken for something else, nor something else for a caption.
#[test]
fn plain_lines_stay_what_they_are_and_nothing_else_is_one() {
    for text in [
        "a cat, a dog\nb\nc\nd\n",
        "2, 3 or 4 dogs\nb\nc\nd\n",
        "42, no, 43 dogs\nb\nc\nd\n",
        "a cat\ttail\nb\nc\nd\n".replace("a cat\ttail", "a cat").as_str(),
        "a photo of a.jpg\nb\tb\nc\nd\n",
        "\"STOP\" sign, an image, text\nb\nc\nd\n",
    ] {
        let candidates = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let first = text.lines().next().unwrap_or_default();
        assert_eq!((candidates.captions.len(), candidates.captions[0].caption.as_str()), (4, first));
    }
    for (text, expected) in [
        (
            "-0.5000\ta cat\n-0.7\tb\nc\nd\n",
            "found a tab behind \"-0.5000\", which is no picture of the references",
        ),
        ("a.jpg a cat\nb\nc\nd\n", "found a line that begins with the picture \"a.jpg\""),
        ("a.jpg|a cat\nb\nc\nd\n", "found a line that begins with the picture \"a.jpg\""),
        ("a.jpg,a cat, a dog\nb\nc\nd\n", "found a line that begins with the picture \"a.jpg\""),
        ("a.jpg,a cat\nb, c\n", "line 2: expected the name of a picture, as in the first line, found \"b\""),
        ("a.jpg,a cat\nb.jpg,b, c\n", "line 2: expected 2 columns, found 3"),
        ("a.jpg\ta cat\nb\n", "line 2: expected a picture's path, a tab and a caption"),
        ("z.jpg\ta cat\n", "line 1: there is no picture \"z.jpg\""),
        (r#"{"42": ["a", "b"]}"#, "expected one caption of 42, found 2"),
        ("path,caption\na.jpg,\"x\nb.jpg,y\nc,z\n", "line 2: expected the end of a quoted cell"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn what_cannot_be_used_is_named() {
    for (text, expected) in [
        (
            r#"[{"image_id": 7, "caption": "a"}, {"image_id": "7", "caption": "b"}]"#,
            "element [1]: 7 was given already, element [0]",
        ),
        (
            "{\"image_id\": 42, \"caption\": \"a\"}\n{\"path\": \"a.jpg\", \"caption\": \"b\"}",
            "line 2: 42 was given already, line 1",
        ),
        (
            r#"{"path": "b.jpg", "caption": "x"}"#,
            "line 1: \"b.jpg\" fits both \"val/b.jpg\" and \"train/b.jpg\"",
        ),
        (r#"{"path": "z.jpg", "caption": "x"}"#, "line 1: there is no picture \"z.jpg\" in references.json"),
        (r#"[{"image_id": 9, "caption": "x"}]"#, "element [0]: there is no picture \"9\" in"),
        (
            r#"[{"image_id": 7, "caption": null}]"#,
            "element [0]: expected a caption (caption, text or answer) of 7",
        ),
        (r#"[{"image_id": 7, "caption": "x"}"#, "line 1 column"),
        (r#"{"image_id": 7}"#, "line 1: expected a caption"),
        (r#"{"caption": "x"}"#, "line 1: expected image_id, question_id or path"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}
