//! Flickr's token files: `1000092795.jpg#0`, a tab, a caption; one line each.
//!
//! Source: Flickr8k and Flickr30k (`results_20130124.token`); COCO-CN writes `COCO_val2014_000000217153#0` without an
//! extension; Flickr8k-CN has a space in place of the tab and a kind of caption before the number (`a.jpg#zhm#0`). The id is the
//! name before the first of these.
//!
//! Refuses a number that a picture has already.

use std::collections::HashMap;
use std::path::Path;

use super::ReadOptions;
use super::collect::Collector;
use crate::annotation::{Annotation, PictureId};
use crate::error::{DataError, Place};
use crate::names::has_picture_extension;
use crate::text::Lines;

/// Reads a token file.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Annotation>, DataError> {
    let mut lines = Lines::open(path, options.max_bytes)?;
    let mut pictures = Collector::default();
    let mut numbers: HashMap<(PictureId, String), usize> = HashMap::new();
    while let Some((line, text)) = lines.next()? {
        let place = Place::Line(line);
        let error = |what: String| DataError::annotation(path, place, what);
        let (name, number, caption) = split(&text).ok_or_else(|| {
            let shown: String = text.chars().take(60).collect();
            error(format!("expected name#number, a tab and a caption, found {shown:?}"))
        })?;
        let id = PictureId::from(name);
        if let Some(first) = numbers.insert((id.clone(), number.to_owned()), line) {
            return Err(error(format!("{name}#{number} was given already, line {first}")));
        }
        let picture = pictures.entry(&id, place);
        picture.file_name = Some(name.to_string());
        picture.references.push(caption.to_string());
    }
    Ok(pictures.into_records())
}

/// The picture's name, its caption's kind and number (`0`, `zhm#0`), and the caption, if a line has all of them.
pub(crate) fn split(line: &str) -> Option<(&str, &str, &str)> {
    let (key, caption) = line.split_once('\t').or_else(|| {
        let (key, caption) = line.split_once(' ')?;
        // Words of a caption may have a # as well; the name of a picture or a kind before the number tells.
        let name = key.rsplit_once('#')?.0;
        (has_picture_extension(Path::new(name)) || kind(name).is_some()).then_some((key, caption))
    })?;
    let (name, number) = key.rsplit_once('#')?;
    number.trim().parse::<u32>().ok()?;
    let name = kind(name).map_or(name, |(name, _)| name);
    let number = &key[name.len() + 1..];
    Some((name.trim(), number.trim(), caption)).filter(|(name, ..)| !name.is_empty())
}

/// The name and the kind of caption, in small letters, behind it.
fn kind(name: &str) -> Option<(&str, &str)> {
    let (name, kind) = name.rsplit_once('#')?;
    let is_kind = (2..=4).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_lowercase());
    is_kind.then_some((name, kind))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fails, reads};
    use crate::annotation::Annotation;
    use crate::format::Format;

    #[test]
    fn captions_are_grouped_by_name() {
        let records = reads(
            Format::FlickrTokens,
            "a.jpg#0\tTwo guys .\r\na.jpg#1\tTwo\tmen .\nCOCO_val2014_000000217153#0\t一个男人\na.jpg#2\tHi\n",
        );
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].references, ["Two guys .", "Two\tmen .", "Hi"]);
        assert_eq!(records[1].file_name.as_deref(), Some("COCO_val2014_000000217153"));
    }

    #[test]
    fn the_chinese_captions_of_flickr8k() {
        let text = "a b.jpg#zhm#0\t一只猫\nc.jpg#zhm#0 一只狗\nc.jpg#zhm#1 狗\nc.jpg#enc#0 a dog\n";
        let records = reads(Format::FlickrTokens, text);
        assert_eq!(records.iter().map(Annotation::picture_name).collect::<Vec<_>>(), ["a b.jpg", "c.jpg"]);
        assert_eq!(records[1].references, ["一只狗", "狗", "a dog"]);
        let error = fails(Format::FlickrTokens, "c.jpg#zhm#0 一\nc.jpg#zhm#0 二\n");
        assert!(error.contains("line 2: c.jpg#zhm#0 was given already, line 1"), "{error}");
        let error = fails(Format::FlickrTokens, "c.jpg#zhm#0 一\nteam #1 wins\n");
        assert!(error.contains("line 2: expected name#number"), "{error}");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (line, expected) in [
            ("a.jpg#0\tagain", "line 2: a.jpg#0 was given already, line 1"),
            ("a.jpg#1", "line 2: expected name#number"),
            ("a.jpg\tx", "line 2: expected name#number"),
            ("a.jpg#-1\tx", "line 2: expected name#number"),
            ("#0\tx", "line 2: expected name#number"),
        ] {
            let error = fails(Format::FlickrTokens, &format!("a.jpg#0\tA\n{line}\n"));
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
