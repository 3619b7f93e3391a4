//! Tables of many writers, and what is said of those that cannot be used.

use super::super::testing::{OPTIONS, fails, read_with, reads};
use crate::dataset::Language;
use crate::format::Format;
use crate::readers::ReadOptions;

#[test]
fn columns_by_heading() {
    let text = "id,image:FILE,answer:Value\r\n1,img/a.jpg,\"a \"\"cat\"\",\nred\"\r\n2,b.jpg,dog\r\n3,img/a.jpg,cats\r\n";
    let records = reads(Format::ModelScopeCsv, text);
    assert_eq!(records.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["img/a.jpg", "b.jpg"]);
    assert_eq!(records[0].references, ["a \"cat\",\nred", "cats"]);
    assert_eq!(records[1].place.to_string(), "line 4");
}

#[test]
fn columns_are_renamed_and_questions_told_apart() {
    let columns = [("pic:FILE", "image"), ("text", "answer"), ("q", "question")];
    let columns = columns.map(|(old, new)| (old.to_string(), new.to_string())).to_vec();
    let options = ReadOptions { columns, ..OPTIONS };
    let text = "pic:FILE,text,q\na.jpg,x,who?\na.jpg,y,what?\na.jpg,z,who?\n";
    let records = read_with(Format::ModelScopeCsv, text.as_bytes(), &options).expect("reads");
    assert_eq!(records.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["a.jpg", "a.jpg#1"]);
    assert_eq!(records[0].references, ["x", "z"]);
    assert_eq!(records[1].question.as_deref(), Some("what?"));
    let answers: Vec<_> = records[0].answers.iter().map(|a| (a.text.as_str(), a.weight)).collect();
    assert_eq!(answers, [("x", 0.5), ("z", 0.5)]);
    let error = read_with(Format::ModelScopeCsv, b"image\na.jpg\n", &options).expect_err("no such column");
    assert!(error.to_string().contains("no column \"pic:FILE\"; there are image"), "{error}");
}

#[test]
fn captions_languages_and_splits_have_columns() {
    let text = "image:FILE,caption,question,answer,language,split\n\
                a.jpg,a cat,who?,Tom,en,train\na.jpg,一只猫,谁？,汤姆,zh,train\nb.jpg,a dog, ,,en,test\n";
    let options = ReadOptions { language: Some(Language::English), ..OPTIONS };
    let records = read_with(Format::ModelScopeCsv, text.as_bytes(), &options).expect("reads");
    let splits: Vec<_> = records.iter().map(|r| r.split.as_deref()).collect();
    assert_eq!(splits, [Some("train"), Some("test")]);
    assert_eq!((&records[0].references[..], records[0].answers.len()), (&["a cat".to_owned()][..], 1));
    assert_eq!((records[1].question.as_deref(), records[1].answers.len()), (None, 0));
    let error = read_with(Format::ModelScopeCsv, text.as_bytes(), &OPTIONS).expect_err("two languages");
    assert!(error.to_string().contains("line 3: is in zh"), "{error}");
    let columns = |old: &str, new: &str| vec![(old.to_string(), new.to_string())];
    let renamed = ReadOptions { columns: columns("caption", "text"), ..OPTIONS };
    let error = read_with(Format::ModelScopeCsv, text.as_bytes(), &renamed).expect_err("no such name");
    assert!(error.to_string().contains("expected one of image, caption, question"), "{error}");
}

#[test]
fn what_cannot_be_used_is_named() {
    for (text, expected) in [
        ("img:FILE,answer\na,b\n", "image_name …), found img:FILE, answer: rename one"),
        ("image:FILE,image\na,b\n", "line 1: two columns are called image"),
        ("image,answer\na.jpg\n", "line 2: expected 2 columns, found 1"),
        ("image,answer\na.jpg,b\n,c\n", "line 3: expected a path"),
        ("", "line 1: expected a column image (or path"),
    ] {
        let error = fails(Format::ModelScopeCsv, text);
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
}

/// Pictures and captions of each record.
fn shown(text: &str) -> Vec<String> {
    let records = reads(Format::Table, text);
    records.iter().map(|r| format!("{}: {}", r.picture_name(), r.references.join("/"))).collect()
}

#[test]
fn what_people_have() {
    let kaggle_8k = "image,caption\na.jpg,\"a cat , ok .\"\na.jpg,cats .\nb.jpg,a \"\"big\"\" dog\n";
    assert_eq!(shown(kaggle_8k), ["a.jpg: a cat , ok ./cats .", "b.jpg: a \"\"big\"\" dog"]);
    // The third row lacks a bar, the fourth has one of its own and quotes.
    let kaggle_30k = "image_name| comment_number| comment\na.jpg| 0|  a cat .\na.jpg| 1|  cats .\nb.jpg| 4   a dog .\nb.jpg| 5| a \"b | c\n";
    assert_eq!(shown(kaggle_30k), ["a.jpg: a cat ./cats .", "b.jpg: a dog ./a \"b | c"]);
    assert_eq!(shown("file_name,text\r\nd/a.jpg,a cat\r\n"), ["d/a.jpg: a cat"]);
    let open_clip = "filepath\ttitle\nd/a.jpg\t\"STOP\" sign\nb.jpg\t\"a \"\"b\"\" c\"\n";
    assert_eq!(shown(open_clip), ["d/a.jpg: \"STOP\" sign", "b.jpg: a \"b\" c"]);
    let ours = "path,language,caption_1,score_1,caption_2,score_2,tags,error\na.jpg,zh,猫,-0.1,大猫,-0.2,猫,\nb.jpg,,,,,,,empty file\n";
    assert_eq!(shown(ours), ["a.jpg: 猫"]);
    assert_eq!(shown("a.jpg,a cat,-0.5,\nb.jpg,,,empty file\n"), ["a.jpg: a cat"]);
    assert_eq!(shown("image_id,caption\n7,a cat\n"), ["7: a cat"]);
    assert_eq!(shown("\u{feff}Image,Caption\na.jpg,a cat\n"), ["a.jpg: a cat"]);
}

#[test]
fn what_may_mean_two_things_is_an_error() {
    for (text, expected) in [
        (
            "path,text,title\na.jpg,x,y\n",
            "has both the columns \"text\" and \"title\": rename the one that is meant to caption",
        ),
        ("path,file_name,text\na.jpg,b.jpg,y\n", "has both the columns \"path\" and \"file_name\""),
        (
            "image_name| comment_number| comment\na.jpg| x  y\n",
            "line 2: expected 3 columns (between '|'), found 2",
        ),
        ("filepath\ttitle\na.jpg\tx\ty\n", "line 2: expected 2 columns (between '\\t'), found 3"),
        ("filepath\ttitle\n\tx\n", "line 2: expected a path in the column image"),
        ("image,caption\na.jpg,\"x\nb.jpg,y\n", "line 2: expected the end of a quoted cell"),
    ] {
        let error = fails(Format::Table, text);
        assert!(error.contains(expected), "{error} lacks {expected}");
    }
    let columns = vec![("title".to_string(), "caption".to_string())];
    let options = ReadOptions { columns, ..OPTIONS };
    let records = read_with(Format::Table, b"path\ttext\ttitle\na.jpg\tx\ty\n", &options).expect("reads");
    assert_eq!(records[0].references, ["y"]);
}
