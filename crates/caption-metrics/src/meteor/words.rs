//! Words as the matcher compares them, looked up once each.
//!
//! Like the jar, words and stems are compared by Java's `String.hashCode`, so that its rare collisions ("gelato" equals
//! "variants") are ours too; synonyms, paraphrases and function words are looked up by spelling. It knows no sentences'
//! matches.

use std::ops::Range;

use rust_stemmers::{Algorithm, Stemmer};
use rustc_hash::FxHashMap;

use super::data::MeteorData;
use super::normalize::normalize;
use super::paraphrases::ROOT;

/// The word cache is emptied beyond this many words, so that endless input does not fill the memory.
const MAX_CACHED_WORDS: usize = 1 << 18;

/// What the modules compare of a word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    /// Java's hash of the spelling: the word's identity.
    pub(crate) hash: i32,
    /// Java's hash of the Snowball stem.
    pub(crate) stem_hash: i32,
    /// Part of the cache's list of synonym sets.
    sets: (u32, u32),
    /// Number in the paraphrase table, if it occurs there.
    paraphrase_number: Option<u32>,
    pub(crate) is_function: bool,
}

/// A phrase of the paraphrase table found in a sentence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phrase {
    /// Its node in the table.
    pub(crate) node: u32,
    pub(crate) start: u32,
    pub(crate) length: u32,
}

/// The phrases found in a sentence.
#[derive(Debug, Default)]
pub(crate) struct Phrases {
    /// By start, then length.
    by_start: Vec<Phrase>,
    /// By node, then start.
    by_node: Vec<Phrase>,
    /// Bit `node % 64` of every node: most of a table's paraphrases are not in the sentence, and one look shows it.
    nodes_modulo_64: u64,
}

impl Phrases {
    /// All phrases, by start, then length.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Phrase> + '_ {
        self.by_start.iter().copied()
    }

    /// Where the phrase of `node` occurs, by start.
    pub(crate) fn of_node(&self, node: u32) -> &[Phrase] {
        if self.nodes_modulo_64 >> (node % 64) & 1 == 0 {
            return &[];
        }
        let start = self.by_node.partition_point(|phrase| phrase.node < node);
        let count = self.by_node[start..].iter().take_while(|phrase| phrase.node == node).count();
        &self.by_node[start..start + count]
    }

    fn find(&mut self, words: &[Word], data: &MeteorData) {
        self.by_start.clear();
        let Some(resources) = &data.resources else { return };
        for start in 0..words.len() {
            let mut node = ROOT;
            for (length, word) in (1..).zip(&words[start..]) {
                let child = word.paraphrase_number.and_then(|word| resources.paraphrases.child(node, word));
                let Some(child) = child else { break };
                node = child;
                self.by_start.push(Phrase { node, start: start as u32, length });
            }
        }
        self.by_node.clone_from(&self.by_start);
        self.by_node.sort_unstable_by_key(|phrase| (phrase.node, phrase.start));
        self.nodes_modulo_64 = self.by_node.iter().fold(0, |bits, phrase| bits | 1 << (phrase.node % 64));
    }
}

/// A normalised sentence.
#[derive(Debug, Default)]
pub(crate) struct Sentence {
    pub(crate) words: Vec<Word>,
    /// All phrases in it.
    pub(crate) phrases: Phrases,
    pub(crate) function_words: usize,
}

/// Looked-up words. The same text gives the same words whatever was looked up before.
pub(crate) struct WordCache {
    stemmer: Stemmer,
    words: FxHashMap<Box<str>, Word>,
    sets: Vec<u32>,
}

impl WordCache {
    pub(crate) fn new() -> Self {
        Self { stemmer: Stemmer::create(Algorithm::English), words: FxHashMap::default(), sets: Vec::new() }
    }

    /// To be called between images: sentences made before are invalid afterwards.
    pub(crate) fn limit(&mut self) {
        if self.words.len() > MAX_CACHED_WORDS {
            self.words.clear();
            self.sets.clear();
        }
    }

    /// Normalises `text` and looks its words up, into `sentence`.
    pub(crate) fn read_sentence(&mut self, text: &str, data: &MeteorData, sentence: &mut Sentence) {
        let text = normalize(text, &data.prefixes);
        sentence.words.clear();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            sentence.words.push(self.look_up(word, data));
        }
        sentence.function_words = sentence.words.iter().filter(|word| word.is_function).count();
        sentence.phrases.find(&sentence.words, data);
    }

    /// Whether two words share a synonym set.
    pub(crate) fn are_synonyms(&self, a: &Word, b: &Word) -> bool {
        let [mut a, mut b] = [a, b].map(|word| &self.sets[word.sets.0 as usize..word.sets.1 as usize]);
        while let ([first_a, rest_a @ ..], [first_b, rest_b @ ..]) = (a, b) {
            match first_a.cmp(first_b) {
                std::cmp::Ordering::Less => a = rest_a,
                std::cmp::Ordering::Greater => b = rest_b,
                std::cmp::Ordering::Equal => return true,
            }
        }
        false
    }

    fn look_up(&mut self, text: &str, data: &MeteorData) -> Word {
        if let Some(word) = self.words.get(text) {
            return *word;
        }
        let Range { start, end } = self.append_sets(text, data);
        let word = Word {
            hash: java_hash(text),
            stem_hash: java_hash(&self.stemmer.stem(text)),
            sets: (start, end),
            paraphrase_number: data.resources.as_ref().and_then(|resources| resources.paraphrases.word(text)),
            is_function: data.function_words.contains(text),
        };
        self.words.insert(text.into(), word);
        word
    }

    fn append_sets(&mut self, text: &str, data: &MeteorData) -> Range<u32> {
        let start = self.sets.len() as u32;
        if let Some(resources) = &data.resources {
            resources.synonyms.append_sets(text, &mut self.sets);
        }
        start..self.sets.len() as u32
    }
}

/// `String.hashCode` of Java.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_like_java() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("the"), 114_801);
        assert_eq!(java_hash("gelato"), -1_249_574_770);
        assert_eq!(java_hash("variants"), -1_249_574_770);
        assert_eq!(java_hash("\u{d25}"), java_hash("in"));
    }

    #[test]
    fn a_full_cache_is_emptied_and_gives_the_same_words() {
        let data = MeteorData::without_resources();
        let mut cache = WordCache::new();
        let mut sentence = Sentence::default();
        cache.read_sentence("dogs running", &data, &mut sentence);
        let before: Vec<_> = sentence.words.iter().map(|word| (word.hash, word.stem_hash)).collect();
        for number in 0..=MAX_CACHED_WORDS {
            cache.look_up(&number.to_string(), &data);
        }
        cache.limit();
        assert!(cache.words.is_empty());
        cache.read_sentence("dogs running", &data, &mut sentence);
        let after: Vec<_> = sentence.words.iter().map(|word| (word.hash, word.stem_hash)).collect();
        assert_eq!(before, after);
        assert_eq!(before[1].1, java_hash("run"));
    }
}
