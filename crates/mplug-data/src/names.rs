//! Finding a picture by its name, where the two sides may know more or less of its path.
//!
//! `val2014/COCO_1.jpg` and `/data/val2014/COCO_1.jpg` are one picture, and so are `COCO_1.jpg` and `COCO_1` (COCO-CN and
//! AI Challenger's evaluator leave extensions out). Names are compared as text, part by part from the end: nothing here
//! opens a file.

use std::path::Path;

/// File name extensions that mark a picture in a folder or an archive, in lower case. A name in an annotation file may lack
/// them. A file that is named itself may have any.
pub const PICTURE_EXTENSIONS: [&str; 20] = [
    "jpg", "jpeg", "jpe", "jfif", "pjpeg", "pjp", "png", "apng", "webp", "gif", "bmp", "dib", "tif", "tiff",
    "ico", "pbm", "pgm", "pnm", "ppm", "tga",
];

/// Columns of a table that hold pictures where none is named, the first of them that can.
pub const PICTURE_COLUMNS: [&str; 14] = [
    "image",
    "img",
    "picture",
    "photo",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "image_bytes",
    "bytes",
    "image_path",
    "file_name",
    "filename",
    "path",
];

/// Names, sorted from their ends: what ends as a name does stands together.
#[derive(Debug)]
pub(crate) struct NameIndex {
    names: Vec<String>,
    /// The keys of all names with their numbers, sorted.
    keys: Vec<(String, usize)>,
}

/// What a name was found to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// The number of the one name that fits.
    One(usize),
    /// Nothing fits.
    None,
    /// Two fit.
    Several(usize, usize),
}

impl NameIndex {
    /// Sorts names; a name's number is its index among them.
    pub(crate) fn new(names: Vec<String>) -> Self {
        let mut keys: Vec<_> = names.iter().enumerate().map(|(number, name)| (key(name), number)).collect();
        keys.sort_unstable();
        Self { names, keys }
    }

    pub(crate) fn name(&self, number: usize) -> &str {
        &self.names[number]
    }

    /// The name equal to `name`, or else the one that ends as `name` does, or that `name` ends with.
    pub(crate) fn find(&self, name: &str) -> Match {
        let key = key(name);
        if key.is_empty() {
            return Match::None;
        }
        let equal = self.from(&key).take_while(|(known, _)| *known == key).map(|(_, number)| number);
        let equal = first_two(equal.filter(|number| self.names[*number] == name));
        if equal != Match::None {
            return equal;
        }
        let longer = self.from(&key).take_while(|(known, _)| known.starts_with(&key));
        let ends = key.match_indices('/').map(|(at, _)| &key[..=at]).filter(|end| end.len() < key.len());
        let shorter = ends.flat_map(|end| self.from(end).take_while(move |(known, _)| *known == end));
        let fitting = shorter.chain(longer).map(|(_, number)| number);
        first_two(fitting.filter(|number| extensions_agree(&self.names[*number], name)))
    }

    /// The keys that are not before `key`.
    fn from(&self, key: &str) -> impl Iterator<Item = (&str, usize)> {
        let first = self.keys.partition_point(|(known, _)| known.as_str() < key);
        self.keys[first..].iter().map(|(known, number)| (known.as_str(), *number))
    }
}

fn first_two(mut numbers: impl Iterator<Item = usize>) -> Match {
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(second)) => Match::Several(first.min(second), first.max(second)),
        (Some(number), None) => Match::One(number),
        (None, _) => Match::None,
    }
}

/// The parts of a path from its end, each with a slash, the last part without extension: `a/val/` for `val/a.jpg`.
fn key(name: &str) -> String {
    let mut key = String::with_capacity(name.len() + 1);
    for (number, part) in parts(name).enumerate() {
        key.push_str(if number == 0 { stem(part) } else { part });
        key.push('/');
    }
    key
}

/// The parts of a path, from its end.
fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.rsplit(['/', '\\']).filter(|part| !part.is_empty() && *part != ".")
}

fn last_part(name: &str) -> &str {
    parts(name).next().unwrap_or_default()
}

/// A file name without the extension of a picture.
pub(crate) fn stem(file_name: &str) -> &str {
    match file_name.rsplit_once('.') {
        Some((stem, extension)) if is_picture_extension(extension) => stem,
        _ => file_name,
    }
}

fn is_picture_extension(extension: &str) -> bool {
    PICTURE_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// Whether a file name has the extension of a picture, in upper or lower case.
pub fn has_picture_extension(name: &Path) -> bool {
    name.extension().and_then(|extension| extension.to_str()).is_some_and(is_picture_extension)
}

/// Whether two names have one extension, or one of them has none.
fn extensions_agree(a: &str, b: &str) -> bool {
    let (a, b) = (last_part(a), last_part(b));
    a == b || stem(a) == a || stem(b) == b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(names: &[&str]) -> NameIndex {
        NameIndex::new(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_name_is_found_by_its_end() {
        let index = index(&[
            "val/a.jpg",
            "b.png",
            "x/c.jpg",
            "y/c.jpg",
            "c.jpg",
            "d.jpg",
            "d.png",
            "e",
            "dup.jpg",
            "dup.jpg",
        ]);
        for (name, expected) in [
            ("val/a.jpg", Match::One(0)),
            ("a.jpg", Match::One(0)),
            ("/data/val/a.jpg", Match::One(0)),
            ("C:\\data\\val\\a.jpg", Match::One(0)),
            ("./val//a.jpg", Match::One(0)),
            ("a", Match::One(0)),
            ("train/a.jpg", Match::None),
            ("aa.jpg", Match::None),
            ("b.jpg", Match::None),
            ("c.jpg", Match::One(4)),
            ("y/c.jpg", Match::One(3)),
            ("/z/y/c.jpg", Match::Several(3, 4)),
            ("d", Match::Several(5, 6)),
            ("data/e.jpg", Match::One(7)),
            ("dup.jpg", Match::Several(8, 9)),
            ("x/y/z/q", Match::None),
            ("", Match::None),
            ("/", Match::None),
        ] {
            assert_eq!(index.find(name), expected, "{name}");
        }
    }

    /// Frames of many films are called alike: looking for one must not look at all.
    #[test]
    fn many_names_that_end_alike_are_told_apart_quickly() {
        let names: Vec<String> = (0..200_000).map(|film| format!("{film}/0.jpg")).collect();
        let index = NameIndex::new(names.clone());
        for (number, name) in names.iter().enumerate() {
            assert_eq!(index.find(name), Match::One(number));
            assert_eq!(index.find(&format!("/data/{name}")), Match::One(number));
        }
        assert!(matches!(index.find("0.jpg"), Match::Several(..)));
    }
}
