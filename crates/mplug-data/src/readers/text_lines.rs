//! Lines of a picture's path, a tab, and its caption, as `mplug caption` writes them to a terminal or a pipe.
//!
//! Between the two stand the code of the language where there are several, and the score where several captions of a picture are
//! listed: the first of these is the best, and is taken. Keywords behind the caption are left out.
//!
//! Refuses lines without a tab.

use std::path::Path;

use super::ReadOptions;
use super::row::Row;
use crate::dataset::Language;
use crate::error::{DataError, Place};
use crate::text::Lines;

/// Most characters of a line that an error shows.
const SHOWN: usize = 60;

/// Reads lines of paths and captions.
pub(super) fn each_row(
    path: &Path,
    options: &ReadOptions,
    each: &mut dyn FnMut(Row) -> Result<(), String>,
) -> Result<(), DataError> {
    let mut lines = Lines::open(path, options.max_bytes)?;
    let mut scored: Option<(String, Option<String>)> = None;
    while let Some((number, line)) = lines.next()? {
        let place = Place::Line(number);
        let named = |what: String| DataError::annotation(path, place, what);
        let found = split(&line).ok_or_else(|| {
            let shown: String = line.chars().take(SHOWN).collect();
            named(format!("expected a picture's path, a tab and a caption, found {shown:?}"))
        })?;
        let key = (found.picture.to_owned(), found.language.map(ToOwned::to_owned));
        if found.has_score && scored.as_ref() == Some(&key) {
            continue;
        }
        let row = Row {
            file_name: Some(key.0.clone()),
            captions: vec![found.caption.to_owned()],
            language: key.1.clone(),
            ..Row::new(place)
        };
        scored = found.has_score.then_some(key);
        each(row).map_err(named)?;
    }
    Ok(())
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
struct Found<'a> {
    picture: &'a str,
    language: Option<&'a str>,
    has_score: bool,
    caption: &'a str,
}

fn split(line: &str) -> Option<Found<'_>> {
    let (picture, mut rest) = line.split_once('\t')?;
    let mut language = None;
    if let Some((code, caption)) = rest.split_once('\t')
        && Language::ALL.iter().any(|known| known.code() == code)
    {
        (language, rest) = (Some(code), caption);
    }
    let scored = rest.split_once('\t').filter(|(score, _)| is_score(score));
    let has_score = scored.is_some();
    rest = scored.map_or(rest, |(_, caption)| caption);
    let caption = rest.split('\t').next().unwrap_or_default();
    Some(Found { picture: picture.trim(), language, has_score, caption })
        .filter(|found| !found.picture.is_empty())
}

/// Whether a cell is a score as it is written: a sign or none, digits, four of them behind the point.
fn is_score(cell: &str) -> bool {
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits.split_once('.').is_some_and(|(whole, part)| is_number(whole) && is_number(part) && part.len() == 4)
}

#[cfg(test)]
mod tests {
    use super::super::ReadOptions;
    use super::super::testing::{OPTIONS, fails, read_with, reads};
    use crate::dataset::Language;
    use crate::format::Format;

    #[test]
    fn every_style_of_our_text_is_read_back() {
        let records = reads(Format::Text, "d/a b.jpg\ta cat\r\n\nb.png\ttwo, dogs\tdog,two\n");
        assert_eq!(records[0].picture_name(), "d/a b.jpg");
        assert_eq!(
            (&records[0].references[..], &records[1].references[..]),
            (&["a cat".into()][..], &["two, dogs".into()][..])
        );
        let best =
            reads(Format::Text, "a.jpg\t-0.5000\ta cat\na.jpg\t-0.7500\tcats\nb.jpg\t-0.1000\ta dog\n");
        assert_eq!((best.len(), &best[0].references[..]), (2, &["a cat".to_owned()][..]));
        let both = b"a.jpg\tzh\t-0.5000\t\xe7\x8c\xab\na.jpg\ten\t-0.7500\tcats\tcat\n";
        let english = ReadOptions { language: Some(Language::English), ..OPTIONS };
        let records = read_with(Format::Text, both, &english).expect("reads");
        assert_eq!((records.len(), &records[0].references[..]), (1, &["cats".to_owned()][..]));
        let error = read_with(Format::Text, both, &OPTIONS).expect_err("two languages").to_string();
        assert!(error.contains("line 2: is in en, and others are in zh"), "{error}");
    }

    #[test]
    fn several_captions_of_a_picture_without_scores_are_references() {
        let records = reads(Format::Text, "a.jpg\ta cat\na.jpg\tcats\n");
        assert_eq!(records[0].references, ["a cat", "cats"]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (line, expected) in
            [("a cat", "line 2: expected a picture's path, a tab"), ("\tx", "line 2: expected")]
        {
            let error = fails(Format::Text, &format!("a.jpg\tx\n{line}\n"));
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
