//! Pictures with their captions in files beside them: in a folder (kohya's trainers, TagGUI, `mplug caption` with text files) or in a tar
//! or zip archive (WebDataset, img2dataset, `mplug caption --format tar`).
//!
//! The caption of `a.jpg` is in `a.txt` or `a.caption`, or in `a.jpg.txt` where another picture is called `a`; in one language of
//! several, in `a.zh.txt`. Of a file in a folder the first line is the caption, as kohya's trainers read it; an archive's member is
//! one whole, but for the keywords and further captions that our own record (`a.json`) shows to be such. A record alone will do.
//! `a.seg.png` beside `a.jpg` is another field of WebDataset's, and no picture.
//!
//! Refuses two texts for one picture, and a text for two pictures.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use mplug::preprocess::image::ImageLimits;
use serde::Deserialize;

use super::ReadOptions;
use super::row::Row;
use crate::dataset::Language;
use crate::error::{DataError, Place};
use crate::names::has_picture_extension;
use crate::source::{MAX_MEMBERS, PictureSource, members_of, members_of_shards, names_and_sources};

/// Longest file of a caption: 1 MiB.
const MAX_TEXT_BYTES: u64 = 1 << 20;
/// How deep folders may lie in each other.
const MAX_DEPTH: usize = 32;
/// What files of captions end in.
pub(crate) const TEXT_ENDINGS: [&str; 2] = ["txt", "caption"];
const RECORD_ENDING: &str = "json";

/// Files, all in one folder or archive.
struct Listing {
    path: PathBuf,
    /// Their names, with slashes.
    names: Vec<String>,
    /// Where they are; none for files of a folder.
    sources: Vec<PictureSource>,
}

impl Listing {
    /// The files of a folder, or the members of an archive or of a folder's archives.
    fn of(path: &Path, is_archive: bool) -> Result<Self, DataError> {
        if is_archive {
            let members = if path.is_dir() { members_of_shards(path)? } else { members_of(path)?.list };
            let (names, sources) = names_and_sources(members);
            return Ok(Self { path: path.to_path_buf(), names, sources });
        }
        let mut listing = Self { path: path.to_path_buf(), names: Vec::new(), sources: Vec::new() };
        listing.walk(path, "", 0)?;
        Ok(listing)
    }

    /// Adds the files of a folder and of those below, each folder's in the order of their names. Links to folders are not
    /// followed, what is hidden is passed over.
    fn walk(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), DataError> {
        let io = |error| DataError::io(folder, error);
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let Ok(name) = entry.file_name().into_string() else {
                let path = entry.path();
                if !has_picture_extension(&path) {
                    continue;
                }
                let what = std::io::Error::new(std::io::ErrorKind::InvalidData, "expected a name in UTF-8");
                return Err(DataError::io(&path, what));
            };
            if !name.starts_with('.') {
                entries.push((name, entry.file_type().map_err(io)?.is_dir()));
            }
            if self.names.len() + entries.len() > MAX_MEMBERS {
                let what = format!("has more than {MAX_MEMBERS} files");
                return Err(io(std::io::Error::new(std::io::ErrorKind::InvalidData, what)));
            }
        }
        entries.sort();
        for (name, is_folder) in entries {
            if !is_folder {
                self.names.push(format!("{prefix}{name}"));
            } else if depth < MAX_DEPTH {
                self.walk(&folder.join(&name), &format!("{prefix}{name}/"), depth + 1)?;
            }
        }
        Ok(())
    }

    /// The text of a file or member.
    fn text(&self, number: usize) -> Result<String, DataError> {
        let name = &self.names[number];
        let limits = ImageLimits { max_file_bytes: MAX_TEXT_BYTES, ..ImageLimits::default() };
        let source = match self.sources.get(number) {
            Some(source) => source.clone(),
            None => PictureSource::File(self.path.join(name)),
        };
        let mut bytes = source.read(&limits)?;
        if bytes.starts_with(b"\xEF\xBB\xBF") {
            bytes.drain(..3);
        }
        String::from_utf8(bytes).map_err(|_| {
            let what = "expected UTF-8, found other bytes";
            DataError::io(&self.path.join(name), std::io::Error::new(std::io::ErrorKind::InvalidData, what))
        })
    }

    fn is_archive(&self) -> bool {
        !self.sources.is_empty()
    }
}

/// A picture and what lies beside it, by number; texts and records with their language.
struct Labelled {
    picture: usize,
    texts: Vec<(Option<Language>, usize)>,
    records: Vec<(Option<Language>, usize)>,
}

/// What belongs together.
struct Pairing {
    pictures: Vec<Labelled>,
    /// Records without a picture.
    alone: Vec<usize>,
}

/// A name without its last ending, and the ending in lower case.
fn split_ending(name: &str) -> Option<(&str, String)> {
    let file = name.rsplit('/').next()?;
    let (stem, ending) = file.rsplit_once('.')?;
    let stem = &name[..name.len() - file.len() + stem.len()];
    Some((stem, ending.to_lowercase()))
}

/// What WebDataset takes for the key of a name: all before the first full stop of its last part.
fn key_of(name: &str) -> &str {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    name[start..].find('.').map_or(name, |stop| &name[..start + stop])
}

/// The texts and records of a listing by what they are called before their endings.
struct Beside<'a> {
    by_stem: HashMap<&'a str, Vec<(String, usize)>>,
}

impl<'a> Beside<'a> {
    fn of(names: &'a [String]) -> Self {
        let mut by_stem: HashMap<&str, Vec<(String, usize)>> = HashMap::new();
        for (number, name) in names.iter().enumerate() {
            if let Some((stem, ending)) = split_ending(name)
                && (TEXT_ENDINGS.contains(&ending.as_str()) || ending == RECORD_ENDING)
            {
                by_stem.entry(stem).or_default().push((ending, number));
            }
        }
        Self { by_stem }
    }

    /// Texts and records of what is called `stem`, by language.
    fn find(&self, stem: &str) -> [Vec<(Option<Language>, usize)>; 2] {
        let [mut texts, mut records] = [Vec::new(), Vec::new()];
        let mut take = |language: Option<Language>, stem: &str| {
            for (ending, number) in self.by_stem.get(stem).into_iter().flatten() {
                let list = if ending == RECORD_ENDING { &mut records } else { &mut texts };
                list.push((language, *number));
            }
        };
        take(None, stem);
        for language in Language::ALL {
            take(Some(language), &format!("{stem}.{language}"));
        }
        [texts, records]
    }
}

/// Joins pictures with the files that lie beside them.
fn pair(listing: &Listing) -> Result<Pairing, DataError> {
    let names = &listing.names;
    let beside = Beside::of(names);
    let pictures = || (0..names.len()).filter(|number| has_picture_extension(Path::new(&names[*number])));
    let mut sharing: HashMap<&str, usize> = HashMap::new();
    for number in pictures() {
        if let Some((stem, _)) = split_ending(&names[number]) {
            *sharing.entry(stem).or_default() += 1;
        }
    }
    let mut found = Pairing { pictures: Vec::new(), alone: Vec::new() };
    let mut is_taken = vec![false; names.len()];
    for picture in pictures() {
        let name = &names[picture];
        let Some((stem, _)) = split_ending(name) else { continue };
        let [mut texts, mut records] = beside.find(name);
        if texts.is_empty() && records.is_empty() {
            [texts, records] = beside.find(stem);
            if sharing[stem] > 1 && !(texts.is_empty() && records.is_empty()) {
                let text = &names[texts.iter().chain(&records).next().map_or(picture, |(_, number)| *number)];
                let what = format!(
                    "{text} may belong to {name} or another picture of that name: expected {name}.txt"
                );
                return Err(DataError::annotation(&listing.path, Place::Element("pictures", picture), what));
            }
        }
        let is_field = texts.is_empty() && records.is_empty() && key_of(name) != stem && {
            let key = key_of(name);
            sharing.contains_key(key)
        };
        if is_field {
            continue;
        }
        for (_, number) in texts.iter().chain(&records) {
            is_taken[*number] = true;
        }
        for language in [None, Some(Language::Chinese), Some(Language::English)] {
            let mut of_one = texts.iter().filter(|(of, _)| *of == language).map(|(_, number)| *number);
            if let (Some(first), Some(second)) = (of_one.next(), of_one.next()) {
                let what = format!(
                    "{name}: expected one file with its caption, found {} and {}",
                    names[first], names[second]
                );
                return Err(DataError::annotation(&listing.path, Place::Element("pictures", picture), what));
            }
        }
        found.pictures.push(Labelled { picture, texts, records });
    }
    let is_record = |name: &String| split_ending(name).is_some_and(|(_, ending)| ending == RECORD_ENDING);
    found.alone =
        (0..names.len()).filter(|number| !is_taken[*number] && is_record(&names[*number])).collect();
    Ok(found)
}

/// What is used of a record.
#[derive(Default, Deserialize)]
struct Record {
    path: Option<String>,
    caption: Option<String>,
    error: Option<String>,
}

impl Record {
    /// That of a JSON text; nothing of something else.
    fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// Whether a folder holds pictures with captions beside them.
pub(crate) fn has_captions(folder: &Path) -> Result<bool, DataError> {
    let found = pair(&Listing::of(folder, false)?)?;
    Ok(found.pictures.iter().any(|picture| !picture.texts.is_empty()))
}

/// Reads a folder or an archive; returns the pictures without a caption, how many and the first.
pub(super) fn each_row(
    path: &Path,
    is_archive: bool,
    options: &ReadOptions,
    each: &mut dyn FnMut(Row) -> Result<(), String>,
) -> Result<Option<(usize, String)>, DataError> {
    let listing = Listing::of(path, is_archive)?;
    let pairing = pair(&listing)?;
    let mut reading = Reading { listing: &listing, left: options.max_bytes, options, each };
    let mut without: Option<(usize, String)> = None;
    let mut captioned = 0;
    for picture in &pairing.pictures {
        if reading.add(picture)? {
            captioned += 1;
        } else {
            let name = || listing.names[picture.picture].clone();
            without = Some(without.map_or_else(|| (1, name()), |(count, first)| (count + 1, first)));
        }
    }
    if listing.is_archive() {
        for number in &pairing.alone {
            captioned += usize::from(reading.add_alone(*number)?);
        }
    }
    if captioned == 0 && without.is_none() {
        let what = "expected pictures with captions beside them (a.jpg and a.txt), found none";
        return Err(DataError::annotation(path, Place::Element("pictures", 0), what));
    }
    Ok(without)
}

struct Reading<'a> {
    listing: &'a Listing,
    /// Bytes of captions that may still be read.
    left: u64,
    options: &'a ReadOptions,
    each: &'a mut dyn FnMut(Row) -> Result<(), String>,
}

impl Reading<'_> {
    fn text(&mut self, number: usize) -> Result<String, DataError> {
        let text = self.listing.text(number)?;
        self.left = self.left.checked_sub(text.len() as u64).ok_or_else(|| DataError::TooLarge {
            path: self.listing.path.clone(),
            found: self.options.max_bytes + text.len() as u64,
            limit: self.options.max_bytes,
        })?;
        Ok(text)
    }

    fn hand_on(&mut self, row: Row) -> Result<(), DataError> {
        let place = row.place;
        (self.each)(row).map_err(|what| DataError::annotation(&self.listing.path, place, what))
    }

    /// Hands on a picture's captions; whether it has one, or says why not.
    fn add(&mut self, found: &Labelled) -> Result<bool, DataError> {
        let mut languages: Vec<Option<Language>> = Vec::new();
        for (language, _) in found.texts.iter().chain(&found.records) {
            if !languages.contains(language) {
                languages.push(*language);
            }
        }
        let mut has_one = false;
        for language in languages {
            let number = |list: &[(Option<Language>, usize)]| {
                list.iter().find(|(of, _)| *of == language).map(|(_, number)| *number)
            };
            let record = number(&found.records).map(|number| self.text(number)).transpose()?;
            let record = record.map(|text| Record::parse(&text)).unwrap_or_default();
            let text = number(&found.texts).map(|number| self.text(number)).transpose()?;
            let caption = text.map(|text| caption(&text, &record, self.listing.is_archive()));
            let caption = caption.or(record.caption);
            if caption.is_none() && record.error.is_none() {
                continue;
            }
            has_one = true;
            self.hand_on(Row {
                file_name: Some(self.listing.names[found.picture].clone()),
                original: record.path,
                captions: caption.into_iter().collect(),
                language: language.map(|language| language.code().to_owned()),
                error: record.error,
                ..Row::new(Place::Element("pictures", found.picture))
            })?;
        }
        Ok(has_one)
    }

    /// Hands on a record whose picture is not in the archive; whether it is one of ours.
    fn add_alone(&mut self, number: usize) -> Result<bool, DataError> {
        let record = Record::parse(&self.text(number)?);
        let is_ours = record.path.is_some() && record.caption.as_ref().or(record.error.as_ref()).is_some();
        if is_ours {
            self.hand_on(Row {
                original: record.path,
                captions: record.caption.into_iter().collect(),
                error: record.error,
                ..Row::new(Place::Element("members", number))
            })?;
        }
        Ok(is_ours)
    }
}

/// The caption in the text beside a picture.
fn caption(text: &str, record: &Record, is_whole: bool) -> String {
    let text = text.trim();
    let first = text.lines().next().unwrap_or_default().trim_end();
    let is_first = !is_whole || record.caption.as_deref().map(str::trim) == Some(first);
    if is_first { first.to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests;
