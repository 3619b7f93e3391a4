//! Rules by example, and what must hold for any text. The reference's own strings are in `tests/it/ptb.rs`.

use proptest::prelude::*;

use super::*;

/// Pieces that rules are about, so that drawn texts meet them often.
const PIECES: [&str; 48] = [
    "a", "B", "don't", "we're", "'s", "'", "`", "\"", "’", "“", ".", "..", ",", "-", "--", "/", "!", "?",
    " ", "  ", "\n", "\r\n", "1", "12", "555", "+", "(", ")", "<a b=\"", "<b>", ">", "&amp;", "&", "@", "#",
    "http://", "www.", ".com", "Inc.", "U.S.", "etc.", "The ", ":", "\u{ad}", "é", "中", "😀", "cannot",
];

fn drawn_text() -> impl Strategy<Value = String> {
    let pieces =
        prop::collection::vec(prop::sample::select(&PIECES[..]), 0..16).prop_map(|pieces| pieces.concat());
    prop_oneof![pieces, any::<String>(), "[ -~]{0,40}"]
}

#[test]
fn rules_by_example() {
    let cases = [
        ("A man's \"STOP\" sign, isn't it?", "a man 's stop sign is n't it"),
        ("They're (not) going.", "they 're -lrb- not -rrb- going"),
        ("cannot see 1 1/2 cups", "can not see 1\u{a0}1/2 cups"),
        ("a t-shirt and/or a U.S.-based photo.jpg", "a t-shirt and/or a u.s.-based photo.jpg"),
        ("O'Hare, ma'am, o'clock; rock 'n' roll", "o'hare ma'am o'clock rock 'n' roll"),
        ("call (555) 123-4567!", "call -lrb-555-rrb-\u{a0}123-4567"),
        ("see http://bit.ly/abc\u{3000}xy z", "see http://bit.ly/abc\u{3000}xy z"),
        ("www.flickr.com/ab\u{a0}c{d} .", "www.flickr.com/ab\u{a0}c{d -rcb-"),
        ("3 1\\/2 AC\\/DC a\\/ b", "3\u{a0}1\\/2 ac\\/dc a \\ / b"),
        ("me@home.com\u{a0}me@home.com\u{3000}x", "me@home.com me@home.com\u{3000}x"),
        ("com'x y com'x\u{3000}y", "com x y com x y"),
        ("", ""),
        (" . ", ""),
    ];
    for (caption, tokens) in cases {
        assert_eq!(tokenize(caption), tokens, "{caption}");
    }
}

#[test]
fn neighbours_that_matter() {
    assert_eq!(tokenize_lines(&["see they're", "see they're"]), ["see they 're", "see they re"]);
    assert_eq!(tokenize("see they're"), "see they 're");
    assert_eq!(tokenize_lines(&["vitamin C.", "a dog"]), ["vitamin c.", "a dog"]);
    assert_eq!(tokenize_lines(&["vitamin C.", "The dog"]), ["vitamin c", "the dog"]);
    assert_eq!(tokenize_lines(&["it is no.", "5 dogs"]), ["it is no.", "5 dogs"]);
    assert_eq!(tokenize_lines(&["it is no.", "five dogs"]), ["it is no", "five dogs"]);
}

#[test]
fn line_separators_shift_and_line_feeds_do_not() {
    assert_eq!(tokenize_lines(&["a\nb", "c"]), ["a b", "c"]);
    assert_eq!(tokenize_lines(&["a\u{2028}b", "c"]), ["a", "b"]);
    assert!(has_line_separator("a\rb") && !has_line_separator("a\nb"));
    assert_eq!(tokenize("a\u{2028}b"), "a b");
}

/// The exceptions named in the module's documentation, but for the end of the document.
fn depends_on_neighbours(caption: &str) -> bool {
    let Some(last) = caption.trim_end().strip_suffix('.') else { return caption.contains('<') };
    let word = last.rsplit(|character: char| !character.is_ascii_alphabetic()).next().unwrap_or_default();
    caption.contains('<') || word.len() == 1 || vocabulary::is_numbered(word)
}

proptest! {
    #[test]
    fn the_shortcut_changes_nothing(text in drawn_text()) {
        for case in [Case::Lower, Case::Kept] {
            prop_assert_eq!(document(&text, case), write_document(&text, case, |_, _| None));
        }
    }

    #[test]
    fn a_caption_alone_is_a_caption_among_others(
        before in drawn_text(), caption in drawn_text(), after in drawn_text()
    ) {
        let captions = [before.as_str(), caption.as_str(), after.as_str()];
        if captions.iter().any(|caption| has_line_separator(caption) || depends_on_neighbours(caption)) {
            return Ok(());
        }
        prop_assert_eq!(&tokenize_lines(&captions)[1], &tokenize(&caption));
    }

    #[test]
    fn as_many_lines_as_captions(captions in prop::collection::vec(drawn_text(), 0..6)) {
        prop_assert_eq!(tokenize_lines(&captions).len(), captions.len());
    }

    #[test]
    fn a_line_of_tokens_has_single_spaces(text in drawn_text()) {
        for line in tokenize_document(&text).split('\n') {
            prop_assert!(!line.contains("  ") && !line.starts_with(' ') && !line.ends_with(' '));
        }
    }
}
