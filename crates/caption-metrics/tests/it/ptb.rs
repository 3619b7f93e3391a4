//! The tokeniser against the reference's own output: `fixtures/metrics/ptb_tokenizer.json`.

use caption_metrics::tokenize::ptb::{
    has_line_separator, tokenize_document, tokenize_document_keeping_case, tokenize_in_order, tokenize_lines,
};
use serde_json::Value;

use crate::fixture;

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().expect(key)
}

/// All cases that differ, so that one run shows them all.
fn assert_same(compared: &[(String, String, String)], count: usize) {
    let wrong: Vec<_> = compared.iter().filter(|(_, ours, reference)| ours != reference).collect();
    assert!(wrong.is_empty(), "{} of {}: input, ours, reference {wrong:#?}", wrong.len(), compared.len());
    assert_eq!(compared.len(), count);
}

#[test]
fn every_caption_by_itself() {
    let fixture = fixture("ptb_tokenizer.json");
    let mut compared = Vec::new();
    for case in fixture["cases"].as_array().expect("cases") {
        let input = text(case, "input");
        let documents = [
            (tokenize_document(input), "java_stdout"),
            (tokenize_document(input), "tokens_lower"),
            (tokenize_document_keeping_case(input), "tokens_case"),
            (tokenize_lines(&[input]).concat(), "coco_tokens"),
        ];
        for (ours, key) in documents {
            compared.push((input.to_owned(), ours, text(case, key).to_owned()));
        }
    }
    assert_same(&compared, 4 * 688);
}

#[test]
fn captions_among_others() {
    let fixture = fixture("ptb_tokenizer.json");
    let mut compared = Vec::new();
    for case in fixture["cross_line"].as_array().expect("cross_line") {
        let strings = |key: &str| -> Vec<&str> {
            case[key].as_array().expect(key).iter().map(|line| line.as_str().expect(key)).collect()
        };
        let input = strings("lines");
        let document = input.join("\n");
        let ours = tokenize_lines(&input);
        compared.push((document.clone(), tokenize_document(&document), text(case, "java_stdout").to_owned()));
        compared.push((document, ours.join("\n"), strings("coco_tokens_by_zip").join("\n")));
    }
    assert_same(&compared, 2 * 45);
}

#[test]
fn captions_in_parallel_are_captions_in_order() {
    let fixture = fixture("ptb_tokenizer.json");
    let cases = fixture["cases"].as_array().expect("cases").iter().map(|case| text(case, "input"));
    // Line breaks within a caption count as spaces here, and shift the others there.
    let plain: Vec<&str> =
        cases.filter(|caption| !has_line_separator(caption) && !caption.contains('<')).collect();
    // Several chunks, whose ends fall on each caption in turn; look-ahead meets blank captions, too.
    for extra in 0..40 {
        let captions: Vec<&str> = ["vitamin C.", "", " ", "The end"]
            .into_iter()
            .cycle()
            .take(extra)
            .chain(plain.iter().copied())
            .collect();
        let captions = [captions.as_slice(), captions.as_slice(), captions.as_slice()].concat();
        assert_eq!(tokenize_in_order(&captions), tokenize_lines(&captions), "{extra} before");
    }
    assert!(tokenize_in_order::<&str>(&[]).is_empty());
    assert_eq!(tokenize_in_order(&["a\u{2028}b", "c"]), ["a b", "c"]);
}
