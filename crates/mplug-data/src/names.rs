//! Finding a picture by its name, where the two sides may know more or less of its path.
//!
//! `val2014/COCO_1.jpg` and `/data/val2014/COCO_1.jpg` are one picture, and so are `COCO_1.jpg` and `COCO_1` (COCO-CN and
//! AI Challenger's evaluator leave extensions out). Names are compared as text, part by part from the end: nothing here
//! opens a file.

use std::collections::HashMap;

/// Extensions that a name may lack.
pub(crate) const EXTENSIONS: [&str; 9] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "JPG"];

/// Names by their last part without extension.
#[derive(Debug, Default)]
pub(crate) struct NameIndex {
    names: Vec<String>,
    by_stem: HashMap<String, Vec<usize>>,
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
    /// Adds a name; its number is how many were added before.
    pub(crate) fn push(&mut self, name: &str) {
        self.by_stem.entry(stem(last_part(name)).to_string()).or_default().push(self.names.len());
        self.names.push(name.to_string());
    }

    pub(crate) fn name(&self, number: usize) -> &str {
        &self.names[number]
    }

    /// The name equal to `name`, or else the one that ends as `name` does, or that `name` ends with.
    pub(crate) fn find(&self, name: &str) -> Match {
        let Some(numbers) = self.by_stem.get(stem(last_part(name))) else { return Match::None };
        let equal = self.first_two(numbers, |known| known == name);
        if equal == Match::None { self.first_two(numbers, |known| agree(known, name)) } else { equal }
    }

    fn first_two(&self, numbers: &[usize], fits: impl Fn(&str) -> bool) -> Match {
        let mut fitting = numbers.iter().copied().filter(|number| fits(&self.names[*number]));
        match (fitting.next(), fitting.next()) {
            (Some(first), Some(second)) => Match::Several(first, second),
            (Some(number), None) => Match::One(number),
            (None, _) => Match::None,
        }
    }
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
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// Whether one path ends with the other; a missing extension agrees with any.
fn agree(a: &str, b: &str) -> bool {
    let (mut a_parts, mut b_parts) = (parts(a), parts(b));
    let (Some(a_last), Some(b_last)) = (a_parts.next(), b_parts.next()) else { return false };
    let lacks_extension = a_last == stem(b_last) || b_last == stem(a_last);
    (a_last == b_last || lacks_extension) && a_parts.zip(b_parts).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(names: &[&str]) -> NameIndex {
        let mut index = NameIndex::default();
        for name in names {
            index.push(name);
        }
        index
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
            ("", Match::None),
            ("/", Match::None),
        ] {
            assert_eq!(index.find(name), expected, "{name}");
        }
    }
}
