//! METEOR's data, loaded from the user's own copy of the official files; none of it is part of this program.
//!
//! `meteor-1.5.jar` holds synonyms, irregular forms, function words and abbreviations; the paraphrase table lies beside
//! it in `data/paraphrase-en.gz`. Both come with `pip install pycocoevalcap`. It knows nothing of captions.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use rustc_hash::FxHashSet;
use zip::ZipArchive;
use zip::result::ZipError;

use super::cache::{self, SourceIdentity};
use super::compile::compile;
use super::error::MeteorError;
use super::normalize::Prefixes;
use super::paraphrases::ParaphraseTable;
use super::synonyms::Synonyms;

/// A limit on hostile archives; the largest official entry that is read has 3.7 MB.
const MAX_ENTRY_BYTES: u64 = 64 << 20;

/// What became of the cache of the compiled paraphrase table.
#[derive(Debug)]
pub enum CacheState {
    /// No cache was requested.
    Unused,
    /// The table was read from the cache.
    Read,
    /// There was no fitting cache; the table was compiled and written.
    Written,
    /// The table was compiled but could not be written; the next load compiles again.
    NotWritten(MeteorError),
}

/// Everything METEOR looks up: word lists, synonyms and paraphrases.
#[derive(Debug)]
pub struct MeteorData {
    pub(crate) prefixes: Prefixes,
    pub(crate) function_words: FxHashSet<Box<str>>,
    /// Synonyms and paraphrases, or neither.
    pub(crate) resources: Option<Resources>,
    cache_state: CacheState,
}

/// The two resources that make METEOR more than exact and stem matches.
#[derive(Debug)]
pub(crate) struct Resources {
    pub(crate) synonyms: Synonyms,
    pub(crate) paraphrases: ParaphraseTable,
}

impl MeteorData {
    /// Loads the official files: the jar, the paraphrase table (`data/paraphrase-en.gz` beside the jar unless named),
    /// and, if `cache` is given, the compiled table from there.
    ///
    /// Compiling takes seconds and happens when the cache is missing, damaged or made from another table; it is then
    /// written anew. A cache that cannot be written is not an error, see [`cache_state`](Self::cache_state).
    pub fn load(jar: &Path, paraphrases: Option<&Path>, cache: Option<&Path>) -> Result<Self, MeteorError> {
        let beside = jar.parent().unwrap_or(Path::new("")).join("data/paraphrase-en.gz");
        let table_path = paraphrases.unwrap_or(&beside);
        if !table_path.is_file() {
            return Err(MeteorError::NoParaphrases { path: table_path.to_path_buf() });
        }
        let mut archive = Jar::open(jar)?;
        let synsets = archive.text("synonym/english.synsets")?;
        let exceptions = archive.text("synonym/english.exceptions")?;
        let synonyms = Synonyms::parse((&synsets.0, &synsets.1), (&exceptions.0, &exceptions.1))?;
        let function_words = archive.text("function/english.words")?.1;
        let prefixes = archive.text("nonbreaking/english.prefixes")?.1;
        let (paraphrases, cache_state) = load_paraphrases(table_path, cache)?;
        Ok(Self {
            prefixes: Prefixes::parse(&prefixes),
            function_words: function_words.split_whitespace().map(Into::into).collect(),
            resources: Some(Resources { synonyms, paraphrases }),
            cache_state,
        })
    }

    /// No files at all: exact and stem matches only, every word a content word, and no list of abbreviations (`vs.`
    /// loses its dot before a capital, a digit or the end, where the official list keeps it).
    ///
    /// The figures are those of the official jar run with `-m 'exact stem'` and an empty list of function words. They are
    /// lower than METEOR's and must not be called METEOR: see [`label`](Self::label).
    pub fn without_resources() -> Self {
        Self {
            prefixes: Prefixes::default(),
            function_words: FxHashSet::default(),
            resources: None,
            cache_state: CacheState::Unused,
        }
    }

    /// Whether all four modules have their data.
    pub fn is_complete(&self) -> bool {
        self.resources.is_some()
    }

    /// Hand-made resources and no word lists.
    #[cfg(test)]
    pub(crate) fn with_resources(resources: Resources) -> Self {
        Self { resources: Some(resources), ..Self::without_resources() }
    }

    /// What a figure computed with this data may be called.
    pub fn label(&self) -> &'static str {
        if self.resources.is_some() { "METEOR" } else { "METEOR (exact+stem)" }
    }

    /// Whether the cache of the paraphrase table was used.
    pub fn cache_state(&self) -> &CacheState {
        &self.cache_state
    }
}

fn load_paraphrases(path: &Path, cache: Option<&Path>) -> Result<(ParaphraseTable, CacheState), MeteorError> {
    let Some(cache) = cache else {
        return Ok((compile(path)?, CacheState::Unused));
    };
    let identity = SourceIdentity::read(path).map_err(|source| MeteorError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    })?;
    if let Some(table) = cache::read(cache, identity) {
        return Ok((table, CacheState::Read));
    }
    let table = compile(path)?;
    let state = match cache::write(cache, identity, &table) {
        Ok(()) => CacheState::Written,
        Err(source) => {
            let path = cache.to_path_buf();
            CacheState::NotWritten(MeteorError::Io { action: "write", path, source })
        }
    };
    Ok((table, state))
}

/// The open jar.
struct Jar<'a> {
    path: &'a Path,
    archive: ZipArchive<BufReader<File>>,
}

impl<'a> Jar<'a> {
    fn open(path: &'a Path) -> Result<Self, MeteorError> {
        let file = File::open(path).map_err(|source| MeteorError::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        })?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|source| MeteorError::Jar {
            path: path.to_path_buf(),
            entry: "the archive's directory",
            source,
        })?;
        Ok(Self { path, archive })
    }

    /// An entry's text, with its name for messages.
    fn text(&mut self, entry: &'static str) -> Result<(PathBuf, String), MeteorError> {
        let error = |source| MeteorError::Jar { path: self.path.to_path_buf(), entry, source };
        let file = self.archive.by_name(entry).map_err(error)?;
        let mut text = String::new();
        file.take(MAX_ENTRY_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|source| error(ZipError::Io(source)))?;
        let name = PathBuf::from(format!("{}!{entry}", self.path.display()));
        if text.len() as u64 > MAX_ENTRY_BYTES {
            let (expected, found) = ("a text of at most 64 MiB", "more".to_owned());
            return Err(MeteorError::Format { path: name, line: 0, expected, found });
        }
        Ok((name, text))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A jar with hand-made entries and a paraphrase table beside it.
    fn official_folder(synsets: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut jar = zip::ZipWriter::new(File::create(folder.path().join("meteor.jar")).unwrap());
        for (name, text) in [
            ("synonym/english.synsets", synsets),
            ("synonym/english.exceptions", "go\nwent\n"),
            ("function/english.words", "the\nof\n"),
            ("nonbreaking/english.prefixes", "Mr\n"),
        ] {
            jar.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            jar.write_all(text.as_bytes()).unwrap();
        }
        jar.finish().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let table = File::create(folder.path().join("data/paraphrase-en.gz")).unwrap();
        let mut table = flate2::write::GzEncoder::new(table, flate2::Compression::fast());
        table.write_all(b"0.5\nbig\nvery large\n").unwrap();
        table.finish().unwrap();
        folder
    }

    fn load(folder: &Path, cache: Option<&Path>) -> Result<MeteorData, MeteorError> {
        MeteorData::load(&folder.join("meteor.jar"), None, cache)
    }

    #[test]
    fn loads_and_caches() {
        let folder = official_folder("dog\n1\nhound\n1\n");
        let cache = folder.path().join("cache.bin");
        let data = load(folder.path(), None).unwrap();
        assert_eq!(data.label(), "METEOR");
        assert!(matches!(data.cache_state(), CacheState::Unused));
        let states: Vec<_> = (0..2).map(|_| load(folder.path(), Some(&cache)).unwrap().cache_state).collect();
        assert!(matches!(states[..], [CacheState::Written, CacheState::Read]), "{states:?}");
        std::fs::write(&cache, b"damaged").unwrap();
        assert!(matches!(load(folder.path(), Some(&cache)).unwrap().cache_state, CacheState::Written));
        let data = load(folder.path(), Some(&folder.path().join("meteor.jar/cache.bin"))).unwrap();
        assert!(matches!(data.cache_state, CacheState::NotWritten(MeteorError::Io { action: "write", .. })));
    }

    #[test]
    fn bad_files_are_errors_that_name_them() {
        let folder = official_folder("dog\none\n");
        let error = load(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("meteor.jar!synonym/english.synsets` line 2: expected numbers"), "{error}");
        std::fs::write(folder.path().join("meteor.jar"), b"PK no zip").unwrap();
        let error = load(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("meteor.jar`: cannot read the entry"), "{error}");
        std::fs::remove_file(folder.path().join("data/paraphrase-en.gz")).unwrap();
        let error = load(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("no paraphrase table at"), "{error}");
    }

    #[test]
    fn a_damaged_table_is_an_error() {
        let folder = official_folder("dog\n1\n");
        let path = folder.path().join("data/paraphrase-en.gz");
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 4]).unwrap();
        let error = load(folder.path(), None).unwrap_err().to_string();
        assert!(error.starts_with("cannot read `") && error.contains("paraphrase-en.gz"), "{error}");
    }

    #[test]
    fn without_files_the_label_says_so() {
        assert_eq!(MeteorData::without_resources().label(), "METEOR (exact+stem)");
    }
}
