//! `paraphrase-en.gz` into the table in memory.
//!
//! The text's entries are three lines: a probability (not used by METEOR), a phrase, a paraphrase of it; words are
//! separated by one space. It knows nothing of the cache and reads no phrase's meaning.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use rustc_hash::FxHashMap;

use super::error::MeteorError;
use super::paraphrases::{ParaphraseTable, ROOT};
use super::synonyms::excerpt;

/// Limits on hostile files; the official text has 272 MB and lines of less than 200 bytes.
const MAX_TEXT_BYTES: u64 = 2 << 30;
const MAX_LINE_BYTES: u64 = 4096;

/// Reads and compiles the table.
pub(crate) fn compile(path: &Path) -> Result<ParaphraseTable, MeteorError> {
    let file = File::open(path).map_err(|source| read_error(path, source))?;
    let text = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file));
    compile_text(BufReader::with_capacity(1 << 16, text), path)
}

fn compile_text(text: impl BufRead, path: &Path) -> Result<ParaphraseTable, MeteorError> {
    let mut lines = Lines { text, path, line: 0, read: 0, bytes: Vec::new() };
    let mut builder = Builder::new();
    while lines.advance()? {
        let phrase = builder.phrase(lines.phrase()?);
        let paraphrase = builder.phrase(lines.phrase()?);
        builder.pairs.push((phrase, paraphrase));
    }
    if builder.pairs.is_empty() {
        return Err(lines.error("entries of three lines", "an empty table".to_owned()));
    }
    Ok(builder.finish())
}

fn read_error(path: &Path, source: std::io::Error) -> MeteorError {
    MeteorError::Io { action: "read", path: path.to_path_buf(), source }
}

/// The text's lines, one at a time.
struct Lines<'a, R> {
    text: R,
    path: &'a Path,
    line: usize,
    /// Bytes so far.
    read: u64,
    bytes: Vec<u8>,
}

impl<R: BufRead> Lines<'_, R> {
    /// Reads the next line, without its end; false after the last.
    fn advance(&mut self) -> Result<bool, MeteorError> {
        self.bytes.clear();
        self.line += 1;
        let mut limited = (&mut self.text).take(MAX_LINE_BYTES);
        let count =
            limited.read_until(b'\n', &mut self.bytes).map_err(|source| read_error(self.path, source))?;
        if count as u64 == MAX_LINE_BYTES {
            return Err(self.error("lines of less than 4096 bytes", "a longer one".to_owned()));
        }
        self.read += count as u64;
        if self.read > MAX_TEXT_BYTES {
            return Err(self.error("a text of at most 2 GiB", "more".to_owned()));
        }
        if self.bytes.last() == Some(&b'\n') {
            self.bytes.pop();
        }
        Ok(count > 0)
    }

    /// The next line as a phrase.
    fn phrase(&mut self) -> Result<&str, MeteorError> {
        if !self.advance()? || self.bytes.is_empty() {
            return Err(self.error("a phrase", "nothing".to_owned()));
        }
        std::str::from_utf8(&self.bytes)
            .map_err(|_| self.error("UTF-8", excerpt(&String::from_utf8_lossy(&self.bytes))))
    }

    fn error(&self, expected: &'static str, found: String) -> MeteorError {
        MeteorError::Format { path: self.path.to_path_buf(), line: self.line, expected, found }
    }
}

/// The trie while it grows; its nodes are numbered by first appearance.
struct Builder {
    vocabulary: FxHashMap<Box<str>, u32>,
    /// Child of a node by a word.
    edges: FxHashMap<(u32, u32), u32>,
    /// Parent and word of each node.
    nodes: Vec<(u32, u32)>,
    pairs: Vec<(u32, u32)>,
}

impl Builder {
    fn new() -> Self {
        Self {
            vocabulary: FxHashMap::default(),
            edges: FxHashMap::default(),
            nodes: vec![(ROOT, 0)],
            pairs: Vec::new(),
        }
    }

    /// The node of a phrase, made if need be.
    fn phrase(&mut self, phrase: &str) -> u32 {
        phrase.split(' ').fold(ROOT, |node, word| {
            let word = self.word(word);
            *self.edges.entry((node, word)).or_insert_with(|| {
                self.nodes.push((node, word));
                (self.nodes.len() - 1) as u32
            })
        })
    }

    fn word(&mut self, word: &str) -> u32 {
        if let Some(number) = self.vocabulary.get(word) {
            return *number;
        }
        let number = self.vocabulary.len() as u32;
        self.vocabulary.insert(word.into(), number);
        number
    }

    fn finish(self) -> ParaphraseTable {
        let Self { vocabulary, edges, nodes, mut pairs } = self;
        drop(edges); // the largest part; the peak of memory is here
        let (order, numbers) = level_order(&nodes);
        for pair in &mut pairs {
            *pair = (numbers[pair.0 as usize], numbers[pair.1 as usize]);
        }
        pairs.sort_by_key(|pair| pair.0); // stable: a phrase's paraphrases stay in the text's order
        let parents = order.iter().skip(1).map(|node| numbers[nodes[*node as usize].0 as usize]);
        let mut first_child = starts(parents, nodes.len());
        for start in &mut first_child {
            *start += 1; // the root is nobody's child
        }
        ParaphraseTable {
            vocabulary,
            words: order.iter().map(|node| nodes[*node as usize].1).collect(),
            first_child,
            first_target: starts(pairs.iter().map(|pair| pair.0), nodes.len()),
            targets: pairs.iter().map(|pair| pair.1).collect(),
        }
    }
}

/// The nodes level by level, children of one parent together and sorted by word; and each node's index in that order.
fn level_order(nodes: &[(u32, u32)]) -> (Vec<u32>, Vec<u32>) {
    let mut levels = vec![0_u16; nodes.len()];
    for (node, (parent, _)) in nodes.iter().enumerate().skip(1) {
        levels[node] = levels[*parent as usize] + 1; // a parent is older than its children
    }
    let mut order: Vec<u32> = (0..nodes.len() as u32).collect();
    order.sort_by_key(|node| levels[*node as usize]);
    let mut numbers = vec![0; nodes.len()];
    let mut start = 0;
    for level in order.chunk_by_mut(|a, b| levels[*a as usize] == levels[*b as usize]) {
        level.sort_unstable_by_key(|node| {
            let (parent, word) = nodes[*node as usize];
            (numbers[parent as usize], word)
        });
        for node in &*level {
            numbers[*node as usize] = start;
            start += 1;
        }
    }
    (order, numbers)
}

/// Where each of `count` keys begins in a sorted list of keys, and the list's end.
fn starts(sorted_keys: impl Iterator<Item = u32>, count: usize) -> Vec<u32> {
    let mut starts = vec![0; count + 1];
    for key in sorted_keys {
        starts[key as usize + 1] += 1;
    }
    for index in 0..count {
        starts[index + 1] += starts[index];
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(text: &str) -> Result<ParaphraseTable, MeteorError> {
        compile_text(text.as_bytes(), Path::new("table"))
    }

    #[test]
    fn every_entry_is_found() {
        let text = "0.5\nlarge\nbig\n0.1\nbig\nvery large\n0.1\nbig\nlarge\n";
        let table = compiled(text).unwrap();
        assert!(table.is_sound());
        let phrase = |words: &str| {
            words.split(' ').try_fold(ROOT, |node, word| table.child(node, table.word(word)?)).unwrap()
        };
        // In the text's order, not the numbers'.
        assert_eq!(table.targets(phrase("big")), [phrase("very large"), phrase("large")]);
        assert_eq!(table.targets(phrase("large")), [phrase("big")]);
        assert!(table.targets(phrase("very")).is_empty());
        assert!(table.targets(phrase("very large")).is_empty());
    }

    #[test]
    fn bad_texts_are_errors() {
        for (text, message) in [
            ("", "an empty table"),
            ("0.5\nbig\n", "line 3: expected a phrase"),
            ("0.5\n\nbig\n", "line 2: expected a phrase"),
        ] {
            let error = compiled(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        assert!(compiled(&"x".repeat(5000)).is_err());
        assert!(compile_text(&b"0\n\xff\nb\n"[..], Path::new("table")).is_err());
    }
}
