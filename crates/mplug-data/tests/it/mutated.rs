//! Files that are cut, overwritten, or have pieces doubled never make a reader panic, and what is read keeps its promises.

use std::collections::HashSet;
use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use mplug::preprocess::image::ImageLimits;
use mplug_data::candidates::{CandidateFormat, CandidateOptions, Candidates};
use mplug_data::dataset::{Dataset, OpenOptions, open};
use mplug_data::format::Format;
use mplug_data::source::ImageRoot;
use proptest::prelude::*;

const SAMPLES: [(Format, &str); 15] = [
    (
        Format::Coco,
        r#"{"images": [{"id": 6700417000000000001, "file_name": "a.jpg", "domain": "in-domain"}, {"id": "b"}],
        "annotations": [{"image_id": "b", "id": 1, "caption": "A\n"}, {"image_id": 6700417000000000001, "caption": "B"}]}"#,
    ),
    (
        Format::Karpathy,
        r#"{"images": [{"filepath": "v", "filename": "a.jpg", "split": "test", "cocoid": 7, "sentences":
        [{"raw": "A", "tokens": ["a"]}, {"tokens": ["b", "c"]}]}], "dataset": "coco"}"#,
    ),
    (
        Format::Blip,
        r#"[{"image": "a.jpg", "caption": "A", "image_id": "x"}, {"image": "b.jpg", "caption": ["B"]}]"#,
    ),
    (Format::FlickrTokens, "a.jpg#0\tA cat .\na.jpg#1\tCats .\r\nb#0\t一只猫\n"),
    (Format::AiChallenger, r#"[{"url": "u", "image_id": "a.jpg", "caption": ["一只猫", "猫"]}]"#),
    (Format::Muge, "{\"image_id\": 1, \"text\": [\"裙子\"]}\n{\"image_id\": \"2\", \"text\": [\"x\"]}\n"),
    (
        Format::JsonLines,
        "{\"path\": \"a.jpg\", \"captions\": [\"A\"], \"split\": \"test\"}\n{\"image_id\": 5, \"text\": \"B\"}\n",
    ),
    (
        Format::Json,
        r#"[{"path": "a.jpg", "caption": "A", "score": -1.5, "captions": [{"caption": "A"}]}, {"path": "b.jpg", "error": "e"}]"#,
    ),
    (Format::Dictionary, r#"{"1": ["A cat", "cats"], "b.jpg": [{"caption": "B"}]}"#),
    (Format::Table, "path,language,caption,score,error\na.jpg,zh,\"A, \"\"b\"\"\",-0.5,\r\nb.jpg,,,,empty\n"),
    (Format::Table, "image_name| comment_number| comment\na.jpg| 0|  A cat .\na.jpg| 1   \"B\" | c\n"),
    (Format::Table, "filepath\ttitle\na.jpg\t\"A \"\"b\"\"\"\nb.jpg\tB\n"),
    (Format::Text, "x/a.jpg\tzh\t-0.5000\tA\tb,c\nb.jpg\tB\n"),
    (
        Format::ModelScopeCsv,
        "image:FILE,answer:Value,question\na.jpg,\"A, \"\"b\"\"\",q\r\nb.jpg,B,q\na.jpg,C,r\n",
    ),
    (
        Format::Vqa,
        r#"[{"dataset": "vqa", "image": "a.jpg", "question": "q?", "question_id": 1, "answer": ["x", "y", "x"]},
        {"image": "b.jpg", "question": "r?", "question_id": 2, "answer": "z"}]"#,
    ),
];

const CANDIDATES: [(CandidateFormat, &str); 8] = [
    (
        CandidateFormat::CocoResults,
        r#"[{"image_id": 1, "caption": "A"}, {"image_id": "a.jpg", "caption": ""}]"#,
    ),
    (
        CandidateFormat::JsonLines,
        "{\"path\": \"x/a.jpg\", \"caption\": \"A\"}\n{\"image_id\": 1, \"error\": \"e\"}\n",
    ),
    (CandidateFormat::Lines, "A\nB\n"),
    (CandidateFormat::Annotations(Format::Text), "x/a.jpg\tA\nb\tB\n"),
    (CandidateFormat::Annotations(Format::Table), "path,caption,score,error\na.jpg,A,-0.5,\nb,,,e\n"),
    (CandidateFormat::Annotations(Format::Table), "a.jpg,A\n"),
    (CandidateFormat::Annotations(Format::Dictionary), r#"{"1": ["A"], "a.jpg": [{"caption": "B"}]}"#),
    (CandidateFormat::Annotations(Format::FlickrTokens), "a.jpg#0\tA\n"),
];

#[derive(Debug, Clone)]
enum Mutation {
    Cut(usize),
    Overwrite(usize, Vec<u8>),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Double(usize, usize),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    // Bytes that mean something in these formats come up more often than others.
    let byte =
        prop_oneof![3 => any::<u8>(), 2 => prop::sample::select(&b"{}[]\",:\\\t\n\r#/.09-=\0\xFF"[..])];
    let bytes = prop::collection::vec(byte, 1..6);
    let mutation = prop_oneof![
        any::<usize>().prop_map(Mutation::Cut),
        (any::<usize>(), bytes.clone()).prop_map(|(at, bytes)| Mutation::Overwrite(at, bytes)),
        (any::<usize>(), bytes).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        (any::<usize>(), 1..40usize).prop_map(|(at, len)| Mutation::Remove(at, len)),
        (any::<usize>(), 1..80usize).prop_map(|(at, len)| Mutation::Double(at, len)),
    ];
    prop::collection::vec(mutation, 1..4)
}

fn mutate(sample: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for mutation in mutations {
        let offset = |at: &usize| at % (bytes.len() + 1);
        match mutation {
            Mutation::Cut(at) => bytes.truncate(offset(at)),
            Mutation::Overwrite(at, new) => {
                let at = offset(at);
                let end = (at + new.len()).min(bytes.len());
                bytes.splice(at..end, new.iter().copied());
            }
            Mutation::Insert(at, new) => {
                let at = offset(at);
                bytes.splice(at..at, new.iter().copied());
            }
            Mutation::Remove(at, len) => {
                let at = offset(at);
                bytes.drain(at..(at + len).min(bytes.len()));
            }
            Mutation::Double(at, len) => {
                let at = offset(at);
                let piece = bytes[at..(at + len).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Opens annotations and looks at what was promised of them.
fn check(path: &Path, format: Option<Format>) {
    let options = OpenOptions { format, ..OpenOptions::default() };
    let Ok(dataset) = open(path, &options) else { return };
    let records = &dataset.annotations().records;
    assert_eq!(records.iter().map(|record| &record.id).collect::<HashSet<_>>().len(), records.len());
    for (index, record) in records.iter().enumerate() {
        assert!(record.answers.iter().all(|answer| answer.weight > 0.0 && answer.weight <= 1.0));
        assert!(dataset.example(index).is_err(), "there are no pictures");
    }
}

fn zip_of_two() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, method) in
        [("a.png", zip::CompressionMethod::Deflated), ("v/b.png", zip::CompressionMethod::Stored)]
    {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        zip.start_file(name, options).expect("started");
        zip.write_all(&[7; 300]).expect("written");
    }
    zip.finish().expect("finished").into_inner()
}

fn tar_of_two() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["a.png".to_string(), format!("{}b.png", "v/".repeat(80))] {
        let mut header = tar::Header::new_gnu();
        header.set_size(300);
        tar.append_data(&mut header, name, &[7; 300][..]).expect("appended");
    }
    tar.into_inner().expect("finished")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn annotations(sample in 0..SAMPLES.len(), mutations in mutations()) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (format, text) = SAMPLES[sample];
        let path = dir.path().join(if format == Format::ModelScopeCsv { "a.csv" } else { "a.json" });
        fs::write(&path, text).expect("written");
        prop_assert!(open(&path, &OpenOptions::default()).is_ok_and(|dataset| dataset.annotations().format == format));
        fs::write(&path, mutate(text.as_bytes(), &mutations)).expect("written");
        check(&path, Some(format));
        check(&path, None);
    }

    #[test]
    fn candidates(sample in 0..CANDIDATES.len(), mutations in mutations()) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("references.json");
        fs::write(&path, r#"[{"filename": "a.jpg", "sentences": []}, {"filename": "b", "imgid": 1, "sentences": []}]"#).expect("written");
        let dataset = open(&path, &OpenOptions::default()).expect("opens");
        let (format, text) = CANDIDATES[sample];
        let path = dir.path().join("candidates");
        fs::write(&path, text).expect("written");
        prop_assert!(Candidates::read(&path, dataset.annotations(), &CandidateOptions::default()).is_ok());
        fs::write(&path, mutate(text.as_bytes(), &mutations)).expect("written");
        for format in [Some(format), None] {
            let options = CandidateOptions { format, max_bytes: 1 << 20, ..CandidateOptions::default() };
            if let Ok(candidates) = Candidates::read(&path, dataset.annotations(), &options) {
                let total = candidates.captions.len() + candidates.failures.len();
                prop_assert_eq!(candidates.missing(dataset.annotations()).len() + total, 2);
            }
        }
    }

    /// A folder's caption, an archive of pictures with captions, whole and with bytes changed.
    #[test]
    fn captions_beside_pictures(is_archive in any::<bool>(), mutations in mutations()) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = if is_archive { dir.path().join("a.tar") } else { dir.path().join("b.txt") };
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in [("a.png", ""), ("a.txt", "A\nb, c"), ("a.json", r#"{"path": "x/a.png", "caption": "A"}"#)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, name, text.as_bytes()).expect("appended");
        }
        let whole = if is_archive { tar.into_inner().expect("finished") } else { b"\xEF\xBB\xBFA dog\nb, c".to_vec() };
        if !is_archive {
            fs::write(dir.path().join("b.png"), "").expect("written");
        }
        let dataset = if is_archive { path.clone() } else { dir.path().to_path_buf() };
        for bytes in [whole.clone(), mutate(&whole, &mutations)] {
            fs::write(&path, bytes).expect("written");
            check(&dataset, None);
        }
    }

    #[test]
    fn archives(kind in 0..3usize, mutations in mutations()) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join(["a.zip", "a.tar", "a.tsv"][kind]);
        let samples = [zip_of_two(), tar_of_two(), b"a\tAAAA\r\nb\tAA-_\n".to_vec()];
        fs::write(&path, mutate(&samples[kind], &mutations)).expect("written");
        let limits = ImageLimits { max_file_bytes: 1000, ..ImageLimits::default() };
        if let Ok(root) = ImageRoot::open(&path) {
            for name in ["a", "a.png", "v/b.png", "b"] {
                let bytes = root.find(name).ok().and_then(|source| source.read(&limits).ok());
                prop_assert!(bytes.is_none_or(|bytes| bytes.len() <= 1000));
            }
        }
    }
}
