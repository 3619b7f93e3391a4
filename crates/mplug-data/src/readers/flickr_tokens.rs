//! Flickr's token files: `1000092795.jpg#0`, a tab, a caption; one line each.
//!
//! Source: Flickr8k and Flickr30k (`results_20130124.token`); COCO-CN writes `COCO_val2014_000000217153#0` without an
//! extension. The id is the name before `#`.
//!
//! Refuses a number that a picture has already.

use std::collections::HashMap;
use std::path::Path;

use super::ReadOptions;
use super::collect::Collector;
use crate::annotation::{Annotation, PictureId};
use crate::error::{DataError, Place};
use crate::text::Lines;

/// Reads a token file.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Result<Vec<Annotation>, DataError> {
    let mut lines = Lines::open(path, options.max_bytes)?;
    let mut pictures = Collector::default();
    let mut numbers: HashMap<(PictureId, u32), usize> = HashMap::new();
    while let Some((line, text)) = lines.next()? {
        let place = Place::Line(line);
        let error = |what: String| DataError::annotation(path, place, what);
        let (name, number, caption) = split(&text).map_err(error)?;
        let id = PictureId::from(name);
        if let Some(first) = numbers.insert((id.clone(), number), line) {
            return Err(error(format!("{name}#{number} was given already, line {first}")));
        }
        let picture = pictures.entry(&id, place);
        picture.file_name = Some(name.to_string());
        picture.references.push(caption.to_string());
    }
    Ok(pictures.into_records())
}

fn split(line: &str) -> Result<(&str, u32, &str), String> {
    let parts = line.split_once('\t').and_then(|(key, caption)| {
        let (name, number) = key.rsplit_once('#')?;
        Some((name.trim(), number.trim().parse().ok()?, caption))
    });
    let (name, number, caption) = parts.filter(|(name, ..)| !name.is_empty()).ok_or_else(|| {
        format!(
            "expected name#number, a tab and a caption, found {:?}",
            line.chars().take(60).collect::<String>()
        )
    })?;
    Ok((name, number, caption))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{fails, reads};
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
