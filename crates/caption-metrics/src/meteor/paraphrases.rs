//! The paraphrase table in memory: a trie of phrases by word numbers, and for each phrase its paraphrases.
//!
//! Nodes are numbered level by level, so a node's children are neighbours and sorted by word: three arrays of `u32`
//! hold the trie, one the paraphrases. It knows nothing of files (`compile.rs` and `cache.rs` do) nor of sentences.

use rustc_hash::FxHashMap;

/// The trie's root, the empty phrase.
pub(crate) const ROOT: u32 = 0;

/// Phrases and their paraphrases. A phrase is the number of its node.
#[derive(Debug, PartialEq)]
pub(crate) struct ParaphraseTable {
    /// Numbers of the words.
    pub(super) vocabulary: FxHashMap<Box<str>, u32>,
    /// (nodes) the last word of each node's phrase; the root's is unused.
    pub(super) words: Vec<u32>,
    /// (nodes + 1) where each node's children begin.
    pub(super) first_child: Vec<u32>,
    /// (nodes + 1) where each node's paraphrases begin in `targets`.
    pub(super) first_target: Vec<u32>,
    /// Paraphrases of each phrase, in the order of the official text: the search's ties are broken by it.
    pub(super) targets: Vec<u32>,
}

impl ParaphraseTable {
    /// The number of a word, if it occurs in any phrase.
    pub(crate) fn word(&self, text: &str) -> Option<u32> {
        self.vocabulary.get(text).copied()
    }

    /// The phrase of `node` with `word` appended, if some phrase begins so.
    pub(crate) fn child(&self, node: u32, word: u32) -> Option<u32> {
        let start = self.first_child[node as usize];
        let children = &self.words[start as usize..self.first_child[node as usize + 1] as usize];
        children.binary_search(&word).ok().map(|index| start + index as u32)
    }

    /// The paraphrases of a phrase in the text's order; none for most beginnings of phrases.
    pub(crate) fn targets(&self, node: u32) -> &[u32] {
        &self.targets
            [self.first_target[node as usize] as usize..self.first_target[node as usize + 1] as usize]
    }

    /// Whether every index stays inside the arrays, whatever file this was read from.
    pub(super) fn is_sound(&self) -> bool {
        let nodes = self.words.len();
        let spans = |starts: &[u32], first: usize, last: usize| {
            starts.len() == nodes + 1
                && starts[0] as usize == first
                && starts[nodes] as usize == last
                && starts.is_sorted()
        };
        nodes > 0
            && spans(&self.first_child, 1, nodes)
            && spans(&self.first_target, 0, self.targets.len())
            && self.targets.iter().all(|target| (*target as usize) < nodes)
            && self.vocabulary.values().all(|word| (*word as usize) < self.vocabulary.len())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// "big" ~ "very large", "large" ~ "big" (one direction each), "very" only a beginning.
    pub(in super::super) fn tiny() -> ParaphraseTable {
        let words = ["big", "large", "very"];
        ParaphraseTable {
            vocabulary: words.iter().zip(0..).map(|(word, number)| ((*word).into(), number)).collect(),
            words: vec![0, 0, 1, 2, 1], // root, big, large, very, very large
            first_child: vec![1, 4, 4, 4, 5, 5],
            first_target: vec![0, 0, 1, 2, 2, 2],
            targets: vec![4, 1],
        }
    }

    #[test]
    fn phrases_are_found_word_by_word() {
        let table = tiny();
        assert!(table.is_sound());
        let [big, large, very] = ["big", "large", "very"].map(|word| table.word(word).unwrap());
        assert_eq!(table.word("small"), None);
        let very_large = table.child(table.child(ROOT, very).unwrap(), large).unwrap();
        assert_eq!(table.child(very_large, big), None);
        assert_eq!(table.targets(table.child(ROOT, big).unwrap()), [very_large]);
        assert!(table.targets(very_large).is_empty());
    }

    #[test]
    fn indices_outside_are_noticed() {
        let mut table = tiny();
        table.targets[0] = 5;
        assert!(!table.is_sound());
        let mut table = tiny();
        table.first_child[1] = 6;
        assert!(!table.is_sound());
    }
}
